"""What is wrong with a configuration, in words that its author can act on."""

import difflib
import re
import reprlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from msgspec import inspect


def explain(tables: dict[str, Any], refusal: str, settings: type[Struct]) -> str:
    """Turn msgspec's refusal of `tables` into a sentence for the author of the file.

    They were to become `settings`.
    """
    # Only a configuration that is wrong pays for the reflection.
    from msgspec import inspect  # noqa: PLC0415

    key = ""
    value: Any = tables
    kind: Any = inspect.type_info(settings)
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", _path_in(refusal)):
        key += f"[{index}]" if index else f".{name}"
        value = value[int(index) if index else name]
        kind = kind.item_type if index else _field(kind, name)
    key = key.lstrip(".")
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        if missing := [f.name for f in kind.fields if f.required and f.name not in value]:
            return f"{key}.{missing[0]} is missing; it must be {_wanted(_field(kind, missing[0]))}."
        return _explain_unknown(key, value, [field.name for field in kind.fields])
    return f"{key} is {reprlib.repr(value)}, but must be {_wanted(kind)}."


def _path_in(refusal: str) -> str:
    match = re.search(r" - at `\$([^`]*)`$", refusal)
    return match[1] if match else ""


def _field(struct: "inspect.StructType", name: str) -> "inspect.Type":
    return next(field.type for field in struct.fields if field.name == name)


def _explain_unknown(section: str, table: dict[str, Any], known: list[str]) -> str:
    unknown = next(key for key in table if key not in known)
    close = difflib.get_close_matches(unknown, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    where = f"The keys of {_header(section)} are" if section else "The top-level keys are"
    dotted = f"{section}.{unknown}" if section else unknown
    return f"{dotted} is not a known key.{hint} {where} {', '.join(known)}."


def _header(section: str) -> str:
    """How a section begins in the file: one of several alike has its number in `section`."""
    name, several, _ = section.partition("[")
    return f"[[{name}]]" if several else f"[{name}]"


def _wanted(kind: "inspect.Type") -> str:
    """What a value of the type `kind` is, in English."""
    from msgspec import inspect  # noqa: PLC0415

    wanted = "text in quotation marks"
    match kind:
        case inspect.IntType():
            wanted = "a whole number" + _bounds(kind)
        case inspect.FloatType():
            wanted = "a number" + _bounds(kind)
        case inspect.LiteralType(values):
            wanted = " or ".join(f'"{value}"' for value in values)
        case inspect.VarTupleType(item):
            wanted = f"a list, each item {_wanted(item)}"
        case inspect.UnionType(types):
            members = (each for each in types if not isinstance(each, inspect.NoneType))
            wanted = " or ".join(_wanted(each) for each in members)
        case inspect.StructType():
            wanted = "a section with keys of its own"
    return wanted


def _bounds(kind: "inspect.IntType | inspect.FloatType") -> str:
    if kind.gt is not None:
        return f" above {_plain(kind.gt)} and at most {_plain(kind.le)}"
    return f" from {_plain(kind.ge)} to {_plain(kind.le)}"


def _plain(bound: float | None) -> str:
    """Without an exponent, and 1.0 as 1, which may stand in the place of an equal bound."""
    return f"{Decimal(str(bound)).normalize():f}"
