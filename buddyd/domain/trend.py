"""Whether a tool is getting worse or better: a chart of its failures (Ross et al. 2012).

A fast moving rate is compared with a slow baseline; when it is further away than chance explains,
the chart gives an alarm and the fast rate starts again from the baseline.
"""

import math

from msgspec import Struct

from buddyd.domain.answers import Trend

FAST = 1.0 - 0.5 ** (1.0 / 50.0)
"""Gain of the fast rate: a half-life of 50 executions."""
SLOW = 1.0 - 0.5 ** (1.0 / 500.0)
"""Gain of the baseline: a half-life of 500 executions."""
START = 0.05
LEARNING_EXECUTIONS = 30
ALARM = 4.5
# The variance of a failure rate of one in a hundred: below that, chance is not told from change.
LEAST_VARIANCE = 0.0099
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

    def add(self, *, failed: bool) -> None:
        """Take in the next execution, in the order of recording."""
        value = 1.0 if failed else 0.0
        self.count += 1
        least_gain = 1.0 / (self.count + 1)
        self.fast += max(FAST, least_gain) * (value - self.fast)
        self._test()
        self.baseline += max(SLOW, least_gain) * (value - self.baseline)

    @property
    def trend(self) -> Trend:
        """What the last alarm said, while it is recent."""
        return self.alarm if self.count - self.alarm_at < REMEMBERED_EXECUTIONS else "stable"

    def _test(self) -> None:
        if self.count <= LEARNING_EXECUTIONS:
            return
        variance = max(self.baseline * (1.0 - self.baseline), LEAST_VARIANCE)
        z = (self.fast - self.baseline) / math.sqrt(variance * FAST / (2.0 - FAST))
        if abs(z) > ALARM:
            self.alarm = "degrading" if z > 0 else "improving"
            self.alarm_at = self.count
            self.fast = self.baseline
