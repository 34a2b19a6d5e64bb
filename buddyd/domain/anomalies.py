"""Costs that stand out: single spikes, and rises that last.

The cost of an execution varies tenfold by nature, so its logarithm is compared with what the same
tool usually costs the same agent, and with how much that varies.
"""

import math

from msgspec import Struct

from buddyd.domain.answers import AnomalyKind

LEAST_GAIN = 0.02
START_VARIANCE = 0.25
CLIP = 3.0
"""No single execution moves the mean by more than this many standard deviations (Huber)."""
LEAST_DEVIATION = 0.1
SPIKE_Z = 4.0
SPREAD_KNOWN = 30
"""Executions from which on the spread is known; before them the factor alone decides."""
ROUNDING = 1e-9
"""What is exactly at the factor is not above it, whatever the logarithm's last digit says."""
RISE_SLACK = 0.5
RISE_ALARM = 8.0


class Finding(Struct, frozen=True):
    """That a cost stands out."""

    kind: AnomalyKind
    usual: float
    """What the tool usually costs that agent, in the unit of the cost."""
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
        x = math.log(cost)
        if not self.count:
            self.mean = x
        deviation = max(math.sqrt(self.variance), LEAST_DEVIATION)
        z = (x - self.mean) / deviation
        clipped = CLIP if z > CLIP else max(z, -CLIP)
        rises = self.count >= SPREAD_KNOWN and self._rises(clipped, x)
        finding = None
        if self._is_spike(z, x - self.mean, factor, least_count):
            finding = Finding("spike", math.exp(self.mean))
        elif rises:
            recent = math.exp(self.run_sum / self.run)
            finding = Finding("rise", math.exp(self.mean), recent, self.run)
        self._learn(clipped * deviation)
        return finding

    def _is_spike(self, z: float, above: float, factor: float, least_count: int) -> bool:
        unusual = z > SPIKE_Z if self.count >= SPREAD_KNOWN else self.count >= least_count
        return unusual and above > math.log(factor) + ROUNDING

    def _rises(self, clipped: float, x: float) -> bool:
        if not self.rise:
            self.run, self.run_sum = 0, 0.0
        rise = self.rise + clipped - RISE_SLACK
        if rise > 0.0:
            self.run += 1
            self.run_sum += x
        self.rise = rise if 0.0 < rise <= RISE_ALARM else 0.0
        return rise > RISE_ALARM

    def _learn(self, step: float) -> None:
        # The deviation is never 0: a price that never varied can still become another one.
        if self.count:
            gain = max(LEAST_GAIN, 1.0 / (self.count + 1))
            self.mean += gain * step
            self.variance = (1.0 - gain) * (self.variance + gain * step * step)
        self.count += 1
