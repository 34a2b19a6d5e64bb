"""What sources of costs say that they have counted, beside what was recorded by execution.

Totals can only be compared over a time for which both sides are known. So a source's total is
followed from report to report, and what it grew by since the first of them that lies in the
24-hour window, or since it was zero, is held against what finished in the same minutes.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct, field

from buddyd.domain.answers import Comparison, NotCompared, Reconciliation
from buddyd.domain.journal import NANODOLLARS, CostsReported
from buddyd.domain.meter import Point, follow
from buddyd.domain.names import join
from buddyd.domain.projection import Table
from buddyd.domain.windows import Cell, minute_of, rfc3339

MOST_TOTALS = 1000
"""Missions of all sources that are remembered; the one reported longest ago makes room."""
_OF_ALL = ""
"""The mission of a total of all that a source counts; no name is empty."""


class Total(Struct):
    """The last report of a source for a mission, and how it came about."""

    seq: int
    source: str
    of_mission: bool
    since: float | None
    points: list[Point] = field(default_factory=list)

    @property
    def last(self) -> Point:
        """The last report."""
        return self.points[-1]

    def base(self, floor: int) -> "Base | None":
        """From when on it can be compared, if the window begins at minute `floor`."""
        for point in self.points:
            minute = minute_of(point.time)
            if minute < floor:
                continue
            if point.time == self.since and not point.value:
                return Base(minute, point)
            if self.of_mission and self.since is None:
                # It may have ended long ago: between two reports nothing need have been spent.
                return None
            # What was recorded in the minute of the report itself may be part of it already.
            return Base(minute + 1, point) if point is not self.last else None
        return None


class Base(NamedTuple):
    """What a total grew from, and the first minute that was not part of it."""

    minute: int
    point: Point


class Sources:
    """Everything that sources of costs have reported."""

    def __init__(self) -> None:
        self.table = Table(Total, MOST_TOTALS)

    def take(self, entry: CostsReported) -> None:
        """Take in a report."""
        key = join(entry.source, entry.mission or _OF_ALL)
        total = self.table.touch(key)
        if total is None or total.since != entry.since:
            of_mission = entry.mission is not None
            total = Total(entry.seq, entry.source, of_mission, entry.since)
            self.table.put(key, total)
        total.seq = entry.seq
        newest = Point(entry.until, entry.actual, entry.estimate)
        total.points = follow(total.points, newest)
        if entry.since is not None and len(total.points) == 1 and entry.since < entry.until:
            nothing = None if entry.estimate is None else 0
            total.points.insert(0, Point(entry.since, 0, nothing))

    def answer(self, floor: int, recorded: Mapping[int, Cell]) -> list[Reconciliation]:
        """Every source, by name.

        `recorded` has executions, costs and estimates by minute, from minute `floor` on.
        """
        by_source: dict[str, list[Total]] = {}
        for total in self.table.rows.values():
            by_source.setdefault(total.source, []).append(total)
        return [
            _reconciled(source, totals, floor, recorded)
            for source, totals in sorted(by_source.items())
        ]


def _reconciled(
    source: str, totals: list[Total], floor: int, recorded: Mapping[int, Cell]
) -> Reconciliation:
    pairs = [(total, base) for total in totals if (base := total.base(floor)) is not None]
    too_old = sum(minute_of(total.last.time) < floor for total in totals)
    return Reconciliation(
        source=source,
        missions=len(totals),
        last_report=rfc3339(max(total.last.time for total in totals)),
        reported_actual=sum(total.last.value for total in totals) / NANODOLLARS,
        reported_estimated=_dollars(_sum(total.last.estimate for total in totals)),
        compared=_compared(pairs, recorded) if pairs else None,
        not_compared=NotCompared(no_beginning=len(totals) - len(pairs) - too_old, too_old=too_old),
    )


def _compared(pairs: list[tuple[Total, Base]], recorded: Mapping[int, Cell]) -> Comparison:
    minutes: set[int] = set()
    for total, base in pairs:
        minutes.update(range(base.minute, minute_of(total.last.time) + 1))
    cells = [recorded[minute] for minute in minutes if minute in recorded]
    executions, actual, estimate = (sum(cell[column] for cell in cells) for column in range(3))
    reported = sum(total.last.value - base.point.value for total, base in pairs)
    estimated = _sum(_grown(base.point.estimate, total.last.estimate) for total, base in pairs)
    return Comparison(
        since=rfc3339(min(base.point.time for _, base in pairs)),
        until=rfc3339(max(total.last.time for total, _ in pairs)),
        missions=len(pairs),
        executions=executions,
        reported_actual=reported / NANODOLLARS,
        recorded_actual=actual / NANODOLLARS,
        difference_actual=(reported - actual) / NANODOLLARS,
        reported_estimated=_dollars(estimated),
        recorded_estimated=estimate / NANODOLLARS,
        difference_estimated=_dollars(None if estimated is None else estimated - estimate),
    )


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _sum(values: Iterable[int | None]) -> int | None:
    """Their sum; None where one of them is not known."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _dollars(nanodollars: int | None) -> float | None:
    return None if nanodollars is None else nanodollars / NANODOLLARS
