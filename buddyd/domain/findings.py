"""Findings: what went wrong, since when and until when, and what speaks for it.

A finding is a *case*: it is opened by an entry of the journal, confirmed by further ones, and
closed by another, or by time. Whatever happens to it is worked out from the entries: when somebody
asks changes nothing.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from heapq import heappop, heappush

from msgspec import Struct, field

from buddyd.domain.answers import BudgetScope, FindingKind, ReportedPeriod, Severity
from buddyd.domain.names import join
from buddyd.domain.projection import Table
from buddyd.domain.windows import DAY_MINUTES, GRACE_HOURS, MINUTE, hour_of, month_floor

MOST_IDS = 10
MOST_CLOSED = 1000
"""Of each kind; of more, those that began first are forgotten."""
CONFIRMED_SECONDS = float(DAY_MINUTES * MINUTE)
"""What no execution has confirmed for this long is over."""

RANKS: dict[Severity, int] = {"alarm": 0, "warning": 1, "info": 2}


class BudgetFacts(Struct, frozen=True):
    """Which budget a finding is about, and how fast it was spent when that was looked at last."""

    key: str
    """That budget in that period, with that limit."""
    scope: BudgetScope
    name: str | None
    period: ReportedPeriod
    rate: float
    """Billionths of a dollar an hour."""
    lasts_until: float | None
    """When it is likely to be used up; None where it is."""


class Case(Struct):
    """A finding as it is kept."""

    kind: FindingKind
    severity: Severity
    seq: int
    """The entry at which it was opened."""
    began: float
    last: float
    """Until when it was confirmed, Unix seconds, as are all times."""
    agent: str | None = None
    tool: str | None = None
    task: str | None = None
    ended: float | None = None
    lasts: float = math.inf
    """For how long it counts without being confirmed, seconds."""
    executions: int = 0
    failed: int | None = None
    error_type: str | None = None
    value: float | None = None
    """Billionths of a dollar or microseconds, as is the usual."""
    usual: float | None = None
    waiting: int | None = None
    ids: list[str] = field(default_factory=list)
    alarm_seq: int = 0
    """The entry at which it became an alarm."""
    budget: BudgetFacts | None = None

    @property
    def finding_id(self) -> str:
        """The same for the same entries."""
        # As hours turn, more than one can begin after the same entry.
        kind, agent, tool, task, seq, budget = self.place
        words = f"{kind}\x1f{agent}\x1f{tool}\x1f{task}\x1f{seq}\x1f{self.began}"
        if budget:
            words += f"\x1f{budget}"
        return blake2b(words.encode(), digest_size=8).hexdigest()

    @property
    def place(self) -> tuple[str, str, str, str, int, str]:
        """Its place among those that began at the same time."""
        budget = "" if self.budget is None else self.budget.key
        return self.kind, self.agent or "", self.tool or "", self.task or "", self.seq, budget

    @property
    def subject(self) -> str:
        """What it is about, within its kind."""
        if self.budget is not None:
            return self.budget.key
        if self.kind in {"loop", "cost_rise"}:
            return join(self.agent or "", (self.task if self.kind == "loop" else self.tool) or "")
        return self.tool or self.agent or ""

    def ended_by(self, now: float) -> float | None:
        """When it ended, or None where it lasts at `now`."""
        if self.ended is not None:
            return self.ended
        over = self.last + self.lasts
        return over if over <= now else None

    def alarm(self, seq: int) -> None:
        """With entry number `seq` it is alarming."""
        if self.severity != "alarm":
            self.severity, self.alarm_seq = "alarm", seq


class Casebook:
    """The cases: those that are open, by kind and subject, and those of the last 30 days.

    At most `MOST_CLOSED` closed ones of each kind are kept, and there is at most one open of each
    kind about one subject.
    """

    def __init__(self) -> None:
        self.table: Table[Case] = Table(Case)
        self._open: dict[str, dict[str, str]] = {}
        self._closed: dict[str, dict[str, Case]] = {}
        # Heaps of the closed ones, by the entry, and perhaps of some that are gone.
        self._first: dict[str, list[tuple[int, str]]] = {}
        self.changed: set[str] = set()
        """The ids of what was changed; who reads them clears them."""

    def restored(self) -> None:
        """The table was taken up again: find what is open in it."""
        self._open.clear()
        self._closed.clear()
        for key, case in self.table.rows.items():
            if case.ended is None:
                self._open.setdefault(case.kind, {})[case.subject] = key
            else:
                self._closed.setdefault(case.kind, {})[key] = case
        self._first = {
            kind: sorted((case.seq, key) for key, case in closed.items())
            for kind, closed in self._closed.items()
        }

    @property
    def has_any_open(self) -> bool:
        """Whether there is an open case of any kind."""
        return any(self._open.values())

    def has_open(self, kind: FindingKind, subject: str) -> bool:
        """Whether there is an open case."""
        return subject in self._open.get(kind, ())

    def find(self, kind: FindingKind, subject: str) -> Case | None:
        """The open case, to look at."""
        key = self._open.get(kind, {}).get(subject)
        return None if key is None else self.table.get(key)

    def lasting(self, kind: FindingKind, subject: str, at: float) -> Case | None:
        """The open case, to be changed; one that was over before `at` is closed instead."""
        key = self._open.get(kind, {}).get(subject)
        if key is None or (case := self.table.touch(key)) is None:
            return None
        self.changed.add(key)
        if at > case.last + case.lasts:
            self.close(case, at)
            return None
        return case

    def open(self, case: Case) -> Case:
        """Begin a case."""
        key = case.finding_id
        self.changed.add(key)
        self._open.setdefault(case.kind, {})[case.subject] = key
        return self.table.put(key, case)

    def close(self, case: Case, at: float) -> None:
        """The case ended at `at`, but not before it was confirmed last."""
        case.ended = min(max(case.last, at), case.last + case.lasts)
        self._open[case.kind].pop(case.subject, None)
        self.keep(case)

    def keep(self, case: Case) -> None:
        """Put a closed case with the others."""
        key = case.finding_id
        self.changed.add(key)
        self.table.put(key, case)
        closed = self._closed.setdefault(case.kind, {})
        if key not in closed:
            heappush(self._first.setdefault(case.kind, []), (case.seq, key))
        closed[key] = case
        if len(closed) > MOST_CLOSED:
            self._drop_first(case.kind)

    def forget(self, now: float) -> None:
        """Drop what ended before the 30-day window, and its grace."""
        floor = month_floor(now) - GRACE_HOURS
        for closed in self._closed.values():
            for key in [k for k, case in closed.items() if hour_of(case.ended or 0.0) < floor]:
                self._drop(key, closed)

    def cases(self) -> Iterable[Case]:
        """All of them, in no order."""
        return self.table.rows.values()

    def open_cases(self) -> Iterator[Case]:
        """Those that are not closed; for some, time may have run out."""
        for keys in self._open.values():
            for key in keys.values():
                yield self.table.rows[key]

    def _drop_first(self, kind: FindingKind) -> None:
        """Drop the closed one that was opened first."""
        closed, first = self._closed[kind], self._first[kind]
        while (key := heappop(first)[1]) not in closed:
            pass
        self._drop(key, closed)

    def _drop(self, key: str, closed: dict[str, Case]) -> None:
        del closed[key]
        self.table.drop(key)
        self.changed.add(key)


Wanted = Callable[[Case], bool]


def lasting(cases: Iterable[Case], now: float) -> list[Case]:
    """Those that last at `now`, the worst first, and of those the one that began last."""
    found = [case for case in cases if case.ended_by(now) is None]
    return sorted(found, key=lambda c: (RANKS[c.severity], -c.began, c.place))


def of_30_days(cases: Iterable[Case], now: float, wanted: Wanted) -> list[Case]:
    """What lasts or has ended in the 30-day window and fits, the one that began last first."""
    floor = month_floor(now)
    found = [case for case in cases if hour_of(case.ended_by(now) or now) >= floor and wanted(case)]
    return sorted(found, key=lambda c: (-c.began, c.place))
