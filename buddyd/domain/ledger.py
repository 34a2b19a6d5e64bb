"""The ledger: what was spent under the configured budgets, by quarters of an hour.

Every zone's day begins at a quarter of a UTC hour, so their sums are exact for any zone and do not
depend on it. Kept is what the present month needs wherever its first day began, and no name but
those that have a budget.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from typing import NamedTuple

from msgspec import Struct

from buddyd.domain.answers import BudgetPeriod
from buddyd.domain.names import join, split
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment
from buddyd.domain.settings import Budget
from buddyd.domain.windows import HOUR, MINUTE, Part, Window

QUARTER_MINUTES = 15
QUARTER = QUARTER_MINUTES * MINUTE
# No zone is further ahead of UTC, nor behind it.
MOST_AHEAD = MOST_BEHIND = 14 * HOUR
# A clock that is put back finds the month that it left.
GRACE = 2 * HOUR
DAY_AND_MORE = 27 * HOUR
# No quarter is that far.
FAR = 10**12


class Scope(Struct, frozen=True):
    """What a budget is for, as it is counted."""

    key: str
    """What its sums are under: short, for it stands in every quarter."""
    since: int | None
    """The minute from which on all of it is counted; None where nothing was before."""


def scope_of(budget: Budget) -> str:
    """The name of what a budget is for."""
    if budget.agent is not None:
        return join("agent", budget.agent)
    return join("all", "") if budget.tool is None else join("tool", budget.tool)


class Ledger:
    """Exact sums for each scope since the beginning of the month, or longer."""

    def __init__(self, budgets: Iterable[Budget], zone: tzinfo) -> None:
        self._zone = zone
        self._scopes: Table[Scope] = Table(Scope)
        # Executions, billionths of a dollar.
        self._quarters = Window(0)
        # The first quarter that is kept.
        self._kept = -FAR
        self.parts: dict[str, Part] = {"scopes": self._scopes, "quarters": self._quarters}
        self._wanted = list(dict.fromkeys(map(scope_of, budgets)))
        for number, name in enumerate(self._wanted):
            self._scopes.put(name, Scope(str(number), None))

    def fold(self, segment: Segment) -> None:
        """Count what comes next."""
        if not self._wanted:
            return
        for tool in segment.tool_sums:
            self._count("all", "", tool.minute, (tool.executions, tool.cost))
            self._count("tool", tool.name, tool.minute, (tool.executions, tool.cost))
        for agent in segment.agent_sums:
            self._count("agent", agent.name, agent.minute, (agent.executions, agent.cost))

    def advance(self, now: float) -> None:
        """Let the sums begin with the month."""
        start = quarter_of(period("month", now, self._zone).start)
        self._quarters.grace = start - self._kept
        self._quarters.move(start)

    def forget(self, recorded: float) -> None:
        """Let the sums begin with the month of `recorded`; forget what no zone needs of it.

        That is a time of the journal, not of the clock: who catches up with what was recorded long
        ago finds what was counted then.
        """
        self.advance(recorded)
        behind = datetime.fromtimestamp(recorded - MOST_BEHIND - GRACE, UTC)
        oldest = _first_of_month(behind).timestamp() - MOST_AHEAD
        self._kept = quarter_of(min(oldest, recorded - DAY_AND_MORE))
        self._quarters.drop_before(self._kept)

    def taken_up(self, kept: set[str]) -> None:
        """After a restart: know the scopes `kept`, which were taken up, and no others yet."""
        for name in [name for name in self._scopes.rows if name not in kept]:
            self._scopes.drop(name)

    def adopt(
        self, kept: set[str], by_tool: Window, by_agent: Window, last_hour: int | None
    ) -> None:
        """After that: begin with the scopes that are new, forget those nobody wants.

        The windows are those of the last day: what they
        hold is where the new ones begin; `last_hour` is the last one in which anything finished.
        """
        for name in [name for name in self._scopes.rows if name not in self._wanted]:
            self._scopes.drop(name)
        if not self._wanted:
            # Nobody would forget them as time goes on.
            self._quarters.drop_before(FAR)
        since = min(by_tool, default=None if last_hour is None else (last_hour + 1) * 60)
        unused = self._unused(kept)
        for name in self._wanted:
            if name not in kept:
                self._scopes.put(name, Scope(next(unused), since))
                kind, of = split(name)
                self._recount(kind, of, by_agent if kind == "agent" else by_tool)

    def known_since(self, scope: str) -> float:
        """From when on everything of a scope is counted (Unix seconds)."""
        since = self._scopes.rows[scope].since
        return -math.inf if since is None else since * MINUTE

    def of_month(self, scope: str) -> Sequence[int]:
        """How many executions there were since the month began, and what was spent on them.

        What is already recorded as ahead of the clock is among them.
        """
        return self._quarters.totals.get(self._scopes.rows[scope].key, (0, 0))

    def since(self, time: float) -> dict[str, dict[int, Sequence[int]]]:
        """The same by scope, in each quarter from the one that begins at `time` on."""
        first = quarter_of(time)
        names = {row.key: name for name, row in self._scopes.rows.items()}
        found: dict[str, dict[int, Sequence[int]]] = {name: {} for name in names.values()}
        for quarter in [quarter for quarter in self._quarters if quarter >= first]:
            for key, cell in self._quarters.get(quarter).items():
                if key in names:
                    found[names[key]][quarter] = cell
        return found

    def _count(self, kind: str, name: str, minute: int, values: Sequence[int]) -> None:
        scope = self._scopes.rows.get(join(kind, name))
        if scope is not None:
            self._quarters.add(minute // QUARTER_MINUTES, scope.key, values)

    def _recount(self, kind: str, name: str, window: Window) -> None:
        for minute in window:
            for each, cell in window.get(minute).items():
                if kind == "all" or each == name:
                    self._count(kind, name, minute, cell[:2])

    def _unused(self, kept: set[str]) -> Iterator[str]:
        """Keys that nothing was counted under, under whatever scope that was configured once."""
        used = {key for quarter in self._quarters for key in self._quarters.get(quarter)}
        used |= {row.key for name, row in self._scopes.rows.items() if name in kept}
        return (key for key in map(str, count()) if key not in used)


def quarter_of(time: float) -> int:
    """The number of the quarter of an hour that `time` (Unix seconds) falls into."""
    return int(time // QUARTER)


class Span(NamedTuple):
    """A day or a month, in Unix seconds."""

    start: float
    end: float


def period(name: BudgetPeriod, now: float, zone: tzinfo) -> Span:
    """The day or the month that `now` lies in, from midnight to midnight in `zone`."""
    today = datetime.fromtimestamp(now, zone).replace(
        hour=0, minute=0, second=0, microsecond=0, fold=0
    )
    if name == "day":
        return Span(today.timestamp(), (today + timedelta(days=1)).timestamp())
    first = _first_of_month(today)
    return Span(first.timestamp(), _first_of_month(first + timedelta(days=32)).timestamp())


def _first_of_month(time: datetime) -> datetime:
    return time.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
