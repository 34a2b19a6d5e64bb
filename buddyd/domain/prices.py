"""Findings about what costs too much: single executions, and costs that have risen."""

from msgspec import Struct

from buddyd.domain.anomalies import Finding
from buddyd.domain.answers import FindingKind
from buddyd.domain.findings import CONFIRMED_SECONDS, MOST_IDS, Case, Casebook
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.projection import Table

REMEMBERED_EXECUTIONS = 100
"""For how many executions a rise counts: what lasts gives another one before they are over."""
LARGE_RATIO = 10.0
MOST_RISEN = 1000
"""Of more, the one that rose longest ago is followed no longer."""


class Risen(Struct):
    """What a tool costs an agent has risen."""

    seq: int
    """When it rose last."""
    executions: int = 0
    """Since then."""


class Prices:
    """Opens and closes the cases of what costs too much."""

    def __init__(self, book: Casebook) -> None:
        self._book = book
        self.risen: Table[Risen] = Table(Risen)

    def follow(self, key: str, each: ExecutionRecorded, finding: Finding | None) -> None:
        """Take in an execution that cost something, and how it stood out."""
        if finding is not None and finding.kind == "rise":
            self._rise(key, each, finding)
            return
        if finding is not None and finding.unusual:
            self._book.keep(_spike(each, finding))
        if key in self.risen.rows:
            self._step(key, each)

    def _rise(self, key: str, each: ExecutionRecorded, finding: Finding) -> None:
        case = self._book.lasting("cost_rise", key, each.finished_at)
        if case is None:
            case = _case("cost_rise", each, finding)
            case.lasts = CONFIRMED_SECONDS
            self._book.open(case)
        else:
            case.ids = [*case.ids[1 - MOST_IDS :], each.execution_id]
        case.last = max(case.last, each.finished_at)
        case.value, case.executions = finding.recent, finding.executions
        if key not in self.risen.rows and len(self.risen.rows) >= MOST_RISEN:
            rows = self.risen.rows
            self._stop(min(rows, key=lambda other: rows[other].seq), each.finished_at)
        self.risen.put(key, Risen(each.seq))

    def _step(self, key: str, each: ExecutionRecorded) -> None:
        risen = self.risen.put(key, self.risen.rows[key])
        risen.executions += 1
        case = self._book.lasting("cost_rise", key, each.finished_at)
        if case is None or risen.executions >= REMEMBERED_EXECUTIONS:
            self._stop(key, each.finished_at)
        else:
            case.last = max(case.last, each.finished_at)

    def _stop(self, key: str, at: float) -> None:
        case = self._book.lasting("cost_rise", key, at)
        if case is not None:
            self._book.close(case, at)
        self.risen.drop(key)


def _spike(each: ExecutionRecorded, finding: Finding) -> Case:
    case = _case("cost_spike", each, finding)
    case.ended = each.finished_at
    if each.cost >= LARGE_RATIO * finding.usual:
        case.severity = "warning"
    return case


def _case(kind: FindingKind, each: ExecutionRecorded, finding: Finding) -> Case:
    case = Case(
        kind,
        "info" if kind == "cost_spike" else "warning",
        each.seq,
        each.finished_at,
        each.finished_at,
        agent=each.agent,
        tool=each.tool,
        executions=1,
    )
    case.value, case.usual, case.ids = float(each.cost), finding.usual, [each.execution_id]
    return case
