"""Costs that stand out: single spikes, and rises that last.

The cost of an execution varies tenfold by nature, so its logarithm is compared with what the same
tool usually costs the same agent, and with how much that varies.
"""

from math import copysign, exp, log, sqrt

from msgspec import Struct

from buddyd.domain.answers import AnomalyKind

LEAST_GAIN = 0.02
START_VARIANCE = 0.25
CLIP = 3.0
"""No single execution moves the mean by more than this many standard deviations (Huber)."""
LEAST_DEVIATION = 0.1
LEAST_VARIANCE = LEAST_DEVIATION * LEAST_DEVIATION
SETTLED = int(1.0 / LEAST_GAIN) - 1
"""Up to this count, costs weigh alike: 1 / (count + 1) is the larger gain."""
SPIKE_Z = 4.0
SPREAD_KNOWN = 30
"""Executions from which on the spread is known; before them the factor alone makes a spike."""
EARLY_DEVIATIONS = 2.0
"""Such a spike is unusual where it is above the factor even from so many standard deviations, of
the few costs there are, above their mean: for a price that has always been the same, from that."""
ROUNDING = 1e-9
"""What is exactly at the factor is not above it, whatever the logarithm's last digit says."""
RISE_SLACK = 0.5
RISE_ALARM = 8.0


class Finding(Struct, frozen=True):
    """That a cost stands out."""

    kind: AnomalyKind
    usual: float
    """What the tool usually costs that agent, in the unit of the cost."""
    unusual: bool = True
    """Whether it is more than the spread explains, as far as that is known."""
    recent: float = 0.0
    """Of a rise, what it has cost on average (geometric) since it began, and how often it ran."""
    executions: int = 1


class Baseline(Struct):
    """What a tool usually costs an agent: moving mean and variance of the logarithm."""

    seq: int
    """When it was touched last."""
    count: int = 0
    mean: float = 0.0
    variance: float = START_VARIANCE
    rise: float = 0.0
    """The cumulative sum of what is above the usual (CUSUM)."""
    run: int = 0
    """Costs since it began to rise, and the sum of their logarithms."""
    run_sum: float = 0.0

    def add(self, cost: float, factor: float, least_count: int) -> Finding | None:
        """Take in a cost above zero; says whether it stood out from those before it."""
        x, count, variance = log(cost), self.count, self.variance
        mean = self.mean if count else x
        deviation = sqrt(variance) if variance > LEAST_VARIANCE else LEAST_DEVIATION
        above = x - mean
        z = above / deviation
        clipped = z if -CLIP <= z <= CLIP else copysign(CLIP, z)
        known = count >= SPREAD_KNOWN
        rises = known and self._rises(clipped, x)
        finding = None
        beyond = above - log(factor) - ROUNDING
        if beyond > 0.0 and (z > SPIKE_Z if known else count >= least_count):
            finding = Finding("spike", exp(mean), known or beyond > self._early_reach())
        elif rises:
            recent = exp(self.run_sum / self.run)
            finding = Finding("rise", exp(mean), recent=recent, executions=self.run)
        # The deviation is never 0: a price that never varied can still become another one.
        if count:
            step = clipped * deviation
            gain = LEAST_GAIN if count > SETTLED else 1.0 / (count + 1)
            self.variance = (1.0 - gain) * (variance + gain * step * step)
            mean += gain * step
        self.count, self.mean = count + 1, mean
        return finding

    def _early_reach(self) -> float:
        """How far above their mean the few logarithms so far reach.

        What they add to the variance that it started with is Welford's sum of squares.
        """
        squares = max(0.0, self.count * self.variance - START_VARIANCE)
        return EARLY_DEVIATIONS * sqrt(squares / max(1, self.count - 1))

    def _rises(self, clipped: float, x: float) -> bool:
        if not self.rise:
            self.run, self.run_sum = 0, 0.0
        rise = self.rise + clipped - RISE_SLACK
        if rise > 0.0:
            self.run += 1
            self.run_sum += x
        self.rise = rise if 0.0 < rise <= RISE_ALARM else 0.0
        return rise > RISE_ALARM
