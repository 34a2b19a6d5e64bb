"""The forecast of the next value of a series with daily cycles: experts weighted by past loss.

Five simple forecasts (the last value, a level, a profile of the day and two mixtures) are averaged,
each weighted by how well it did so far. The interval around the result widens and narrows by itself
until it covers four of five values (Gibbs and Candes 2021; Angelopoulos et al. 2023).
"""

import math
from collections.abc import Iterable

from msgspec import Struct

HOURS_PER_DAY = 24
LEVEL_GAIN = 0.3
PROFILE_GAIN = 0.15
LOSS_GAIN = 0.05
SHARPNESS = 10.0
"""How strongly a past loss tells against an expert."""
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


class Forecaster:
    """The state after some windows of a series; constant in size."""

    __slots__ = (
        "_count",
        "_error",
        "_experts",
        "_factor",
        "_hour_error",
        "_level",
        "_losses",
        "_profile",
        "_visits",
    )

    def __init__(self) -> None:
        self._count = 0
        self._level = 0.0
        self._profile = [0.0] * HOURS_PER_DAY
        self._visits = [0] * HOURS_PER_DAY
        self._experts: tuple[float, ...] = ()
        self._losses = [0.0] * 5
        self._error = 0.0
        self._hour_error = [0.0] * HOURS_PER_DAY
        self._factor = START_FACTOR

    def observe(self, value: float, hour: int, next_hour: int) -> Prediction:
        """Take in the value of a window that began in `hour` of the day; forecast the next."""
        if self._count:
            self._score(value, hour)
        self._learn(value, hour, next_hour)
        self._count += 1
        return self._predict(next_hour)

    def _score(self, value: float, hour: int) -> None:
        prediction = self._predict(hour)
        for index, expert in enumerate(self._experts):
            self._losses[index] += LOSS_GAIN * (abs(expert - value) - self._losses[index])
        missed = not prediction.low <= value <= prediction.high
        change = math.exp(INTERVAL_GAIN * (missed - MISS_RATE))
        self._factor = max(LEAST_FACTOR, self._factor * change)
        error = abs(prediction.value - value)
        if self._count == 1:
            self._error = error
            self._hour_error = [error] * HOURS_PER_DAY
        self._error += LOSS_GAIN * (error - self._error)
        self._hour_error[hour] += LOSS_GAIN * (error - self._hour_error[hour])

    def _learn(self, value: float, hour: int, next_hour: int) -> None:
        self._level = value if not self._count else self._level + LEVEL_GAIN * (value - self._level)
        gain = max(PROFILE_GAIN, 1.0 / (self._visits[hour] + 1))
        self._profile[hour] += gain * (value - self._profile[hour])
        self._visits[hour] += 1
        residual = value - self._profile[hour]
        coming = self._profile[next_hour] if self._visits[next_hour] else self._level
        self._experts = (
            value,
            self._level,
            coming,
            max(0.0, coming + 0.6 * residual),
            max(0.0, coming + 0.9 * residual),
        )

    def _predict(self, hour: int) -> Prediction:
        value = self._mixture()
        scale = max(LEAST_SCALE, 0.5 * self._error + 0.5 * self._hour_error[hour])
        reach = self._factor * scale
        return Prediction(value, max(0.0, value - reach), value + reach)

    def _mixture(self) -> float:
        least = min(self._losses)
        mean = sum(self._losses) / len(self._losses)
        if mean <= 0.0:
            return sum(self._experts) / len(self._experts)
        weights = [math.exp(-SHARPNESS * (loss - least) / mean) for loss in self._losses]
        weighted = sum(w * expert for w, expert in zip(weights, self._experts, strict=True))
        return weighted / sum(weights)


class Backcast(Struct, frozen=True):
    """What comes next, and how far off the same forecast was on the way."""

    prediction: Prediction
    mean_error: float | None
    """Mean absolute error; None while nothing could be compared."""


def backcast(values: Iterable[float], hours: Iterable[int], ceiling: float) -> Backcast | None:
    """Forecast every value of a series from those before it, and the one that comes next.

    `hours` are the hours of the day of each window and of the next one. Errors are counted
    between values cut off at `ceiling`. None where the series is empty.
    """
    forecaster = Forecaster()
    prediction: Prediction | None = None
    errors, count = 0.0, 0
    of_day = iter(hours)
    hour = next(of_day)
    for value, next_hour in zip(values, of_day, strict=True):
        if prediction is not None:
            errors += abs(min(ceiling, prediction.value) - min(ceiling, value))
            count += 1
        prediction = forecaster.observe(value, hour, next_hour)
        hour = next_hour
    if prediction is None:
        return None
    return Backcast(prediction, errors / count if count else None)
