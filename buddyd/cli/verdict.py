"""What a check of `buddyctl doctor` comes to."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

State = Literal["ok", "note", "wrong", "unknown"]


class Check(Struct, frozen=True):
    """What was found about one thing. `hint` says how to mend it."""

    name: str
    state: State
    sentence: str
    hint: str | None = None


def is_well(checks: Iterable[Check]) -> bool:
    """Whether nothing is wrong; a note is not."""
    return all(check.state != "wrong" for check in checks)
