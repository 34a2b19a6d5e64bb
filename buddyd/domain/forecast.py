"""The forecast of the next value of a series with cycles and idle times: experts weighted by loss.

Simple forecasts (the last value, levels, a profile of the day and mixtures) are averaged, each
weighted by how well it did so far: after idle windows and after busy ones apart, for what is right
after the one is wrong after the other. The interval around the result widens and narrows by itself
until it covers four of five values (Gibbs and Candes 2021; Angelopoulos et al. 2023).
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

HOURS_PER_DAY = 24
LEVEL_GAIN = 0.3
QUICK_GAIN = 0.6
PROFILE_GAIN = 0.15
RESIDUAL_SHARES = (0.6, 0.9)
"""How much of what an hour was above its profile the next one keeps."""
LOSS_GAIN = 0.04
SHARPNESS = 30.0
"""How strongly a past loss tells against an expert."""
EXPERTS = 7
LAST_VALUE_WEIGHT = 3.0
"""How much more the first expert, the last value, weighs than another one at equal losses."""
TRUST_WINDOWS = 10
"""After so few windows of a kind it weighs twice that: what was lost so far may be chance."""
ERROR_GAIN = 0.05
MISS_RATE = 0.2
"""The interval is meant to miss this share of the values."""
INTERVAL_GAIN = 0.1
LEAST_SCALE = 1e-3
LEAST_FACTOR = 0.05
START_FACTOR = 1.5


class Prediction(Struct, frozen=True):
    """The next value, and an 80 % interval around it; none is below 0."""

    value: float
    low: float
    high: float


class _Record:
    """How the forecasts did after windows of one kind, idle or busy."""

    __slots__ = ("count", "error", "factor", "losses")

    def __init__(self) -> None:
        self.count = 0
        self.losses = [0.0] * EXPERTS
        self.error = 0.0
        self.factor = START_FACTOR

    def score(self, experts: Iterable[float], prediction: Prediction, value: float) -> None:
        self.count += 1
        # The first few weigh alike.
        gain = max(LOSS_GAIN, 1.0 / self.count)
        losses = self.losses
        for index, expert in enumerate(experts):
            losses[index] += gain * (abs(expert - value) - losses[index])
        missed = not prediction.low <= value <= prediction.high
        change = math.exp(INTERVAL_GAIN * (missed - MISS_RATE))
        self.factor = max(LEAST_FACTOR, self.factor * change)

    def mixture(self, experts: tuple[float, ...]) -> float:
        if not self.count:
            return experts[0]
        least, mean = min(self.losses), sum(self.losses) / len(self.losses)
        if mean <= 0.0:
            return experts[0]
        weights = [math.exp(-SHARPNESS * (loss - least) / mean) for loss in self.losses]
        weights[0] *= LAST_VALUE_WEIGHT * (1.0 + TRUST_WINDOWS / self.count)
        weighted = sum(w * expert for w, expert in zip(weights, experts, strict=True))
        return weighted / sum(weights)


class Forecaster:
    """The state after some windows of a series; constant in size."""

    __slots__ = (
        "_busy_level",
        "_count",
        "_experts",
        "_hour_error",
        "_level",
        "_prediction",
        "_profile",
        "_quick",
        "_record",
        "_records",
        "_visits",
    )

    def __init__(self) -> None:
        self._count = 0
        self._level = self._quick = self._busy_level = 0.0
        self._profile = [0.0] * HOURS_PER_DAY
        self._visits = [0] * HOURS_PER_DAY
        self._hour_error = [0.0] * HOURS_PER_DAY
        self._records = (_Record(), _Record())
        self._record = self._records[0]
        self._experts: tuple[float, ...] = ()
        self._prediction = Prediction(0.0, 0.0, 0.0)

    def observe(self, value: float, hour: int, next_hour: int) -> Prediction:
        """Take in the value of a window that began in `hour` of the day; forecast the next."""
        if self._count:
            self._score(value, hour)
        self._learn(value, hour)
        self._experts = self._ask(value, hour, next_hour)
        self._record = self._records[value > 0.0]
        self._count += 1
        self._prediction = self._predict(next_hour)
        return self._prediction

    def _score(self, value: float, hour: int) -> None:
        self._record.score(self._experts, self._prediction, value)
        error = abs(self._prediction.value - value)
        if self._count == 1:
            self._hour_error = [error] * HOURS_PER_DAY
            for record in self._records:
                record.error = error
        self._record.error += ERROR_GAIN * (error - self._record.error)
        self._hour_error[hour] += ERROR_GAIN * (error - self._hour_error[hour])

    def _learn(self, value: float, hour: int) -> None:
        if not self._count:
            self._level = self._quick = value
        self._level += LEVEL_GAIN * (value - self._level)
        self._quick += QUICK_GAIN * (value - self._quick)
        if value:
            gain = LEVEL_GAIN if self._busy_level else 1.0
            self._busy_level += gain * (value - self._busy_level)
        gain = max(PROFILE_GAIN, 1.0 / (self._visits[hour] + 1))
        self._profile[hour] += gain * (value - self._profile[hour])
        self._visits[hour] += 1

    def _ask(self, value: float, hour: int, next_hour: int) -> tuple[float, ...]:
        """What each expert says of the coming window."""
        coming = self._profile[next_hour] if self._visits[next_hour] else self._level
        residual = value - self._profile[hour]
        return (
            value,
            self._level,
            self._quick,
            coming,
            *(max(0.0, coming + share * residual) for share in RESIDUAL_SHARES),
            self._busy_level if value else 0.0,
        )

    def _predict(self, hour: int) -> Prediction:
        value = self._record.mixture(self._experts)
        scale = max(LEAST_SCALE, 0.5 * self._record.error + 0.5 * self._hour_error[hour])
        reach = self._record.factor * scale
        return Prediction(value, max(0.0, value - reach), value + reach)


class Backcast(Struct, frozen=True):
    """What comes next, and how far off the same forecast was on the way."""

    prediction: Prediction
    mean_error: float | None
    """Mean absolute error; None while nothing could be compared."""
    coverage: float | None
    """The share of the values that lay in their intervals; None while there were none."""


def predictions(values: Iterable[float], hours: Iterable[int]) -> Iterator[Prediction]:
    """After each value of a series, the forecast of the next one.

    `hours` are the hours of the day of each window and of the next one.
    """
    forecaster = Forecaster()
    of_day = iter(hours)
    hour = next(of_day)
    for value, next_hour in zip(values, of_day, strict=True):
        yield forecaster.observe(value, hour, next_hour)
        hour = next_hour


def backcast(values: Sequence[float], hours: Iterable[int], ceiling: float) -> Backcast | None:
    """Forecast every value of a series from those before it, and the one that comes next.

    Errors are counted between values cut off at `ceiling`, and so is whether a value lay in its
    interval. The first forecast has no interval: nothing is known of errors then. None where the
    series is empty.
    """
    if not values:
        return None
    errors, covered = 0.0, 0
    made = list(predictions(values, hours))
    for number, (prediction, value) in enumerate(zip(made, values[1:], strict=False)):
        found = min(ceiling, value)
        errors += abs(min(ceiling, prediction.value) - found)
        covered += number > 0 and min(ceiling, prediction.low) <= found <= prediction.high
    compared = len(values) - 1
    return Backcast(
        made[-1],
        errors / compared if compared else None,
        covered / (compared - 1) if compared > 1 else None,
    )
