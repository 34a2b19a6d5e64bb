"""Under which name an agent or a tool is counted.

The number of names is bounded: the ones beyond it are counted together, so that memory stays
bounded whatever clients send.
"""

from collections.abc import Iterable

OTHER = "~other"
"""What the names beyond the limit are counted under."""
IDLE_DAYS = 31
"""A name that was not used for this long has left every window, and makes room."""
_SEPARATOR = "\x1f"


class NameBook:
    """The names of one kind that are counted under themselves, first come first served.

    Each has the number of the entry from which on it counts, and the day of its last use.
    """

    def __init__(self, limit: int, names: dict[str, tuple[int, int]] | None = None) -> None:
        self.limit = limit
        self.names = names or {}

    def draft(self, seq: int, today: int) -> "NameDraft":
        """What a transaction whose first entry is `seq` changes, once `accept` has it."""
        return NameDraft(self, seq, today)

    def accept(self, draft: "NameDraft") -> None:
        """The transaction was committed."""
        self.names |= draft.changed

    def idle(self, today: int) -> list[str]:
        """The names that make room."""
        return [name for name, (_, day) in self.names.items() if day < today - IDLE_DAYS]

    def release(self, names: list[str]) -> None:
        """These make room."""
        for name in names:
            self.names.pop(name, None)


class NameDraft:
    """Names as one transaction finds and changes them."""

    def __init__(self, book: NameBook, seq: int, today: int) -> None:
        self._book = book
        self._since = (seq, today)
        self._counted: dict[str, str] = {}
        self.changed: dict[str, tuple[int, int]] = {}
        """What to write: for each name, from which entry on it counts, and its last day."""
        self._new = 0

    def counted(self, names: Iterable[str]) -> list[str]:
        """What each of the names counts under."""
        counted = self._counted
        return [counted.get(name) or self._look_up(name) for name in names]

    def _look_up(self, name: str) -> str:
        seq, today = self._since
        known = self._book.names.get(name)
        if known is None:
            if name == OTHER or len(self._book.names) + self._new >= self._book.limit:
                self._counted[name] = OTHER
                return OTHER
            self._new += 1
            self.changed[name] = (seq, today)
        elif known[1] != today:
            self.changed[name] = (known[0], today)
        self._counted[name] = name
        return name


def admit(known: list[str], name: str, most: int) -> str:
    """The name to count under where only the first `most` are told apart; adds to `known`."""
    if name in known:
        return name
    if len(known) >= most:
        return OTHER
    known.append(name)
    return name


def join(first: str, second: str) -> str:
    """Two names as one key; a control character, which no name holds, stands between them."""
    return f"{first}{_SEPARATOR}{second}"


def split(key: str) -> tuple[str, str]:
    """The two names of a key."""
    first, _, second = key.partition(_SEPARATOR)
    return first, second
