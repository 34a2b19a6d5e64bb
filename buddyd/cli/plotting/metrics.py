"""What can be plotted, and how a plot of it looks."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from buddyd.cli.plotting.buckets import Bucket, Buckets
from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Chart, Facts, View
from buddyd.domain.wording import significant

_ROUND = (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10)
_MOST_MARKS = 8
_DAY = 86_400
_MARK_EVERY = (
    *(60, 300, 600, 900, 1800),
    *(3600, 7200, 10_800, 14_400, 21_600, 43_200),
    *(_DAY, 2 * _DAY, 5 * _DAY),
)
"""Seconds between two marks."""

Name = Literal["costs", "tasks", "latency", "success"]


class Metric(Struct, frozen=True):
    """What is looked at in each stretch of time."""

    title: str
    unit: str
    value: Callable[[Bucket], float | None]
    """None where the stretch tells nothing."""
    told: Callable[[float], str]
    """The value for a person."""
    top: float | None = None
    """Where the scale ends; without it, at what is highest."""


def _mean(bucket: Bucket) -> float | None:
    return bucket.seconds / bucket.executions if bucket.executions else None


def _success(bucket: Bucket) -> float | None:
    return 1 - bucket.failed / bucket.executions if bucket.executions else None


METRICS: dict[Name, Metric] = {
    "costs": Metric("Cost", "dollars", lambda b: b.dollars, lambda v: cells.money(v).text),
    "tasks": Metric(
        "Executions", "executions", lambda b: float(b.executions), lambda v: significant(v, 4)
    ),
    "latency": Metric("Mean duration", "seconds", _mean, cells.span),
    "success": Metric("Success rate", "ratio", _success, cells.percent, top=1.0),
}


class Plot(Struct, frozen=True):
    """A metric over time."""

    metric: Metric
    of: str
    """Whose it is, such as ` of web_search`; empty for all."""
    buckets: Buckets

    @property
    def title(self) -> str:
        """What is seen, and how long a stretch is."""
        return f"{self.metric.title}{self.of} in steps of {cells.span(self.buckets.step)} (UTC)"

    def points(self) -> list[tuple[int, float | None]]:
        """When each stretch began (Unix seconds), and its value."""
        value = self.metric.value
        return [(self.buckets.begin(n), value(b)) for n, b in enumerate(self.buckets.rows)]


def view(plot: Plot) -> View:
    """The plot for a terminal, and what it adds up to."""
    told, values = plot.metric.told, [value for _, value in plot.points()]
    top = plot.metric.top or round_above(max((v for v in values if v is not None), default=0.0))
    return [
        Chart(
            plot.title,
            values,
            top,
            (told(top), told(top / 2)),
            _marks(plot.buckets),
        ),
        Facts("", _sums(plot)),
    ]


def round_above(value: float) -> float:
    """The next figure that reads well on a scale, and whose half does."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in _ROUND if power * step >= value)


def _sums(plot: Plot) -> dict[str, Cell]:
    rows = plot.buckets.rows
    executions, failed = sum(b.executions for b in rows), sum(b.failed for b in rows)
    together = Bucket(
        executions, failed, sum(b.seconds for b in rows), sum(b.dollars for b in rows)
    )
    whole = plot.metric.value(together)
    summed = cells.NOTHING if whole is None else cells.said(plot.metric.told(whole))
    exact = {"Executions": cells.count(executions), "Failed": cells.count(failed, "bad")}
    return exact if plot.metric.title in exact else exact | {plot.metric.title: summed}


def _marks(buckets: Buckets) -> dict[int, str]:
    """The times below the columns: midnights where days are shown, else full hours and minutes."""
    count = len(buckets.rows)
    span = count * buckets.step
    form = "%H:%M" if span <= 2 * _DAY else "%d %b"
    every = next((e for e in _MARK_EVERY if span / e <= _MOST_MARKS), _MARK_EVERY[-1])
    begins = ((n, buckets.begin(n)) for n in range(count))
    return {n: f"{datetime.fromtimestamp(at, UTC):{form}}" for n, at in begins if at % every == 0}
