"""What msgspec finds wrong, in words that a person can act on.

msgspec says it in the words of Python and of its own: "Expected `float` >= 0.0 - at
`$.executions[3].duration_seconds`". Here that becomes a place and a sentence.
"""

import re
from collections.abc import Iterable
from typing import get_args

import msgspec

from buddyd.domain.answers import EventName, ReportedPeriod, ReportedState
from buddyd.domain.execution import EffortLevel

LONGEST_QUOTE = 64
"""Characters of what a client sent that are sent back to it."""
NO_CONTROL_CHARACTERS = "Expected text without control characters"

_TYPES = {
    "array": "a list",
    "bool": "true or false",
    "bytes": "bytes",
    "ext": "an extension type",
    "float": "a number",
    "int": "a whole number",
    "None": "null",
    "null": "null",
    "object": "an object",
    "str": "text",
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "events": get_args(EventName),
    "human_effort_level": get_args(EffortLevel),
    "jsonrpc": ("2.0",),
    "period": get_args(ReportedPeriod),
    "status": get_args(ReportedState),
}
_TYPE = re.compile(r"`([a-zN]+(?: \| [a-zN]+)*)`")
# Of what is wrong with a name it says: "at `key` in `$.executions[0]`".
_NAME_OF_MEMBER = "key` in `"
_MISSING = re.compile(r"\AObject missing required field `(?P<field>.*)`\Z", re.DOTALL)
_UNKNOWN = re.compile(r"\AObject contains unknown field `(?P<field>.*)`\Z", re.DOTALL)
_BAD_CHOICE = re.compile(r"\AInvalid enum value (?P<value>.*)\Z", re.DOTALL)


def explain(error: msgspec.ValidationError, known: Iterable[str] = ()) -> tuple[str, str]:
    """What is wrong, and where; a missing or unknown member is part of the place.

    `known` are names of members that could have been meant by one that is unknown.
    """
    reason, _, place = str(error).rpartition(" - at `")
    if not reason:
        reason, place = place, "$"
    if place.startswith(_NAME_OF_MEMBER):
        return "Expected text as the name of a member", place[len(_NAME_OF_MEMBER) :].rstrip("`")
    path = place.rstrip("`")
    if missing := _MISSING.match(reason):
        return f"`{missing['field']}` is missing", f"{path}.{missing['field']}"
    if unknown := _UNKNOWN.match(reason):
        field = cut(unknown["field"])
        return f"There is no member `{field}`{_meant(field, known)}", f"{path}.{field}"
    if choice := _BAD_CHOICE.match(reason):
        return f"Expected {_choices(path)}, got {cut(choice['value'])}", path
    if "matching regex" in reason:
        return NO_CONTROL_CHARACTERS, path
    return _in_words(reason), path


def lowered(sentence: str) -> str:
    """A sentence's start inside another one; an acronym or a proper name keeps its capitals."""
    first, _, _ = sentence.partition(" ")
    return sentence[:1].lower() + sentence[1:] if first[1:].islower() else sentence


def ended(sentence: str) -> str:
    """A sentence with its full stop."""
    return sentence if sentence.endswith(("?", ".")) else f"{sentence}."


def cut(text: str) -> str:
    """As much of what a client sent as is sent back to it."""
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"


def _in_words(reason: str) -> str:
    reason = _TYPE.sub(lambda match: _either(match[1].split(" | ")), reason)
    reason = reason.replace(" of length >= ", ", of a length of at least ")
    reason = reason.replace(" of length <= ", ", of a length of at most ")
    reason = (
        reason.replace(" >= ", ", at least ")
        .replace(" > ", ", above ")
        .replace(" <= ", ", at most ")
    )
    return re.sub(r"(\d)\.0\b", r"\1", reason)


def _either(types: list[str]) -> str:
    return _listed([_TYPES.get(name, name) for name in types])


def _choices(path: str) -> str:
    return _listed(_CHOICES.get(path.rpartition(".")[2].partition("[")[0], ("another value",)))


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _meant(field: str, known: Iterable[str]) -> str:
    # Every client loads this module, and few mistype.
    import difflib  # noqa: PLC0415

    close = difflib.get_close_matches(field, sorted(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
