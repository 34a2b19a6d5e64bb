"""Budgets: how much of each is used, when it will be used up, and a warning before it is."""

import math
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from itertools import pairwise

from msgspec import Struct, field

from buddyd.domain.answers import (
    BudgetScope,
    BudgetUse,
    BudgetWarning,
    ReportedPeriod,
    Severity,
)
from buddyd.domain.burn import HOURS_OF_RATE, Burn, Spending, burn, exhaustion
from buddyd.domain.journal import NANODOLLARS, BudgetReported, ratio
from buddyd.domain.ledger import QUARTER, Ledger, Span, period, quarter_of, scope_of
from buddyd.domain.meter import DAY, Point, follow
from buddyd.domain.projection import Table
from buddyd.domain.settings import Budget
from buddyd.domain.windows import HOUR, in_words, rfc3339
from buddyd.domain.wording import dollars

MOST_SERVICES = 100
"""Services that are remembered; the one reported longest ago makes room."""
HORIZON = 30 * DAY
"""How far ahead of its last report the end of a budget without a period is looked for, seconds."""
QUARTERS_PER_HOUR = 4
_PERIODS = {"day": " a day", "month": " a month", "total": ""}
Quarters = Mapping[int, Sequence[int]]
"""Executions in quarters of an hour, and what was spent on them."""


class Use(Struct, frozen=True, kw_only=True):
    """How a budget is used; money in billionths of a dollar, times in Unix seconds."""

    scope: BudgetScope
    name: str | None
    period: ReportedPeriod
    span: Span | None
    limit: int
    used: int | None
    burn: Burn
    at: float
    """When it was so."""
    executions: int = 0
    """How many there were in the period; of a service that is not known."""
    counted_since: float | None = None
    reported_at: float | None = None

    @property
    def key(self) -> str:
        """This budget in this period; with another limit it is another one."""
        start = "" if self.span is None else self.span.start
        return "\x1f".join(map(str, (self.scope, self.name or "", self.period, start, self.limit)))

    @property
    def end(self) -> float:
        """Until when what is known of it says something."""
        return self.at + HORIZON if self.span is None else self.span.end

    @property
    def exhausted(self) -> bool:
        """Whether it is used up."""
        return self.used is not None and self.used >= self.limit

    def answer(self, now: float) -> BudgetUse:
        """The same as it is told at `now`."""
        low, likely, high = self._exhaustion(now)
        used = self.used
        return BudgetUse(
            scope=self.scope,
            name=self.name,
            period=self.period,
            period_start=_told(self.span and self.span.start),
            period_end=_told(self.span and self.span.end),
            limit=self.limit / NANODOLLARS,
            used=None if used is None else used / NANODOLLARS,
            share_used=None if used is None else ratio(used, self.limit),
            counted_since=_told(self.counted_since),
            reported_at=_told(self.reported_at),
            rate=self.burn.rate / NANODOLLARS,
            rate_hours=self.burn.hours,
            exhausted=self.exhausted,
            exhausted_at=_told(likely),
            exhausted_low=_told(low),
            exhausted_high=_told(high),
            warning=self._warning(low, likely),
        )

    def lasts_until(self, now: float, share: float = 1.0) -> float:
        """When `share` of what is left is likely to be spent, as it is told at `now`.

        Infinity where that is not to be expected. It must not be used up.
        """
        if self.used is None:
            return math.inf
        return self._in(share * exhaustion(self.limit - self.used, self.burn).likely, now)

    def _exhaustion(self, now: float) -> tuple[float | None, float | None, float | None]:
        """When it will be used up, with the interval; None where that is beyond its period."""
        if self.used is None or self.exhausted:
            return None, None, None
        low, likely, high = (
            time if (time := self._in(hours, now)) < self.end else None
            for hours in exhaustion(self.limit - self.used, self.burn)
        )
        return low, likely, high

    def _in(self, hours: float, now: float) -> float:
        """When so many hours have passed, or `now`: of the meantime it does not know."""
        return max(now, self.at + hours * HOUR)

    def _warning(self, low: float | None, likely: float | None) -> BudgetWarning | None:
        severity: Severity
        budget = named(self.scope, self.name, self.period, self.limit)
        if self.exhausted or likely is not None:
            severity = "alarm" if self.exhausted else "warning"
            message = expected(budget, self.used or 0, self.burn.rate, likely)
        elif low is not None:
            severity, message = "info", f"{budget} may be used up as early as {in_words(low)}."
        else:
            return None
        return BudgetWarning(severity=severity, message=message)


# In words; money in billionths of a dollar


def named(scope: BudgetScope, name: str | None, period: ReportedPeriod, limit: float) -> str:
    """A budget as the subject of a sentence."""
    whom = "" if scope == "all" else f" for {name}"
    return f"The budget of {_money(limit)}{_PERIODS[period]}{whom}"


def expected(
    budget: str, used: float, rate: float, lasts_until: float | None, end: float = math.inf
) -> str:
    """How long a budget will last at `rate` an hour, or that it is used up, where that is None.

    That may be a little after its period has ended, at `end`.
    """
    spent = f"{_money(used)} is spent."
    if lasts_until is None:
        return f"{budget} is used up: {spent}"
    if lasts_until >= end:
        return f"{budget} is close to being used up: {spent}"
    until = f"{in_words(lasts_until)} at {_money(round(rate))} an hour"
    return f"{budget} will last until {until}; {spent}"


# Budgets of the configuration


def configured(ledger: Ledger, budgets: tuple[Budget, ...], now: float, zone: tzinfo) -> list[Use]:
    """How the budgets of the configuration are used, in its order."""
    if not budgets:
        return []
    today = period("day", now, zone).start
    recent = ledger.since(min(today, now - HOURS_OF_RATE * HOUR))
    return [_configured(ledger, budget, recent[scope_of(budget)], now, zone) for budget in budgets]


def _configured(ledger: Ledger, budget: Budget, recent: Quarters, now: float, zone: tzinfo) -> Use:
    scope = scope_of(budget)
    span = period(budget.period, now, zone)
    executions, used = (
        _since(span.start, recent) if budget.period == "day" else ledger.of_month(scope)
    )
    return Use(
        scope="agent" if budget.agent else "tool" if budget.tool else "all",
        name=budget.agent or budget.tool,
        period=budget.period,
        span=span,
        limit=budget.limit,
        used=used,
        burn=_burn_of_quarters(recent, now),
        at=now,
        executions=executions,
        counted_since=max(span.start, ledger.known_since(scope)),
    )


def _since(time: float, recent: Quarters) -> tuple[int, int]:
    first = quarter_of(time)
    cells = [cell for quarter, cell in recent.items() if quarter >= first]
    return sum(cell[0] for cell in cells), sum(cell[1] for cell in cells)


def _burn_of_quarters(recent: Quarters, now: float) -> Burn:
    """By whole hours back from the end of this quarter, up to the first one with spending."""
    current = quarter_of(now)
    spent = [0] * HOURS_OF_RATE
    for quarter, (_, cost) in recent.items():
        ago = max(0, current - quarter) // QUARTERS_PER_HOUR
        if ago < HOURS_OF_RATE:
            spent[ago] += cost
    while spent and not spent[-1]:
        spent.pop()
    to_come = ((current + 1) * QUARTER - now) / HOUR
    return burn([Spending(1.0 if ago else 1.0 - to_come, cost) for ago, cost in enumerate(spent)])


# Budgets that were reported


class Service(Struct):
    """What was last reported of a service, and how it came about."""

    seq: int
    limit: int
    period: ReportedPeriod
    points: list[Point] = field(default_factory=list)


class Services:
    """The budgets that budget trackers have reported."""

    def __init__(self) -> None:
        self.table: Table[Service] = Table(Service, MOST_SERVICES)

    def take(self, entry: BudgetReported) -> None:
        """Take in a report."""
        service = self.table.touch(entry.service)
        if service is None or service.period != entry.period:
            service = self.table.put(entry.service, Service(entry.seq, entry.limit, entry.period))
        service.seq, service.limit = entry.seq, entry.limit
        service.points = follow(service.points, Point(entry.recorded_at, entry.spent))

    def uses(self, now: float, zone: tzinfo) -> list[Use]:
        """How the budget of every service is used, by name."""
        return [_reported(name, row, now, zone) for name, row in sorted(self.table.rows.items())]


def _reported(name: str, service: Service, now: float, zone: tzinfo) -> Use:
    span = None if service.period == "total" else period(service.period, now, zone)
    course = [point for point in service.points if span is None or point.time >= span.start]
    last = service.points[-1]
    return Use(
        scope="service",
        name=name,
        period=service.period,
        span=span,
        limit=service.limit,
        used=last.value if course else None,
        burn=_burn_of_course(course, span),
        at=last.time,
        reported_at=last.time,
    )


def _burn_of_course(course: list[Point], span: Span | None) -> Burn:
    """From report to report; from the start of the period, where that is not long ago."""
    if (
        span is not None
        and course
        and (len(course) == 1 or span.start >= course[-1].time - HOURS_OF_RATE * HOUR)
    ):
        course = [Point(span.start, 0), *course]
    return burn(
        [
            Spending((after.time - before.time) / HOUR, after.value - before.value)
            for before, after in pairwise(course)
            if after.time > before.time
        ]
    )


def _told(time: float | None) -> str | None:
    return None if time is None else rfc3339(time)


def _money(nanodollars: float) -> str:
    return dollars(nanodollars / NANODOLLARS)
