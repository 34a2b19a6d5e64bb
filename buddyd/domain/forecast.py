"""The forecast of the next value of a series with cycles and idle times: experts weighted by loss.

Simple forecasts (the last value, a median, a profile of the day and what follows from it, a trend)
are averaged, each weighted by how well it did so far: after idle windows, after the first busy one
and after further ones apart, for what is right after the one is wrong after the other. The interval
around the result widens and narrows by itself until it covers four of five values (Gibbs and Candes
2021; Angelopoulos et al. 2023).
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from operator import mul

from msgspec import Struct

HOURS_PER_DAY = 24
LEVEL_GAIN = 0.3
PROFILE_GAIN = 0.15
RESIDUAL_SHARE = 0.9
"""How much of what an hour was above its profile the next one keeps."""
MOST_GROWTH = 4.0
"""By what factor the profile may tell a value to grow."""
TREND_SHARE = 0.5
"""How much of the last change comes once more."""
RECENT_WINDOWS = 5
EXPERTS = 8
LAST_VALUE_WEIGHTS = (300.0, 10.0, 10.0)
"""How much more the first expert, the last value, weighs than another one at equal losses: after an
idle window, where nothing but zero is worth saying without good reason, and after busy ones."""
MEMORY_GAIN = 0.05
"""How much the last loss counts against those before; the first few count alike."""
SHARPNESS = 30
"""How strongly a loss tells against an expert, in units of the last value's; after fewer windows
of a kind it tells as much less, for what was lost so far may be chance."""
LEAST_LOSS = 1e-300
"""Under this much it is not divided by: the last value was as good as never wrong."""
ERROR_GAIN = 0.1
MISS_RATE = 0.2
"""The interval is meant to miss this share of the values."""
INTERVAL_GAIN = 0.1
WIDER = math.exp(INTERVAL_GAIN * (1.0 - MISS_RATE))
NARROWER = math.exp(-INTERVAL_GAIN * MISS_RATE)
LEAST_SCALE = 1e-3
LEAST_FACTOR = 0.05
START_FACTOR = 1.6


class Prediction(Struct, frozen=True):
    """The next value, and an 80 % interval around it; none is below 0."""

    value: float
    low: float
    high: float


NOTHING = Prediction(0.0, 0.0, 0.0)


class _Record:
    """How the forecasts did after windows of one kind: idle, first busy or busy."""

    __slots__ = ("count", "error", "factor", "last_value_weight", "losses")

    def __init__(self, last_value_weight: float) -> None:
        self.last_value_weight = last_value_weight
        self.count = 0
        self.losses = [0.0] * EXPERTS
        self.error = 0.0
        self.factor = START_FACTOR

    def score(self, experts: Iterable[float], prediction: Prediction, value: float) -> None:
        """Take in what came after a window of this kind."""
        self.count += 1
        gain = max(MEMORY_GAIN, 1.0 / self.count)
        self.losses = [
            loss + gain * (abs(expert - value) - loss)
            for loss, expert in zip(self.losses, experts, strict=True)
        ]
        # Less of the first ones, which are off by a series' begin rather than by its nature.
        gain = max(ERROR_GAIN, 2.0 / (self.count + 1))
        self.error += gain * (abs(prediction.value - value) - self.error)
        missed = not prediction.low <= value <= prediction.high
        self.factor = max(LEAST_FACTOR, self.factor * (WIDER if missed else NARROWER))

    def mixture(self, experts: tuple[float, ...]) -> float:
        """What the experts say, each weighted by how little it lost."""
        losses = self.losses
        unit, least = losses[0], min(losses)
        if unit < LEAST_LOSS:
            return experts[0]
        sharpness = min(SHARPNESS, self.count) / unit
        weights = [math.exp(sharpness * (least - loss)) for loss in losses]
        weights[0] *= self.last_value_weight
        mixed: float = sum(map(mul, weights, experts))
        return mixed / sum(weights)

    def prediction(self, experts: tuple[float, ...]) -> Prediction:
        """The mixture, and the interval that its errors so far let expect."""
        value = self.mixture(experts)
        reach = self.factor * max(LEAST_SCALE, self.error)
        return Prediction(value, max(0.0, value - reach), value + reach)


class Forecaster:
    """The state after some windows of a series; constant in size."""

    __slots__ = (
        "_busy_level",
        "_count",
        "_experts",
        "_prediction",
        "_previous",
        "_profile",
        "_recent",
        "_record",
        "_records",
        "_visits",
    )

    def __init__(self) -> None:
        self._count = 0
        self._busy_level = self._previous = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT_WINDOWS)
        self._profile = [0.0] * HOURS_PER_DAY
        self._visits = [0] * HOURS_PER_DAY
        # After an idle window, after the first busy one and after a further one.
        self._records = tuple(_Record(weight) for weight in LAST_VALUE_WEIGHTS)
        self._record = self._records[0]
        self._experts: tuple[float, ...] = ()
        self._prediction = NOTHING

    def observe(self, value: float, hour: int, next_hour: int) -> Prediction:
        """Take in the value of a window that began in `hour` of the day; forecast the next."""
        if self._count:
            self._score(value)
        self._learn(value, hour)
        self._experts = self._ask(value, hour, next_hour)
        self._record = self._records[0 if not value else 2 if self._previous else 1]
        self._previous = value
        self._count += 1
        self._prediction = self._record.prediction(self._experts)
        return self._prediction

    def _score(self, value: float) -> None:
        if self._count == 1:
            # Until a kind of window has errors of its own.
            for record in self._records:
                record.error = abs(self._prediction.value - value)
        self._record.score(self._experts, self._prediction, value)

    def _learn(self, value: float, hour: int) -> None:
        self._recent.append(value)
        if value:
            gain = LEVEL_GAIN if self._busy_level else 1.0
            self._busy_level += gain * (value - self._busy_level)
        gain = max(PROFILE_GAIN, 1.0 / (self._visits[hour] + 1))
        self._profile[hour] += gain * (value - self._profile[hour])
        self._visits[hour] += 1

    def _ask(self, value: float, hour: int, next_hour: int) -> tuple[float, ...]:
        """What each expert says of the coming window."""
        usual = self._profile[hour]
        coming = self._profile[next_hour] if self._visits[next_hour] else value
        recent = sorted(self._recent)
        median = recent[len(recent) // 2]
        shifted = max(0.0, coming + RESIDUAL_SHARE * (value - usual))
        if not value:
            return (0.0, 0.0, median, coming, shifted, 0.0, 0.0, 0.0)
        return (
            value,
            0.0,
            median,
            coming,
            shifted,
            value * min(MOST_GROWTH, coming / usual),
            max(0.0, value + TREND_SHARE * (value - self._previous)),
            self._busy_level,
        )


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


class Backcaster:
    """Walks along a series, and makes its backcast: it takes a value at a time.

    Errors are counted between values cut off at `ceiling`, and so is whether a value lay in its
    interval. The first forecast has no interval: nothing is known of errors then.
    """

    __slots__ = ("_count", "_covered", "_errors", "_forecaster", "_prediction", "ceiling", "most")

    def __init__(self, ceiling: float) -> None:
        self.ceiling = ceiling
        self.most = 0.0
        """The largest value or forecast so far; any ceilings from there on come to the same."""
        self._forecaster = Forecaster()
        self._prediction = NOTHING
        self._count = 0
        self._errors = 0.0
        self._covered = 0

    def observe(self, value: float, hour: int, next_hour: int) -> None:
        """Take in the value of a window that began in `hour` of the day."""
        if self._count:
            self._compare(self._prediction, value)
        self._prediction = self._forecaster.observe(value, hour, next_hour)
        self._count += 1

    def _compare(self, made: Prediction, value: float) -> None:
        ceiling = self.ceiling
        self.most = max(self.most, value, made.value)
        found = min(ceiling, value)
        self._errors += abs(min(ceiling, made.value) - found)
        self._covered += self._count > 1 and min(ceiling, made.low) <= found <= made.high

    def backcast(self) -> Backcast:
        """What was found after at least one value."""
        compared = self._count - 1
        return Backcast(
            self._prediction,
            self._errors / compared if compared else None,
            self._covered / (compared - 1) if compared > 1 else None,
        )


def backcast(values: Sequence[float], hours: Iterable[int], ceiling: float) -> Backcast | None:
    """Forecast every value of a series from those before it, and the one that comes next.

    `hours` are the hours of the day of each window and of the next one. None where the series is
    empty.
    """
    if not values:
        return None
    caster = Backcaster(ceiling)
    for value, (hour, next_hour) in zip(values, pairwise(hours), strict=True):
        caster.observe(value, hour, next_hour)
    return caster.backcast()
