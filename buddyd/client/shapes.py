"""What cost trackers, budget trackers and energy models give, in the shapes they come in.

These are other people's objects and files: each is looked at, and what cannot be understood is
refused with a sentence that says what would be.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from hashlib import blake2s
from typing import Any, get_args

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from buddyd.domain.execution import EffortLevel
from buddyd.protocol.messages import ReportBudget, ReportCosts

Plain = Mapping[Any, Any]

_MISSION = ("mission_id", "mission")
_SINCE = ("since", "started_at", "start_time")
_UNTIL = ("until", "finished_at", "end_time", "timestamp")
_SERVICE = ("service", "service_name", "name")
_LIMIT = ("limit_usd", "limit", "budget_usd", "budget")
_SPENT = ("spent_usd", "spent", "used_usd", "used")
_LEVELS = frozenset(get_args(EffortLevel))
_PERIODS = {
    "day": "day",
    "daily": "day",
    "month": "month",
    "monthly": "month",
    "total": "total",
}


class Misshapen(ValueError):
    """Something has another shape than it should; the sentence says which one would do."""


def costs_in(given: object, source: str) -> Iterator[ReportCosts]:
    """What `get_actual_costs()` gave: a number, the totals, or totals by mission."""
    match given:
        case bool():
            pass
        case int() | float():
            yield ReportCosts(source=source, total_actual_usd=_dollars(given, "the costs"))
            return
        case Mapping() if "total_actual_usd" in given:
            yield costs(given, source)
            return
        case Mapping() if given and all(isinstance(each, Mapping) for each in given.values()):
            for name, one in given.items():
                yield costs({"mission_id": str(name), **one}, source)
            return
        case Sequence() if all(isinstance(each, Mapping) for each in given):
            for totals in given:
                yield costs(totals, source)
            return
    raise Misshapen(
        f"{type(given).__name__} is no cost: it must be a number of dollars, an object with "
        "total_actual_usd, or such objects by mission or in a list"
    )


def costs_of_line(totals: Plain, source: str, line: bytes, written_at: float) -> ReportCosts:
    """What a line of a file says; one that names no mission is one by itself."""
    by_itself = {"mission_id": f"line-{blake2s(line, digest_size=8).hexdigest()}"}
    given = totals if _first(totals, _MISSION) is not None else {**totals, **by_itself}
    report = costs(given, source)
    return report if report.until is not UNSET else replace(report, until=written_at)


def costs(totals: Plain, source: str) -> ReportCosts:
    """One object with totals."""
    mission = _first(totals, _MISSION)
    actual = totals.get("total_actual_usd")
    estimated = totals.get("total_estimated_usd")
    since = _time(totals, _SINCE)
    return ReportCosts(
        source=_name(source, "source"),
        total_actual_usd=_dollars(actual, "total_actual_usd"),
        total_estimated_usd=UNSET
        if estimated is None
        else _dollars(estimated, "total_estimated_usd"),
        mission_id=UNSET if mission is None else _name(mission, "mission_id"),
        since=since,
        until=_time(totals, _UNTIL),
    )


def budgets_in(given: object) -> Iterator[ReportBudget]:
    """What a budget tracker gave: one budget, or budgets by service or in a list."""
    match given:
        case Mapping() if _first(given, _LIMIT) is not None:
            yield budget(given)
            return
        case Mapping() if given and all(isinstance(each, Mapping) for each in given.values()):
            for name, one in given.items():
                yield budget({"service": str(name), **one})
            return
        case Sequence() if not isinstance(given, str) and all(
            isinstance(each, Mapping) for each in given
        ):
            for one in given:
                yield budget(one)
            return
    raise Misshapen(
        f"{type(given).__name__} is no budget: it must be an object with service, limit_usd and "
        "spent_usd, or such objects by service or in a list"
    )


def budget(given: Plain) -> ReportBudget:
    """One budget; where it says no period, it is of a month."""
    service = _first(given, _SERVICE)
    if service is None:
        raise Misshapen("service is missing")
    period = _PERIODS.get(str(given.get("period", "month")).lower())
    if period is None:
        raise Misshapen(f"period is {given['period']!r}, but must be day, month or total")
    return ReportBudget(
        service=_name(service, "service"),
        limit_usd=_dollars(_first(given, _LIMIT), "limit_usd"),
        period=period,  # type: ignore[arg-type]  # One of the values above.
        spent_usd=_dollars(_first(given, _SPENT), "spent_usd"),
    )


class EffortLevels:
    """The levels of a human energy model: an enum, or an object or module that has one."""

    def __init__(self, model: object = None) -> None:
        self._enums = [] if model is None else list(_enums_of(model))
        if model is not None and not self._enums:
            raise Misshapen(
                f"{model!r} is no human energy model: it must be an enum with the members LOW, "
                "MEDIUM and HIGH, or have one"
            )

    def name(self, level: object) -> object:
        """LOW, MEDIUM or HIGH, for what the model calls them; anything else as it is."""
        if isinstance(level, str) and level in _LEVELS:
            return level
        for enum in self._enums:
            for member in enum:
                if level is member or level == member.value:
                    return _level_of(member) or level
        if isinstance(level, Enum):
            return _level_of(level) or level
        return level.upper() if isinstance(level, str) else level


def _enums_of(model: object) -> Iterator[type[Enum]]:
    candidates = [model, *(getattr(model, name) for name in dir(model) if name[:1] != "_")]
    for each in candidates:
        if isinstance(each, type) and issubclass(each, Enum):
            levels = {_level_of(member) for member in each}
            if levels >= _LEVELS:
                yield each


def _level_of(member: Enum) -> str | None:
    """The level that a member's name, or else its value, says."""
    for text in (member.name, member.value):
        word = str(text).upper()
        if word in _LEVELS:
            return word
    return None


def _first(given: Plain, names: Sequence[str]) -> Any:  # noqa: ANN401 - whatever it is
    return next((given[name] for name in names if given.get(name) is not None), None)


def _name(value: object, member: str) -> str:
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Misshapen(f"{member} is {text!r}, which is no text") from None
    return text


def _dollars(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Misshapen(f"{name} is {value!r}, but must be a number of dollars")
    number = _finite(value)
    if number is None or number < 0:
        raise Misshapen(f"{name} is {value!r}, but must not be negative, and must be finite")
    return number


def _finite(value: float) -> float | None:
    """`value` as a float; None where it is none, is infinite, or is an integer beyond any float."""
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _time(given: Plain, names: Sequence[str]) -> float | UnsetType:
    """Unix seconds or an ISO 8601 string, whichever it is."""
    value = _first(given, names)
    if value is None:
        return UNSET
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            pass
    elif isinstance(value, datetime):
        return value.timestamp()
    elif isinstance(value, (int, float)) and (seconds := _finite(value)) is not None:
        return seconds
    raise Misshapen(f"{value!r} is no time: it must be Unix seconds, or as in 2027-01-15T08:00:00Z")
