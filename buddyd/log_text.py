"""Events of the log as text: one line each, whatever their values hold."""

import json
import math
import re
import time
from itertools import islice
from typing import Any

Event = dict[str, Any]

LONGEST_VALUE = 16_384
"""Characters of one value, a traceback among them, that are logged; what is cut is said."""
_ITEMS = 100
_DEPTH = 4
_LARGEST_INTEGER = 2**63
_PLAIN = "\x1b[0m"


def json_line(event: Event) -> bytes:
    """The line that a program reads."""
    event["timestamp"] = _utc(event["timestamp"])
    return json.dumps(_jsonable(event)).encode() + b"\n"


def _utc(seconds: float) -> str:
    """Unix seconds in RFC 3339, to the millisecond."""
    whole, rest = divmod(round(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest:03d}Z"


def _jsonable(value: object, depth: int = _DEPTH) -> object:
    """`value` as JSON can carry it; what it cannot, and what lies too deep, as text."""
    match value:
        case None | bool():
            return value
        case int() if abs(value) < _LARGEST_INTEGER:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case dict() if depth:
            items = islice(value.items(), _ITEMS)
            return {text(key): _jsonable(item, depth - 1) for key, item in items}
        case list() | tuple() if depth:
            return [_jsonable(item, depth - 1) for item in value[:_ITEMS]]
    return text(value)


def console_line(event: Event, colour: str) -> bytes:
    """The line that a person reads: local time, level in `colour`, sentence."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["timestamp"]))
    level = f"{event['level']:<8}"
    if colour:
        level = f"{colour}{level}{_PLAIN}"
    return f"{clock} {level} {sentence(event)}\n".encode()


def sentence(event: Event) -> str:
    """The event and its values on one line, then the traceback, indented."""
    silent = ("timestamp", "level", "event", "exception")
    pairs = (f" {_escape(key)}={_value(event[key])}" for key in event if key not in silent)
    trace = text(event.get("exception", ""))
    lines = "".join(f"\n    {_escape(line)}" for line in trace.split("\n") if line)
    return _escape(text(event["event"])) + "".join(pairs) + lines


def _value(value: object) -> str:
    """A value as one word, or in quotes with what cannot be printed escaped."""
    shown = text(value)
    bare = shown and shown.isprintable() and not re.search(r"[ =\"'\\]", shown)
    return shown if bare else repr(shown)


def _escape(words: str) -> str:
    return words if words.isprintable() else repr(words)[1:-1]


def text(value: object) -> str:
    """A value as text, whatever it is, and not too long."""
    try:
        return _clip(value if isinstance(value, str) else str(value))
    except Exception as failure:
        return f"<{type(value).__qualname__} that cannot be shown: {type(failure).__qualname__}>"


def _clip(words: str) -> str:
    """`words` without its middle where it is too long: a traceback tells most at its end."""
    excess = len(words) - LONGEST_VALUE
    if excess <= 0:
        return words
    head = LONGEST_VALUE // 4
    return f"{words[:head]} [… {excess} characters left out …] {words[head + excess :]}"
