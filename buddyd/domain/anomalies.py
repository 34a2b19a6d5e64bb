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
SPIKE_Z = 3.0
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


class Baseline(Struct):
    """What a tool usually costs an agent: moving mean and variance of the logarithm."""

    seq: int
    """When it was touched last."""
    count: int = 0
    mean: float = 0.0
    variance: float = START_VARIANCE
    rise: float = 0.0
    """The cumulative sum of what is above the usual (CUSUM)."""

    def add(self, cost: float, factor: float, least_count: int) -> Finding | None:
        """Take in a cost above zero; says whether it stood out from those before it."""
        x = math.log(cost)
        if not self.count:
            self.mean = x
        deviation = max(math.sqrt(self.variance), LEAST_DEVIATION)
        above = x - self.mean
        kind = self._judge(above, above / deviation, factor, least_count)
        finding = None if kind is None else Finding(kind, math.exp(self.mean))
        self._learn(above, CLIP * deviation)
        return finding

    def _judge(self, above: float, z: float, factor: float, least_count: int) -> AnomalyKind | None:
        known = self.count >= SPREAD_KNOWN
        rises = known and self._rises(z)
        unusual = self.count >= least_count and (z > SPIKE_Z or not known)
        if unusual and above > math.log(factor) + ROUNDING:
            return "spike"
        return "rise" if rises else None

    def _rises(self, z: float) -> bool:
        self.rise = max(0.0, self.rise + max(-CLIP, min(CLIP, z)) - RISE_SLACK)
        if self.rise <= RISE_ALARM:
            return False
        self.rise = 0.0
        return True

    def _learn(self, above: float, bound: float) -> None:
        # With a bound that is never 0, a price that never varied can still become another one.
        step = max(-bound, min(bound, above))
        if self.count:
            gain = max(LEAST_GAIN, 1.0 / (self.count + 1))
            self.mean += gain * step
            self.variance = (1.0 - gain) * (self.variance + gain * step * step)
        self.count += 1
