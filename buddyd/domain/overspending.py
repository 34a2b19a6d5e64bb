"""Findings about budgets: that one is used up, or will be before its period ends.

Looked at is what each minute of recording came to, and then what every quarter of an hour makes of
it in which nothing comes: at these moments, and not when somebody asks. So the cases follow from
the journal, wherever it is cut. As to the rate of spending, a minute's entries are looked at as of
when it began: further ones of the same minute can then only make it higher, and the answer about
costs, which is as of now, warns of nothing that is no case.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeGuard

from msgspec import Struct

from buddyd.domain import budgets
from buddyd.domain.budgets import Use
from buddyd.domain.dearest import DearestExecutions
from buddyd.domain.findings import BudgetFacts, Case, Casebook
from buddyd.domain.journal import BudgetReported, JournalEntry
from buddyd.domain.ledger import QUARTER, Ledger, quarter_of
from buddyd.domain.names import join
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment, recorded_minutes
from buddyd.domain.settings import Budget, DomainSettings
from buddyd.domain.windows import MINUTE, Part, Window, hour_of

RELIEF = 0.25
"""A warning lasts until this share less is spent than what would use the budget up."""
_ONLY = ""


class Recorded(Struct, frozen=True):
    """The last minute in which anything was recorded."""

    minute: int
    seq: int
    """Its first entry; 0 where nobody noted it."""


class InForce(Struct, frozen=True):
    """The budgets of the configuration under which the cases were opened."""

    budgets: tuple[Budget, ...]


class Overspending:
    """Counts what is spent under the budgets, and opens and closes their cases."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        self._book = Casebook()
        self._ledger = Ledger(settings.budgets, settings.zone)
        self._services = budgets.Services()
        self._dearest = DearestExecutions(settings.budgets, settings.zone)
        self._recorded: Table[Recorded] = Table(Recorded)
        self._in_force: Table[InForce] = Table(InForce)
        self._hour = 0
        # What was seen ahead of the journal, and up to which quarter of an hour.
        self._seen: tuple[int, Casebook] | None = None
        self.parts: dict[str, Part] = {
            "services": self._services.table,
            "cases": self._book.table,
            "dearest": self._dearest.table,
            "recorded": self._recorded,
            "in_force": self._in_force,
            **self._ledger.parts,
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        since = self._first_of_concern(segment)
        concerned = None if since is None else segment.after(since - 1)
        if concerned is None:
            return
        self._seen = None
        last = self._recorded.get(_ONLY)
        for minute, part in recorded_minutes(concerned, 0 if last is None else last.minute):
            self._turn(minute, part.first_seq)
            self._ledger.fold(part)
            self._dearest.fold(part, float(minute * MINUTE))
            for report in filter(_is_report, part.entries if part.has_events else ()):
                self._services.take(report)

    def restored(
        self, kept: set[str], by_tool: Window, by_agent: Window, last_hour: int | None
    ) -> None:
        """The parts were taken up again; begin to count for budgets that are new.

        `kept` are the scopes that were counted for; see `Ledger.adopt`.
        """
        self._book.restored()
        self._ledger.taken_up(kept)
        in_force = self._in_force.get(_ONLY)
        before, now = () if in_force is None else in_force.budgets, self._settings.budgets
        if before != now:
            self._leave(before)
            self._in_force.put(_ONLY, InForce(now))
        if not before:
            self._begin(max(by_tool, default=None))
        self._ledger.adopt(kept, by_tool, by_agent, last_hour)

    def _leave(self, before: tuple[Budget, ...]) -> None:
        """Put on record what was so under the former budgets.

        The cases of those that are gone end when they are looked at next.
        """
        last = self._recorded.get(_ONLY)
        if before and last is not None:
            at = float(last.minute * MINUTE)
            self._look(self._book, self._uses(at, before), at, last.seq)

    def _begin(self, newest: int | None) -> None:
        """Look at new budgets at once, where so far nobody noted when anything was recorded.

        `newest` is the last minute in which anything finished, which is near enough.
        """
        last, services = self._recorded.get(_ONLY), self._services.table.rows
        if newest is None or not (self._settings.budgets or services):
            return
        if last is None or (not services and newest > last.minute):
            self._recorded.put(_ONLY, Recorded(newest, 0))

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        self._ledger.advance(now)
        if self._hour != (hour := hour_of(now)):
            self._hour = hour
            self._book.forget(now)
            # They are few, and described anew each time.
            self._book.changed.clear()

    def uses(self, now: float) -> list[Use]:
        """How the budgets are used at `now`: those of the configuration, then the reported ones."""
        return self._uses(now, self._settings.budgets)

    def cases(self, now: float) -> Iterable[Case]:
        """All that is kept, and what time alone has made of it up to `now`."""
        cases = {case.finding_id: case for case in self._book.cases()}
        cases.update((case.finding_id, case) for case in self._ahead(now))
        return cases.values()

    def _first_of_concern(self, segment: Segment) -> int | None:
        """The entry from which on a segment has to do with budgets."""
        if self._settings.budgets or self._services.table.rows or self._book.has_any_open:
            return segment.first_seq
        if not segment.has_events:
            return None
        return next((entry.seq for entry in segment.entries if _is_report(entry)), None)

    def _turn(self, minute: int, seq: int) -> None:
        """Before the entries of `minute`, from number `seq` on, look at what came before."""
        last = self._recorded.get(_ONLY)
        if last is not None and minute == last.minute:
            return
        at = float(minute * MINUTE)
        if last is not None:
            self._follow(self._book, last.seq, _moments(last.minute, quarter_of(at)))
        self._ledger.forget(at)
        self._dearest.forget(at)
        self._recorded.put(_ONLY, Recorded(minute, seq))
        if last is None:
            self._in_force.put(_ONLY, InForce(self._settings.budgets))

    def _uses(self, now: float, configured: tuple[Budget, ...]) -> list[Use]:
        zone = self._settings.zone
        self._ledger.advance(now)
        return [
            *budgets.configured(self._ledger, configured, now, zone),
            *self._services.uses(now, zone),
        ]

    def _ahead(self, now: float) -> Iterable[Case]:
        """The open cases as they are at `now`, where nothing was recorded since."""
        last, quarter = self._recorded.get(_ONLY), quarter_of(now)
        if last is None:
            return ()
        if self._seen is None or self._seen[0] > quarter:
            book = Casebook()
            for case in self._book.open_cases():
                book.open(copy.copy(case))
            self._follow(book, last.seq, _moments(last.minute, quarter))
        else:
            before, book = self._seen
            self._follow(book, last.seq, _quarters(before, quarter))
        # A clock that was put back may be behind the journal.
        self._seen = (max(quarter, quarter_of(last.minute * MINUTE)), book)
        return book.cases()

    def _follow(self, book: Casebook, seq: int, moments: Iterable[float]) -> None:
        """Look at what the last minute came to, and at what time made of it."""
        for at in moments:
            uses = self.uses(at)
            self._look(book, uses, at, seq)
            if not any(use.burn.rate for use in uses if use.scope != "service"):
                # Nothing was spent for a day: time alone changes nothing any more.
                break

    def _look(self, book: Casebook, uses: Sequence[Use], at: float, seq: int) -> None:
        """Open, worsen and close cases by what is so at `at`."""
        keys = {use.key for use in uses}
        for case in list(book.open_cases()):
            # Its period has ended, or its budget is no more.
            if case.ended_by(at) is not None or case.subject not in keys:
                book.close(case, at)
        for use in uses:
            self._look_at(book, use, at, seq)

    def _look_at(self, book: Casebook, use: Use, at: float, seq: int) -> None:
        """Open, worsen or close the case of a budget."""
        case = book.lasting("budget", use.key, at)
        if not _is_overspent(use, at, lasts=case is not None):
            if case is not None:
                book.close(case, at)
            return
        case = case or book.open(_new(use, at, seq))
        self._tell(case, use)
        if use.exhausted:
            case.alarm(seq)

    def _tell(self, case: Case, use: Use) -> None:
        """Let a case say how its budget is used now."""
        case.lasts = use.end - case.last
        case.value, case.executions = float(use.used or 0), use.executions
        case.budget = _facts(use)
        if use.scope != "service" and use.span is not None:
            scope = join(use.scope, use.name or "")
            case.ids = self._dearest.ids(scope, use.period, use.span.start)


def _is_report(entry: JournalEntry) -> TypeGuard[BudgetReported]:
    return isinstance(entry, BudgetReported)


def _moments(minute: int, quarter: int) -> Iterator[float]:
    """When a minute began, and the quarters of an hour after that up to number `quarter`."""
    begin = float(minute * MINUTE)
    yield begin
    yield from _quarters(quarter_of(begin), quarter)


def _quarters(before: int, last: int) -> Iterator[float]:
    """When the quarters of an hour after number `before` began, up to number `last`."""
    return (float(number * QUARTER) for number in range(before + 1, last + 1))


def _is_overspent(use: Use, at: float, *, lasts: bool) -> bool:
    """Whether it is used up, or likely to be, before its period ends."""
    if use.exhausted:
        return at < use.end
    return use.lasts_until(at, 1.0 - RELIEF if lasts else 1.0) < use.end


def _new(use: Use, at: float, seq: int) -> Case:
    return Case(
        "budget",
        "warning",
        seq,
        at,
        at,
        agent=use.name if use.scope == "agent" else None,
        tool=use.name if use.scope == "tool" else None,
        usual=float(use.limit),
        budget=_facts(use),
    )


def _facts(use: Use) -> BudgetFacts:
    return BudgetFacts(
        key=use.key,
        scope=use.scope,
        name=use.name,
        period=use.period,
        rate=use.burn.rate,
        lasts_until=None if use.exhausted else use.lasts_until(use.at),
    )
