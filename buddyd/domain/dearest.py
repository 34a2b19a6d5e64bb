"""The executions that cost most in the periods of the configured budgets."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from heapq import nsmallest

from msgspec import Struct, field

from buddyd.domain.findings import MOST_IDS
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.ledger import Span, period, scope_of
from buddyd.domain.names import join, split
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment
from buddyd.domain.settings import Budget

Rank = tuple[int, int, str]
"""Less its cost, the number of its entry, its id: the dearest is the smallest, then the first."""


class Dearest(Struct):
    """Those of one scope in one period."""

    until: float
    """When the period ends, Unix seconds."""
    ranks: list[Rank] = field(default_factory=list)


class DearestExecutions:
    """Up to ten of each scope and period."""

    def __init__(self, budgets: Iterable[Budget], zone: tzinfo) -> None:
        self._zone = zone
        self._wanted = list(dict.fromkeys((scope_of(each), each.period) for each in budgets))
        self.table: Table[Dearest] = Table(Dearest)

    def fold(self, segment: Segment, at: float) -> None:
        """Take in what was recorded in the minute that began at `at`."""
        for scope, name in self._wanted:
            costly = [each for each in _within(scope, segment) if each.cost]
            if not costly:
                continue
            span = period(name, at, self._zone)
            self._add(join(scope, name), span, costly)
            if max(each.finished_at for each in costly) >= span.end:
                # It is ahead of the clock, and of the next period.
                self._add(join(scope, name), period(name, span.end, self._zone), costly)

    def forget(self, at: float) -> None:
        """Drop the periods that were over at `at`."""
        for key in [key for key, row in self.table.rows.items() if row.until <= at]:
            self.table.drop(key)

    def ids(self, scope: str, name: str, start: float) -> list[str]:
        """Those of the period that began at `start`, the dearest first."""
        row = self.table.get(_key(join(scope, name), start))
        return [] if row is None else [execution_id for _, _, execution_id in row.ranks]

    def _add(self, budget: str, span: Span, executions: Sequence[ExecutionRecorded]) -> None:
        ranks = [
            (-each.cost, each.seq, each.execution_id)
            for each in executions
            if span.start <= each.finished_at < span.end
        ]
        if ranks:
            key = _key(budget, span.start)
            row = self.table.touch(key) or self.table.put(key, Dearest(span.end))
            row.ranks = nsmallest(MOST_IDS, [*row.ranks, *ranks])


def _within(scope: str, segment: Segment) -> Sequence[ExecutionRecorded]:
    kind, name = split(scope)
    if kind == "all":
        return segment.executions
    return (segment.by_agent if kind == "agent" else segment.by_tool).get(name, ())


def _key(budget: str, start: float) -> str:
    return join(budget, str(start))
