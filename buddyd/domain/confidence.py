"""How far the data support what is said about a tool."""

import math
from functools import lru_cache

from buddyd.domain.answers import Level
from buddyd.domain.settings import DomainSettings

Z_95 = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution."""


def level(successes: int, executions: int, settings: DomainSettings) -> Level:
    """The plain rule: MEDIUM while the tool is new, then by its success rate."""
    if executions < settings.learning_min_executions:
        return "MEDIUM"
    # Compared as it is shown, so that a rate of exactly 95 % is HIGH.
    rate = successes / executions
    if rate >= settings.high_success_rate:
        return "HIGH"
    return "MEDIUM" if rate >= settings.medium_success_rate else "LOW"


def level_probability(
    level: Level, successes: int, executions: int, settings: DomainSettings
) -> float:
    """How probable it is that the true rate lies in the level's band.

    Under the posterior Beta(successes + 1/2, failures + 1/2), which is Jeffreys' prior with the
    data (Brown, Cai and DasGupta 2001).
    """
    a, b = successes + 0.5, executions - successes + 0.5
    if level == "LOW":
        return beta_cdf(settings.medium_success_rate, a, b)
    if level == "HIGH":
        return beta_cdf(1.0 - settings.high_success_rate, b, a)
    above = beta_cdf(settings.high_success_rate, a, b)
    return max(0.0, above - beta_cdf(settings.medium_success_rate, a, b))


def wilson_interval(successes: int, executions: int) -> tuple[float, float]:
    """The 95 % score interval of a rate (Wilson 1927); (0, 1) where there are no data."""
    if executions == 0:
        return 0.0, 1.0
    n, rate, z2 = executions, successes / executions, Z_95 * Z_95
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    spread = Z_95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, middle - spread)
    high = 1.0 if successes == executions else min(1.0, middle + spread)
    return low, high


@lru_cache(maxsize=8192)
def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b).

    By Lentz's continued fraction on the side where it converges fast (Numerical Recipes 6.4).
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _tail(1.0 - x, b, a)
    return _tail(x, a, b)


def _tail(x: float, a: float, b: float) -> float:
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    factor = math.exp(scale + a * math.log(x) + b * math.log1p(-x))
    return factor * _continued_fraction(x, a, b) / a


def _continued_fraction(x: float, a: float, b: float) -> float:
    tiny, precision = 1e-300, 1e-14
    c = 1.0
    d = 1.0 / (1.0 - (a + b) * x / (a + 1.0) or tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d = 1.0 / (1.0 + even * d or tiny)
        c = 1.0 + even / c or tiny
        fraction *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d = 1.0 / (1.0 + odd * d or tiny)
        c = 1.0 + odd / c or tiny
        step = d * c
        fraction *= step
        if abs(step - 1.0) < precision:
            break
    return fraction
