"""The forecast of the next value of a series with cycles and idle times: experts weighted by loss.

Simple forecasts (zero, the last value, a median, a profile of the day and what follows from it, a
trend) are averaged, each weighted by how well it did so far (Cesa-Bianchi and Lugosi 2006, chapter
2): after idle windows, after the first busy one and after further ones apart, for what is right
after the one is wrong after the other. Where zero has most of the weight it is said outright: of
values that are mostly 0 that is the median, and nothing is less far from them. The interval around
the result widens and narrows by itself until it covers four of five values (Gibbs and Candes 2021;
Angelopoulos et al. 2023).
"""

from collections import deque
from collections.abc import Iterable
from math import exp
from operator import mul

from msgspec import Struct

HOURS_PER_DAY = 24
LEVEL_GAIN = 0.05
PROFILE_GAIN = 0.1
RESIDUAL_SHARE = 0.9
"""How much of what an hour was above its profile the next one keeps."""
MOST_GROWTH = 4.0
"""By what factor the profile may tell a value to grow."""
TREND_SHARE = 0.7
"""How much of the last change comes once more."""
RECENT_WINDOWS = 5
IDLE_EXPERTS, BUSY_EXPERTS = 4, 9
ZERO, LAST_VALUE = 0, 1
"""The first experts after a busy window; after an idle one the first is both."""
LAST_VALUE_WEIGHTS = (300.0, 5.0, 15.0)
"""How much more the last value weighs than another expert at equal losses: after an idle window,
where nothing but zero is worth saying without good reason, after the first busy one, which work may
have filled in part, and after a further one."""
USUAL_WORK = 1000.0
"""Seconds. After busy windows of this length it is as likely that work is over as that it goes on,
while nothing is known of an agent; the odds rise with the square of the length."""
SURE = 0.8
"""With this share of the weights zero is forecast, whatever the other experts say."""
MEMORY_GAIN = 0.04
"""How much the last loss counts against those before; the first few count alike."""
SHARPNESS, SHARPNESS_PER_WINDOW = 30.0, 1.5
"""How strongly a loss tells against an expert, in units of the last value's; after fewer windows
of a kind it tells as much less, for what was lost so far may be chance."""
LEAST_LOSS = 1e-300
"""Under this much it is not divided by: the last value was as good as never wrong."""
ERROR_GAIN = 0.1
MISS_RATE = 0.2
"""The interval is meant to miss this share of the values."""
INTERVAL_GAIN = 0.1
WIDER = exp(INTERVAL_GAIN * (1.0 - MISS_RATE))
NARROWER = exp(-INTERVAL_GAIN * MISS_RATE)
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

    __slots__ = (
        "count",
        "error",
        "factor",
        "last_value",
        "last_value_weight",
        "losses",
        "zero_odds",
    )

    def __init__(
        self, experts: int, last_value_weight: float, zero_odds: float | None = None
    ) -> None:
        self.count = 0
        self.losses = [0.0] * experts
        self.last_value = ZERO if zero_odds is None else LAST_VALUE
        self.last_value_weight = last_value_weight
        self.zero_odds = zero_odds
        """By how much more zero weighs than the last value at first; None where they are one."""
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

    def weights(self) -> list[float]:
        """How much each expert weighs, by how little it lost."""
        losses, count = self.losses, self.count
        least, unit = min(losses), max(LEAST_LOSS, losses[self.last_value])
        sharpness = min(SHARPNESS, SHARPNESS_PER_WINDOW * count) / unit
        weights = [exp(sharpness * (least - loss)) for loss in losses]
        weights[self.last_value] *= self.last_value_weight
        if self.zero_odds is not None:
            # What was seen takes the place of what is likely of any agent.
            faded: float = self.zero_odds ** (1.0 / (1 + count))
            weights[ZERO] *= self.last_value_weight * faded
        return weights

    def mixture(self, experts: tuple[float, ...]) -> float:
        """What the experts say on the whole."""
        weights = self.weights()
        total = sum(weights)
        if weights[ZERO] > SURE * total:
            return 0.0
        mixed: float = sum(map(mul, weights, experts))
        return mixed / total

    def prediction(self, value: float) -> Prediction:
        """The interval around a value that the errors so far let expect."""
        reach = self.factor * max(LEAST_SCALE, self.error)
        return Prediction(value, max(0.0, value - reach), value + reach)


class Forecaster:
    """The state after some windows of a series, of `width` seconds each; constant in size."""

    __slots__ = (
        "_after_busy",
        "_after_first_busy",
        "_after_idle",
        "_busy_windows",
        "_count",
        "_experts",
        "_level",
        "_prediction",
        "_previous",
        "_profile",
        "_recent",
        "_record",
        "_visits",
    )

    def __init__(self, width: float) -> None:
        self._count = self._busy_windows = 0
        self._level = self._previous = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT_WINDOWS)
        self._profile = [0.0] * HOURS_PER_DAY
        self._visits = [0] * HOURS_PER_DAY
        zero_odds = (width / USUAL_WORK) ** 2
        idle, first_busy, busy = LAST_VALUE_WEIGHTS
        self._after_idle = _Record(IDLE_EXPERTS, idle)
        self._after_first_busy = _Record(BUSY_EXPERTS, first_busy, zero_odds)
        self._after_busy = _Record(BUSY_EXPERTS, busy, zero_odds)
        self._record = self._after_idle
        self._experts: tuple[float, ...] = ()
        self._prediction = NOTHING

    def observe(self, value: float, hour: int, next_hour: int) -> Prediction:
        """Take in the value of a window that began in `hour` of the day; forecast the next."""
        if self._count:
            self._score(value)
        self._learn(value, hour)
        self._experts = self._ask(value, hour, next_hour)
        self._record = self._kind(value)
        self._previous = value
        self._count += 1
        self._prediction = self._record.prediction(self._expected(value))
        return self._prediction

    def _kind(self, value: float) -> _Record:
        """The record of what follows windows such as this one."""
        if not value:
            return self._after_idle
        return self._after_busy if self._previous else self._after_first_busy

    def _expected(self, value: float) -> float:
        if self._record.count or not value:
            return self._record.mixture(self._experts)
        # The first window of its kind: zero or the last value, by what the first busy ones tell.
        weights = self._after_first_busy.weights()
        return value if weights[LAST_VALUE] > weights[ZERO] else 0.0

    def _score(self, value: float) -> None:
        if self._count == 1:
            # Until a kind of window has errors of its own.
            for record in (self._after_idle, self._after_first_busy, self._after_busy):
                record.error = abs(self._prediction.value - value)
        self._record.score(self._experts, self._prediction, value)

    def _learn(self, value: float, hour: int) -> None:
        self._recent.append(value)
        if value:
            self._busy_windows += 1
            gain = max(LEVEL_GAIN, 1.0 / self._busy_windows)
            self._level += gain * (value - self._level)
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
            return 0.0, median, coming, shifted
        return (
            0.0,
            value,
            median,
            coming,
            shifted,
            (value + coming) / 2,
            value * min(MOST_GROWTH, coming / usual),
            max(0.0, value + TREND_SHARE * (value - self._previous)),
            self._level,
        )


class Backcast(Struct, frozen=True):
    """What comes next, and how far off the same forecast was on the way."""

    prediction: Prediction
    mean_error: float | None
    """Mean absolute error; None while nothing could be compared."""
    coverage: float | None
    """The share of the values that lay in their intervals; None while there were none."""


class Backcaster:
    """Walks along a series, and makes its backcast: it takes a value at a time.

    Errors are counted between values cut off at `ceiling`, and so is whether a value lay in its
    interval. The first forecast has no interval: nothing is known of errors then.
    """

    __slots__ = ("_count", "_covered", "_errors", "_forecaster", "_prediction", "ceiling", "most")

    def __init__(self, width: float, ceiling: float) -> None:
        self.ceiling = ceiling
        self.most = 0.0
        """The largest value or forecast so far; any ceilings from there on come to the same."""
        self._forecaster = Forecaster(width)
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
