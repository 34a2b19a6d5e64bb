"""Whether a tool is getting worse or better: a chart of its failures (Ross et al. 2012).

A fast moving rate is compared with a slow baseline; when it is further away than chance explains,
the chart gives an alarm and the fast rate starts again from the baseline.
"""

from collections.abc import Iterable

from msgspec import Struct

from buddyd.domain.answers import Trend

FAST = 1.0 - 0.5 ** (1.0 / 50.0)
"""Gain of the fast rate: a half-life of 50 executions."""
SLOW = 1.0 - 0.5 ** (1.0 / 500.0)
"""Gain of the baseline: a half-life of 500 executions."""
# The first executions weigh alike: until then 1 / (n + 1) is the larger gain.
FAST_SETTLED, SLOW_SETTLED = int(1.0 / FAST) - 1, int(1.0 / SLOW) - 1
START = 0.05
LEARNING_EXECUTIONS = 30
ALARM = 4.5
"""Standard deviations of the fast rate."""
ALARM_SQUARED = ALARM * ALARM * FAST / (2.0 - FAST)
"""The same, squared, in units of the variance of one execution."""
# The variance of a failure rate of one in a hundred: below that, chance is not told from change.
LEAST_VARIANCE = 0.0099
LEAST_FAR = ALARM_SQUARED * LEAST_VARIANCE
"""What the square of a difference must exceed to be far from any baseline; nearly none does."""
REMEMBERED_EXECUTIONS = 100
"""For how many executions an alarm is shown: what lasts gives another one before they are over."""


class Chart(Struct):
    """The chart of one tool."""

    count: int = 0
    fast: float = START
    baseline: float = START
    alarm: Trend = "stable"
    alarm_at: int = 0
    """The count at the last alarm."""

    def add(self, successes: Iterable[bool]) -> None:
        """Take in the executions that come next, in the order of recording."""
        count, fast, baseline = self.count, self.fast, self.baseline
        for success in successes:
            value = 0.0 if success else 1.0
            count += 1
            fast += (FAST if count > FAST_SETTLED else 1.0 / (count + 1)) * (value - fast)
            difference = fast - baseline
            if (
                difference * difference > LEAST_FAR
                and count > LEARNING_EXECUTIONS
                and _is_far(difference, baseline)
            ):
                self.alarm = "degrading" if difference > 0.0 else "improving"
                self.alarm_at = count
                fast = baseline
            baseline += (SLOW if count > SLOW_SETTLED else 1.0 / (count + 1)) * (value - baseline)
        self.count, self.fast, self.baseline = count, fast, baseline

    @property
    def trend(self) -> Trend:
        """What the last alarm said, while it is recent."""
        return self.alarm if self.count - self.alarm_at < REMEMBERED_EXECUTIONS else "stable"


def _is_far(difference: float, baseline: float) -> bool:
    """Whether z > ALARM, squared."""
    variance = baseline * (1.0 - baseline)
    return difference * difference > ALARM_SQUARED * max(variance, LEAST_VARIANCE)
