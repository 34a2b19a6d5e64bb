"""Following a file of lines that another program writes: what is new in it, whole lines only."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHUNK = 1 << 16
LONGEST_LINE = 1 << 20
"""Bytes; what is longer is not held in memory, and stands as an empty line that is `cut`."""
_REMEMBERED = 64


class Line(NamedTuple):
    """A line, and its number in the file that was there when it was read."""

    number: int
    text: bytes
    cut: bool = False
    """It was longer than any line of use."""


class TailOfFile:
    """Gives each line once, from the first one on.

    A line that is still being written is given when its end is. A file that was truncated is read
    anew, and so is one that took the place of another, of which the rest is given first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._begin()

    @property
    def modified_at(self) -> float:
        """When the file that is being read was written to last; it need not have its name still."""
        assert self._file is not None  # noqa: S101 - lines are being read from it
        return os.fstat(self._file).st_mtime

    def new_lines(self) -> Iterator[Line]:
        """The lines that came since the last call. Raises OSError; a missing file has none."""
        if self._file is not None:
            if not self._goes_on():
                self._begin()
            yield from self._read(self._file)
            if not self._was_replaced():
                return
            # Nobody writes to the old one any more: what has no end is all there will be.
            yield from self._rest()
            self.close()
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        yield from self._read(self._file)

    def close(self) -> None:
        """Let go of the file; the next call begins with its first line."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._begin()

    def _begin(self) -> None:
        self._offset = self._number = 0
        self._pending = self._before = b""
        self._too_long = False

    def _goes_on(self) -> bool:
        """Whether what was read last is still where it was."""
        assert self._file is not None  # noqa: S101 - the caller has looked
        begin = self._offset - len(self._before)
        return os.pread(self._file, len(self._before), begin) == self._before

    def _was_replaced(self) -> bool:
        assert self._file is not None  # noqa: S101 - the caller has looked
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _read(self, file: int) -> Iterator[Line]:
        # By place, not from where the descriptor stands: a forked process has the same one.
        while chunk := os.pread(file, CHUNK, self._offset):
            self._offset += len(chunk)
            self._before = (self._before + chunk)[-_REMEMBERED:]
            *ended, last = chunk.split(b"\n")
            for piece in ended:
                self._append(piece)
                yield self._ended()
            self._append(last)

    def _rest(self) -> Iterator[Line]:
        if self._pending or self._too_long:
            yield self._ended()

    def _append(self, piece: bytes) -> None:
        self._pending += piece
        if len(self._pending) > LONGEST_LINE:
            self._pending, self._too_long = b"", True

    def _ended(self) -> Line:
        self._number += 1
        line = Line(self._number, b"" if self._too_long else self._pending, self._too_long)
        self._pending, self._too_long = b"", False
        return line
