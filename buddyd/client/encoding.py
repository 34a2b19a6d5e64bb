"""What an agent told, as a record that the daemon would accept."""

from enum import Enum
from typing import NamedTuple

import msgspec

from buddyd.domain.execution import Execution, new_execution_id
from buddyd.protocol.wording import explain

_NUMBERS = ("duration_seconds", "cost_actual", "cost_estimate", "finished_at")
_NAMES = ("task_id", "agent_id", "tool_name")
_FLAGS = ("success", "browser_used")


class Unfit(Exception):
    """The daemon would refuse it; the text says why."""


def encoded(told: NamedTuple) -> bytes:
    """A record in JSON, with an id; raises Unfit.

    Agents hold numbers in types of their own (numpy's, Decimal), and effort levels in enums:
    where the daemon would not know a type, its plain value counts.
    """
    fields = told._asdict()
    fields["execution_id"] = fields["execution_id"] or new_execution_id()
    fields["human_effort_level"] = effort_level(fields["human_effort_level"])
    try:
        return msgspec.json.encode(_execution(fields))
    except msgspec.ValidationError as error:
        reason, path = explain(error)
        raise Unfit(f"{path.removeprefix('$.')}: {reason}") from None
    except Exception as error:  # Values of an agent's own types may raise anything.
        raise Unfit(f"{type(error).__name__}: {error}") from None


def effort_level(value: object) -> object:
    """`LOW`, `MEDIUM` or `HIGH`, where `value` is a member of an enum or a string that means it."""
    if isinstance(value, Enum):
        value = value.name if value.name.upper() in {"LOW", "MEDIUM", "HIGH"} else value.value
    return value.upper() if isinstance(value, str) else value


def _execution(fields: dict[str, object]) -> Execution:
    try:
        return msgspec.convert(fields, Execution)
    except msgspec.ValidationError:
        return msgspec.convert(_plain(fields), Execution)


def _plain(fields: dict[str, object]) -> dict[str, object]:
    plain = dict(fields)
    for name in _NUMBERS:
        plain[name] = _number(fields[name])
    for name in _NAMES:
        plain[name] = fields[name] if fields[name] is None else str(fields[name])
    for name in _FLAGS:
        plain[name] = _flag(fields[name])
    if hasattr(fields["tokens_used"], "__index__"):
        plain["tokens_used"] = int(fields["tokens_used"])
    return plain


def _number(value: object) -> object:
    return float(value) if hasattr(value, "__float__") else value


def _flag(value: object) -> object:
    # numpy's truth is no `bool`, and 0 and 1 are common; a text is no truth, whatever it says.
    return bool(value) if type(value).__name__ == "bool_" or value in (0, 1) else value
