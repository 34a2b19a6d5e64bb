"""Answers that have nothing to tell, in the shape of those that have."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar, cast

from msgspec import inspect

from buddyd.domain.answers import Answer

A = TypeVar("A", bound=Answer)


def empty(answer: type[A], now: float) -> A:
    """Every member of an answer with nothing in it; its `timestamp` is `now` (Unix seconds)."""
    fields = inspect.type_info(answer).fields  # type: ignore[attr-defined]  # It is a struct's.
    values = {field.name: _nothing(field.type, now) for field in fields}
    if "timestamp" in values:
        moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        values["timestamp"] = moment.replace("+00:00", "Z")
    return answer(**values)


def _nothing(kind: inspect.Type, now: float) -> object:
    if isinstance(kind, inspect.StructType):
        return empty(cast("type[Answer]", kind.cls), now)
    make = _EMPTY.get(type(kind))
    return make() if make else None


_EMPTY: dict[type[inspect.Type], Callable[[], object]] = {
    inspect.ListType: list,
    inspect.DictType: dict,
    inspect.StrType: str,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.BoolType: bool,
}
