"""How far off the forecasts of an agent's load were, beside those of simple rules.

A trace is folded by the projection that answers `get_predictive_capacity`, a day at a time. At the
end of each day the forecasts of its windows are made from the series that the projection keeps by
then, as it makes them to tell its own error. A window counts where the daemon would have given a
forecast of it: the agent had finished an execution within 24 hours, and the trace went on. Errors
are in percentage points of what an agent can do at once.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean as mean

from msgspec import Struct

from buddyd.domain.capacity import Capacity
from buddyd.domain.forecast import Forecaster, Prediction
from buddyd.domain.journal import MICROSECONDS, ExecutionRecorded, microseconds
from buddyd.domain.load import Concurrency
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from tests.backtest.tables import Cell, Table, verdict
from tests.backtest.traces import Trace

DAY = 86_400
WINDOWS = (3600, 600, 60)
"""Seconds: the longest one is taken in which a trace has enough busy windows."""
ENOUGH_BUSY = 50
BUSY = 0.02
SEGMENT = 1000
LEVEL_GAIN = 0.3
RESPONSES = ((10.0, 50), (5.0, 75))
"""The rule of thumb: over so many seconds, so many percent are free."""
LOW, HIGH = 0.1, 0.9
COVERAGE = (0.77, 0.83)
MEANT = HIGH - LOW
OURS = "buddyd"
BASELINES = ("last value", "moving average", "yesterday", "always 100 %", "response time")


class Window(Struct, frozen=True):
    """What a window's load was, and what was forecast; shares of what the agent can do."""

    load: float
    forecast: Prediction
    others: tuple[float, ...]
    """What each of the baselines said."""

    @property
    def follows_busy(self) -> bool:
        """Whether the window before was busy: the last value is the first of the baselines."""
        return self.others[0] > 0.0


class Score(Struct, frozen=True):
    """Means over some windows."""

    windows: int
    errors: dict[str, float]
    """Percentage points, by who forecast."""
    scaled: float
    """The error over that of the last value (MASE)."""
    pinball: float
    """The mean loss of the bounds of the interval, percentage points."""
    coverage: float
    after_busy: float
    """The coverage of the intervals after busy windows; NaN without any."""
    least: float
    """The coverage that the narrowest honest intervals would have had."""

    @property
    def best_other(self) -> float:
        """The error of the best baseline."""
        return min(self.errors[name] for name in BASELINES if not math.isnan(self.errors[name]))


def table(traces: Sequence[Trace]) -> Table:
    """The errors of the forecasts on each trace, all windows and busy ones apart."""
    rows: list[list[Cell]] = []
    for trace in traces:
        width, windows = chosen(trace)
        busy = [window for window in windows if window.load > BUSY]
        rows += [
            _row(trace.name, kind, width, of) for kind, of in (("all", windows), ("busy", busy))
        ]
    return Table(
        "Forecast of the load in the next window: mean absolute error, percentage points",
        [
            "trace", "window", "windows", "n", OURS, *BASELINES, "MASE", "pinball", "coverage",
            "after busy", "least", "error", "interval",
        ],
        rows,
        "Bars: an error below each of the five baselines; 77 to 83 % of all windows in the 80 % "
        "interval. Least is what the narrowest intervals with 80 % of what followed idle windows "
        "and 80 % of what followed busy ones would cover. Where one value, as 0 for an agent that "
        "stays idle, is more than 80 % of that, it alone is such an interval, and one that covers "
        "less leaves out what is all but sure. After busy is the coverage of the intervals that "
        "followed a busy window, which have a width to lose.",
    )  # fmt: skip


def _row(name: str, kind: str, width: int, windows: list[Window]) -> list[Cell]:
    found = score(windows)
    if found is None:
        return [name, f"{width} s", kind, 0, *[None] * (len(BASELINES) + 8)]
    is_whole = kind == "all"
    return [
        name,
        f"{width} s",
        kind,
        found.windows,
        *(found.errors[who] for who in (OURS, *BASELINES)),
        found.scaled,
        found.pinball,
        found.coverage,
        *((found.after_busy, found.least) if is_whole else (None, None)),
        verdict(met=found.errors[OURS] < found.best_other),
        verdict(met=COVERAGE[0] <= found.coverage <= COVERAGE[1]) if is_whole else None,
    ]


def chosen(trace: Trace) -> tuple[int, list[Window]]:
    """The windows of a trace, of the length that suits it."""
    if trace.window is not None:
        return trace.window, list(replayed(trace, trace.window))
    for width in WINDOWS[:-1]:
        windows = list(replayed(trace, width))
        if sum(window.load > BUSY for window in windows) >= ENOUGH_BUSY:
            return width, windows
    return WINDOWS[-1], list(replayed(trace, WINDOWS[-1]))


def replayed(trace: Trace, width: int) -> Iterator[Window]:
    """Every window of a trace for which a forecast was given."""
    capacity = Capacity(DomainSettings(capacity_window_seconds=width))
    facts = _facts(trace)
    last_ends: dict[str, float] = {}
    days: dict[int, list[ExecutionRecorded]] = {}
    for entry in trace.entries:
        # What ends as a day begins ran in the day before.
        day = -int(-entry.finished_at // DAY) - 1
        days.setdefault(day, []).append(entry)
        days.setdefault(day + 1, [])
    for day, executions in sorted(days.items()):
        capacity.advance(day * DAY)
        for segment in segments(executions, SEGMENT):
            capacity.fold(segment)
        last_ends |= {e.agent: e.finished_at for e in executions}
        capacity.advance((day + 1) * DAY)
        for agent, last_end in last_ends.items():
            told_until = min(trace.end, last_end + DAY)
            yield from _day(capacity, agent, day, told_until, facts[agent])


def _day(
    capacity: Capacity, agent: str, day: int, told_until: float, facts: "Facts"
) -> Iterator[Window]:
    """The windows of an agent that begin in a day, while it is among those that are told of."""
    series = capacity._series
    width, end = series.width, (day + 1) * DAY // series.width
    load = series.utilisation(agent, end)
    begin = end - len(load)
    first, last = day * DAY // width - begin, int(told_until // width) - begin
    if last <= first or not load:
        return
    hours = (series.hour_of_day(window) for window in range(begin, end + 1))
    made = list(predictions(load, hours, width))
    # After a single window nothing is known of errors: the answer is all that can be.
    made[0] = Prediction(made[0].value, 0.0, facts.parallel)
    average, per_day = load[0], DAY // width
    for at in range(1, min(last, len(load))):
        if at >= first:
            yesterday = load[at - per_day] if at >= per_day else load[at - 1]
            others = (load[at - 1], average, yesterday, 0.0, facts.rule_of_thumb)
            yield facts.window(load[at], made[at - 1], others)
        average += LEVEL_GAIN * (load[at] - average)


def predictions(
    values: Iterable[float], hours: Iterable[int], width: float
) -> Iterator[Prediction]:
    """After each value of a series, the forecast of the next one.

    `hours` are the hours of the day of each window and of the next one, `width` is their length in
    seconds.
    """
    forecaster = Forecaster(width)
    of_day = iter(hours)
    hour = next(of_day)
    for value, next_hour in zip(values, of_day, strict=True):
        yield forecaster.observe(value, hour, next_hour)
        hour = next_hour


class Facts(Struct, frozen=True):
    """What is known of an agent over the whole trace."""

    parallel: float
    rule_of_thumb: float
    """The load by the mean response time; NaN where that is not known."""

    def window(self, load: float, made: Prediction, others: tuple[float, ...]) -> Window:
        """A window in shares of what the agent can do."""
        most = self.parallel
        low, value, high = (min(1.0, each / most) for each in (made.low, made.value, made.high))
        return Window(
            load=min(1.0, load / most),
            forecast=Prediction(value, low, high),
            # In this order it keeps a NaN.
            others=tuple(min(each / most, 1.0) for each in others),
        )


def _facts(trace: Trace) -> dict[str, Facts]:
    by_agent: dict[str, list[ExecutionRecorded]] = {}
    for entry in trace.entries:
        by_agent.setdefault(entry.agent, []).append(entry)
    if trace.full_load is not None:
        return {agent: Facts(trace.full_load, math.nan) for agent in by_agent}
    return {agent: _of_agent(executions) for agent, executions in by_agent.items()}


def _of_agent(executions: list[ExecutionRecorded]) -> Facts:
    concurrency, most = Concurrency(), 1
    for e in executions:
        end = microseconds(e.finished_at)
        concurrency.add([(end - e.duration, end)])
        most = max(most, concurrency.most)
    response = sum(e.duration for e in executions) / len(executions) / MICROSECONDS
    free = next((percent for seconds, percent in RESPONSES if response > seconds), 100)
    return Facts(most, most * (100 - free) / 100)


def score(windows: Sequence[Window]) -> Score | None:
    """How good the forecasts of these windows were; None without any."""
    if not windows:
        return None
    errors = {OURS: mean(abs(w.forecast.value - w.load) for w in windows)}
    for at, name in enumerate(BASELINES):
        errors[name] = mean(abs(w.others[at] - w.load) for w in windows)
    return Score(
        windows=len(windows),
        errors={name: 100 * error for name, error in errors.items()},
        scaled=errors[OURS] / errors["last value"] if errors["last value"] else math.nan,
        pinball=100 * mean(_pinball(w) for w in windows),
        coverage=_coverage(windows),
        after_busy=_coverage([w for w in windows if w.follows_busy]),
        least=_least_coverage(windows),
    )


def _coverage(windows: Sequence[Window]) -> float:
    if not windows:
        return math.nan
    return mean(w.forecast.low <= w.load <= w.forecast.high for w in windows)


def _least_coverage(windows: Sequence[Window]) -> float:
    """The coverage of the narrowest intervals that hold what they are meant to, on the whole.

    Forecasts that tell more apart than idle windows and busy ones only raise it: where they are
    surer of one value, they cover more.
    """
    covered = 0.0
    for is_busy in (False, True):
        loads = Counter(w.load for w in windows if w.follows_busy is is_busy)
        covered += max(MEANT * loads.total(), *loads.values(), 0)
    return covered / len(windows)


def _pinball(window: Window) -> float:
    """The mean loss of the two bounds as quantiles."""
    below, above = window.load - window.forecast.low, window.load - window.forecast.high
    return (max(LOW * below, (LOW - 1) * below) + max(HIGH * above, (HIGH - 1) * above)) / 2
