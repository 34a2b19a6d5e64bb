"""Projections: state that is a fold over the journal, and can be put away and taken up again."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from buddyd.domain.segment import Segment
from buddyd.domain.windows import Part

S = TypeVar("S", bound=Struct)


class Change(Struct, frozen=True, array_like=True, gc=False):
    """One piece of a projection's state; `state` is None where nothing is left of it."""

    part: str
    key: str | int
    state: bytes | None


class Projection(ABC):
    """State that follows from the journal alone.

    `parts` are its state, by a name that stays; `version` counts up when what they mean changes.
    """

    version: int = 1
    parts: dict[str, Part]

    @abstractmethod
    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""

    @abstractmethod
    def advance(self, now: float) -> None:
        """Let the windows end at `now` (Unix seconds)."""

    def changes(self) -> list[Change]:
        """What has changed since the last call, for putting away."""
        return [
            Change(name, key, state)
            for name, part in self.parts.items()
            for key, state in part.changes()
        ]

    def restore(self, changes: Iterable[Change]) -> None:
        """Take up what was put away, in an empty projection."""
        for change in changes:
            part = self.parts.get(change.part)
            if part is not None and change.state is not None:
                part.restore(change.key, change.state)


class Table(Generic[S]):
    """A row of state for each key.

    With a `capacity`, the row that was touched longest ago gives way to a new one; the rows then
    have a field `seq` that says when that was.
    """

    def __init__(self, row_type: type[S], capacity: float = math.inf) -> None:
        self.rows: dict[str, S] = {}
        self._capacity = capacity
        self._touched: set[str] = set()
        self._decode = msgspec.msgpack.Decoder(row_type).decode
        # Whether they are in the order in which they were touched last. It is looked after once
        # the table is full, and one has to give way.
        self._in_order = True

    def get(self, key: str) -> S | None:
        """The row under `key`, to look at."""
        return self.rows.get(key)

    def touch(self, key: str) -> S | None:
        """The row under `key`, to change."""
        rows = self.rows
        row = rows.get(key)
        if row is not None:
            self._touched.add(key)
            if len(rows) < self._capacity:
                self._in_order = False
            else:
                self._settle_order()
                rows[key] = rows.pop(key)
        return row

    def put(self, key: str, row: S) -> S:
        """Set the row under `key`."""
        if key not in self.rows and len(self.rows) >= self._capacity:
            self._settle_order()
            while len(self.rows) >= self._capacity:
                self.drop(next(iter(self.rows)))
        self.rows[key] = row
        self._touched.add(key)
        return row

    def drop(self, key: str) -> None:
        """Forget the row under `key`."""
        if self.rows.pop(key, None) is not None:
            self._touched.add(key)

    def adopt(self, other: "Table[S]") -> None:
        """Take all rows of another table."""
        for key, row in other.rows.items():
            self.put(key, row)

    def changes(self) -> Iterator[tuple[str | int, bytes | None]]:
        """Every row that was touched; None where it is gone."""
        for key in self._touched:
            row = self.rows.get(key)
            yield key, None if row is None else msgspec.msgpack.encode(row)
        self._touched.clear()

    def restore(self, key: str | int, state: bytes) -> None:
        """Take back one row."""
        self.rows[str(key)] = self._decode(state)
        self._in_order = False

    def _settle_order(self) -> None:
        if not self._in_order:
            by_seq = sorted(self.rows.items(), key=lambda item: item[1].seq)  # type: ignore[attr-defined]
            self.rows.clear()
            self.rows.update(by_seq)
            self._in_order = True
