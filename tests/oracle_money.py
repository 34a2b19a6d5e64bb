"""The part of the test oracle for budgets and for what cost trackers report.

As plain as the rest of it: lists are filtered by time and summed up, equations are solved by
halving. It is written from the reference of the protocol.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, tzinfo
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist
from typing import Any, NamedTuple

from msgspec import Struct

from buddyd.config import Budget
from buddyd.domain.journal import BudgetReported, CostsReported, ExecutionRecorded

Json = dict[str, Any]
MINUTE, QUARTER, HOUR, DAY = 60, 900, 3600, 86_400


class Moment(Struct, frozen=True):
    """A time that is told as RFC 3339; exact to a millisecond."""

    time: float


class Says(Struct, frozen=True):
    """A sentence in the daemon's own words that holds all of these."""

    words: tuple[str, ...]


class Piece(NamedTuple):
    """Dollars that were spent within some hours."""

    hours: float
    dollars: Fraction


def budgets(
    configured: Sequence[Budget],
    executions: Sequence[ExecutionRecorded],
    reports: Sequence[BudgetReported],
    now: float,
    zone: tzinfo,
) -> list[Json]:
    """All budgets: those of the configuration, then those of the services by name."""
    services = {report.service for report in reports}
    return [_configured(budget, executions, now, zone) for budget in configured] + [
        _service(name, [r for r in reports if r.service == name], now, zone)
        for name in sorted(services)
    ]


def _configured(
    budget: Budget, executions: Sequence[ExecutionRecorded], now: float, zone: tzinfo
) -> Json:
    own = [
        e for e in executions if budget.agent in {None, e.agent} and budget.tool in {None, e.tool}
    ]
    start, end = span(budget.period, now, zone)
    used = _dollars(sum(e.cost for e in own if e.finished_at >= start))
    scope = "agent" if budget.agent else "tool" if budget.tool else "all"
    return {
        "scope": scope,
        "name": budget.agent or budget.tool,
        **_use(
            Fraction(str(budget.limit)),
            used,
            budget.period,
            (start, end),
            _hours(own, now),
            now,
            now,
        ),
        "counted_since": Moment(start),
        "reported_at": None,
    }


def _hours(executions: Sequence[ExecutionRecorded], now: float) -> list[Piece]:
    """The last hours, from the end of this quarter back to the oldest of 24 with spending."""
    end = (now // QUARTER + 1) * QUARTER
    pieces = []
    for ago in range(24):
        until = math.inf if ago == 0 else end - ago * HOUR
        since = end - (ago + 1) * HOUR
        spent = sum(e.cost for e in executions if since <= e.finished_at < until)
        pieces.append(Piece(1.0 if ago else 1.0 - (end - now) / HOUR, _dollars(spent)))
    while pieces and not pieces[-1].dollars:
        pieces.pop()
    return pieces


def _service(name: str, reports: list[BudgetReported], now: float, zone: tzinfo) -> Json:
    last = reports[-1]
    of_period = []
    for report in reports:
        of_period = [*of_period, report] if _same_period(of_period, report) else [report]
    course = followed((r.recorded_at, r.spent) for r in of_period)
    start, end = span(last.period, now, zone) if last.period != "total" else (None, None)
    known = [point for point in course if start is None or point[0] >= start]
    pieces = known
    if start is not None and known and (len(known) == 1 or start >= known[-1][0] - DAY):
        pieces = [(start, 0), *known]
    steps = [
        Piece((b[0] - a[0]) / HOUR, _dollars(b[1] - a[1]))
        for a, b in pairwise(pieces)
        if b[0] > a[0]
    ]
    used = _dollars(last.spent) if known else None
    limits = None if start is None else (start, end)
    return {
        "scope": "service",
        "name": name,
        **_use(_dollars(last.limit), used, last.period, limits, steps, last.recorded_at, now),
        "counted_since": None,
        "reported_at": Moment(last.recorded_at),
    }


def _same_period(before: list[BudgetReported], report: BudgetReported) -> bool:
    return not before or before[-1].period == report.period


def followed(reports: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The course of a sum: see `report_costs` in the reference."""
    course: list[tuple[Any, ...]] = []
    for report in reports:
        if course and report[1] < course[-1][1]:
            course = []
        course = [point for point in course if point[0] < report[0]]
        if len(course) >= 2 and course[-1][0] - course[-2][0] < HOUR:
            del course[-1]
        course.append(report)
        while len(course) > 2 and course[1][0] <= report[0] - DAY:
            del course[0]
    return course


def _use(  # noqa: PLR0917 - the facts of one budget
    limit: Fraction,
    used: Fraction | None,
    period: str,
    limits: tuple[float, float] | None,
    pieces: list[Piece],
    at: float,
    now: float,
) -> Json:
    hours = math.fsum(piece.hours for piece in pieces)
    spent = sum(piece.dollars for piece in pieces)
    rate = float(spent) / hours if spent else 0.0
    exhausted = used is not None and used >= limit
    times: list[float | None] = [None, None, None]
    if used is not None and not exhausted:
        end = at + 30 * DAY if limits is None else limits[1]
        found = gone(float(limit - used), rate, _variance(pieces, rate, hours), hours)
        late = [max(now, at + each * HOUR) for each in found]
        times = [time if time < end else None for time in late]
    low, likely, high = times
    return {
        "period": period,
        "period_start": limits and Moment(limits[0]),
        "period_end": limits and Moment(limits[1]),
        "limit": float(limit),
        "used": None if used is None else float(used),
        "share_used": None if used is None else float(used / limit),
        "rate": rate,
        "rate_hours": hours,
        "exhausted": exhausted,
        "exhausted_at": None if likely is None else Moment(likely),
        "exhausted_low": None if low is None else Moment(low),
        "exhausted_high": None if high is None else Moment(high),
        "warning": _warning(low, likely, exhausted=exhausted),
    }


def _warning(low: float | None, likely: float | None, *, exhausted: bool) -> Json | None:
    if exhausted:
        return {"severity": "alarm", "message": Says(("used up",))}
    if likely is not None:
        return {"severity": "warning", "message": Says(("will last until",))}
    if low is not None:
        return {"severity": "info", "message": Says(("may be used up as early as",))}
    return None


def _variance(pieces: list[Piece], rate: float, hours: float) -> float:
    """What an hour adds to it: 3.2 times what hours would that do not depend on each other."""
    if not rate:
        return 0.0
    if len(pieces) == 1:
        return rate * rate * hours
    squares = [(float(p.dollars) - rate * p.hours) ** 2 / p.hours for p in pieces]
    return 3.2 * math.fsum(squares) / (len(pieces) - 1)


def gone(left: float, rate: float, variance: float, hours: float) -> list[float]:
    """In how many hours a sum is spent: at the earliest, likely, and at the latest (80 %)."""
    if not rate:
        return [math.inf] * 3
    z = NormalDist().inv_cdf(0.9)

    def spread(h: float) -> float:
        return z * math.sqrt(variance * (h + h * h / hours))

    likely = left / rate
    far = likely * 1e6
    low = _first(lambda h: rate * h + spread(h) >= left, 0.0, likely)
    certain = rate * far - spread(far) >= left
    high = _first(lambda h: rate * h - spread(h) >= left, likely, far) if certain else math.inf
    return [low, likely, high]


def _first(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition begins to hold that does at `high`."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def span(period: str, now: float, zone: tzinfo) -> tuple[float, float]:
    """The first quarter of this day or month, and that of the next one."""

    def label(time: float) -> tuple[int, ...]:
        date = datetime.fromtimestamp(time, zone)
        return (date.year, date.month, date.day) if period == "day" else (date.year, date.month)

    start = now // QUARTER * QUARTER
    end = start + QUARTER
    for step in (DAY, HOUR, QUARTER):
        while label(start - step) == label(now):
            start -= step
        while label(end + step - QUARTER) == label(now):
            end += step
    while label(end) == label(now):
        end += QUARTER
    return start, end


# What cost trackers report


def reconciliation(
    executions: Sequence[ExecutionRecorded], reports: Sequence[CostsReported], now: float
) -> list[Json]:
    """Every source, by name."""
    sources = sorted({report.source for report in reports})
    return [
        _source(name, [r for r in reports if r.source == name], executions, now) for name in sources
    ]


class _Total(NamedTuple):
    """The last report of a mission, and the point and minute from which on it is compared."""

    last: tuple[float, int, int | None]
    base: tuple[float, int, int | None] | None
    minute: float


def _source(
    name: str,
    reports: list[CostsReported],
    executions: Sequence[ExecutionRecorded],
    now: float,
) -> Json:
    floor = now // MINUTE * MINUTE - 1439 * MINUTE
    missions = dict.fromkeys(report.mission for report in reports)
    totals = [_total([r for r in reports if r.mission == m], floor) for m in missions]
    compared = [total for total in totals if total.base is not None]
    too_old = sum(total.last[0] < floor for total in totals)
    return {
        "source": name,
        "missions": len(totals),
        "last_report": Moment(max(total.last[0] for total in totals)),
        "reported_actual": float(_dollars(sum(total.last[1] for total in totals))),
        "reported_estimated": _whole([total.last[2] for total in totals]),
        "compared": _comparison(compared, executions) if compared else None,
        "not_compared": {
            "no_beginning": len(totals) - len(compared) - too_old,
            "too_old": too_old,
        },
    }


def _total(reports: list[CostsReported], floor: float) -> _Total:
    since = reports[-1].since
    of_same = []
    for report in reports:
        of_same = [*of_same, report] if of_same and of_same[-1].since == report.since else [report]
    course: list[tuple[Any, ...]] = []
    for report in of_same:
        course = followed([*course, (report.until, report.actual, report.estimate)])
        if len(course) == 1 and since is not None and since < report.until:
            course.insert(0, (since, 0, None if report.estimate is None else 0))
    last = course[-1]
    inside = [point for point in course if point[0] // MINUTE * MINUTE >= floor]
    base = inside[0] if inside else None
    if base is not None and base[0] == since and base[1] == 0:
        return _Total(last, base, base[0] // MINUTE * MINUTE)
    mission_without_beginning = reports[-1].mission is not None and since is None
    if base is None or base is last or mission_without_beginning:
        return _Total(last, None, 0.0)
    return _Total(last, base, (base[0] // MINUTE + 1) * MINUTE)


def _comparison(totals: list[_Total], executions: Sequence[ExecutionRecorded]) -> Json:
    pairs = [(total.base, total) for total in totals if total.base is not None]
    covered = [
        e
        for e in executions
        if any(t.minute <= e.finished_at < (t.last[0] // MINUTE + 1) * MINUTE for t in totals)
    ]
    reported = sum(total.last[1] - base[1] for base, total in pairs)
    estimates = [
        None if base[2] is None or total.last[2] is None else total.last[2] - base[2]
        for base, total in pairs
    ]
    estimated, recorded_estimate = _whole(estimates), sum(e.estimate for e in covered)
    actual = sum(e.cost for e in covered)
    return {
        "since": Moment(min(base[0] for base, _ in pairs)),
        "until": Moment(max(total.last[0] for total in totals)),
        "missions": len(totals),
        "executions": len(covered),
        "reported_actual": float(_dollars(reported)),
        "recorded_actual": float(_dollars(actual)),
        "difference_actual": float(_dollars(reported - actual)),
        "reported_estimated": estimated,
        "recorded_estimated": float(_dollars(recorded_estimate)),
        "difference_estimated": None
        if estimated is None
        else float(_dollars(sum(e or 0 for e in estimates) - recorded_estimate)),
    }


def _whole(values: list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(_dollars(sum(known))) if len(known) == len(values) else None


def _dollars(nanodollars: int) -> Fraction:
    return Fraction(nanodollars, 10**9)
