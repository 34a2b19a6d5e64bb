"""How fast money is spent, and when what is left of it will be gone.

Spending is taken for a steady stream with noise: what is spent in h hours lies around rate * h,
and its variance grows with h. Both are measured over the last hours. That the rate itself is only
measured adds to the variance: h²/n of it, over n hours.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

HOURS_OF_RATE = 24
"""The rate is that of the last day, or of what is known of it."""
CORRELATION = 3.2
"""Times the variance of hours that knew nothing of each other: busy ones follow busy ones.

On the request rates of 60 clients of a language-model service over 14 days the interval then holds
the truth in 80 % of cases over 3 to 12 hours (91 % at 1 hour, 74 % at 20); without it in 52 %.
"""
# A normal variable lies within this many deviations in 80 % of cases.
_Z80 = 1.2815515655446004


class Spending(NamedTuple):
    """What was spent in some hours, in billionths of a dollar."""

    hours: float
    spent: int


class Burn(NamedTuple):
    """The present rate, and the variance that an hour adds."""

    rate: float
    """Billionths of a dollar per hour."""
    hours: float
    """Over how many it was measured."""
    variance: float


class Exhaustion(NamedTuple):
    """In how many hours a sum will be gone: at the earliest, most likely, and at the latest."""

    low: float
    likely: float
    high: float


def burn(spendings: Sequence[Spending]) -> Burn:
    """The rate over all of them. Of a single one it is not known how much it varies: by itself."""
    hours = math.fsum(each.hours for each in spendings)
    spent = sum(each.spent for each in spendings)
    if not spent:
        return Burn(0.0, hours, 0.0)
    rate = spent / hours
    if len(spendings) == 1:
        return Burn(rate, hours, rate * rate * hours)
    squares = math.fsum((each.spent - rate * each.hours) ** 2 / each.hours for each in spendings)
    return Burn(rate, hours, CORRELATION * squares / (len(spendings) - 1))


def exhaustion(left: int, measured: Burn) -> Exhaustion:
    """When `left` will be gone; infinity where that is not to be expected, or not sure."""
    rate, hours, variance = measured
    if not rate:
        return Exhaustion(math.inf, math.inf, math.inf)
    # The times at which rate * h is z deviations from what is left: a quadratic equation in h.
    noise = _Z80**2 * variance
    a = rate * rate - noise / hours
    half = rate * left + noise / 2
    root = math.sqrt(max(0.0, half * half - a * left * left))
    high = (half + root) / a if a > 0 else math.inf
    likely = left / rate
    # Without noise all three are the same, whatever the last digit of a quotient says.
    return Exhaustion(min(likely, left * left / (half + root)), likely, max(likely, high))
