"""The spool of one process: where its records go, and which is delivered next.

The folder is the user's own (0700), one for each socket, shared by all processes, and bounded in
bytes. When it is full, new records are turned away: what was taken on is never thrown away for
something newer. `segments.py` describes the files.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from buddyd.client.segments import SEGMENT_BYTES, SUFFIX, Segment, line_of

MOST_BYTES = 256 * 2**20
"""What the spool of a socket may take on disk unless it is told otherwise."""

_MOST_MEMORY_BYTES = 32 * 2**20
_MEASURE_SECONDS = 1.0
_WORN_BYTES = 2**16
"""What an idle process may leave lying there although it has been delivered."""


class SpoolFull(Exception):
    """There is no room for more records; nothing of these was kept."""


class Spool:
    """The segments that this process has: its own, and those that it adopted.

    Any thread may `put`; one alone delivers. `complain` is told what is wrong with the disk.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int = MOST_BYTES,
        complain: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        self._complain = complain
        self._lock = threading.Lock()
        self._own: deque[Segment] = deque()
        self._adopted: deque[Segment] = deque()
        self.taken = self.settled = 0
        """Records that were put here so far, and those of them that need no further care."""
        self._used = 0
        self._measured_at = -_MEASURE_SECONDS

    @property
    def waiting(self) -> int:
        """How many of the records that were put here have not been delivered yet."""
        return self.taken - self.settled

    def put(self, lines: list[bytes], *, sync: bool = False) -> bool:
        """Keep these records; raises SpoolFull. Whether the loss of power could not undo it.

        Without `sync` the answer is False.
        """
        data = b"".join(lines)
        with self._lock:
            try:
                segment = self._append(data)
                safe = sync and self._synced(segment)
            except OSError as error:
                self._complain(f"Records are kept in memory: the spool {self.folder} says {error}")
                segment, safe = self._append_to_memory(data), False
            segment.waiting += len(lines)
            self.taken += len(lines)
        return safe

    def adopt(self) -> None:
        """Take over what processes that have died have left."""
        self._adopted.extend(adopted(self.folder))

    def oldest(self) -> Segment | None:
        """The segment to deliver from next; what was adopted is older."""
        with self._lock:
            segments = (*self._adopted, *self._own)
        return next((segment for segment in segments if not segment.done), None)

    def settle(self, segment: Segment, records: int) -> None:
        """So many more records of `segment` need no further care."""
        with self._lock:
            if segment in self._adopted:
                if segment.done:
                    self._adopted.remove(segment)
                    segment.close()
                return
            if segment.done:
                # Of a segment that another program has damaged, not all can be told apart.
                records = segment.waiting
            segment.waiting -= records
            self.settled += records
            # The last one is where the next record goes, until it is worn.
            if segment.done and (segment.size >= _WORN_BYTES or segment is not self._own[-1]):
                self._own.remove(segment)
                segment.close()

    def close(self) -> None:
        """Let go of all segments; what has not been delivered is left to other processes."""
        with self._lock:
            for segment in (*self._adopted, *self._own):
                segment.close()
            self._adopted.clear()
            self._own.clear()
            self.settled = self.taken

    def forget(self) -> None:
        """In a child after a fork: they are its parent's."""
        for segment in (*self._adopted, *self._own):
            segment.forget()

    def _append(self, data: bytes) -> Segment:
        self._make_room(len(data))
        last = self._own[-1] if self._own else None
        if last is None or last.full or not last.in_file or last.was_truncated:
            make_folder(self.folder)
            last = Segment.create(self.folder)
            self._own.append(last)
        last.append(data)
        return last

    def _append_to_memory(self, data: bytes) -> Segment:
        last = self._own[-1] if self._own else None
        in_memory = sum(segment.size for segment in self._own if not segment.in_file)
        if in_memory + len(data) > _MOST_MEMORY_BYTES:
            raise SpoolFull
        if last is None or last.full or last.in_file:
            last = Segment.in_memory()
            self._own.append(last)
        last.append(data)
        return last

    def _synced(self, segment: Segment) -> bool:
        segment.sync()
        sync_folder(self.folder)
        return True

    def _make_room(self, count: int) -> None:
        now = time.monotonic()
        if now - self._measured_at >= _MEASURE_SECONDS:
            self._used, self._measured_at = used_bytes(self.folder), now
        if self._used + count > self._most_bytes:
            raise SpoolFull
        self._used += count


def append_once(folder: Path, record: bytes, most_bytes: int = MOST_BYTES) -> None:
    """Put one record away for another process to deliver; raises OSError or SpoolFull."""
    make_folder(folder)
    if used_bytes(folder) + len(record) > most_bytes:
        raise SpoolFull
    segment = _with_room(folder) or Segment.create(folder)
    try:
        segment.append(line_of(record))
    finally:
        segment.close()


def adopted(folder: Path) -> list[Segment]:
    """The segments that nobody has any more, oldest first, now this process's own."""
    found = [Segment.adopt(path) for path in _paths(folder)]
    return [segment for segment in found if segment is not None]


def used_bytes(folder: Path) -> int:
    """What all processes together have in the spool."""
    total = 0
    for path in _paths(folder):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def make_folder(folder: Path) -> None:
    """Create the spool's folder for the own user alone; raises OSError."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in it survive the loss of power; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _with_room(folder: Path) -> Segment | None:
    """The newest segment, where nobody has it and there is room in it."""
    for path in _paths(folder)[-1:]:
        with contextlib.suppress(OSError):
            if path.stat().st_size < SEGMENT_BYTES:
                return Segment.adopt(path)
    return None


def _paths(folder: Path) -> list[Path]:
    try:
        names = [name for name in os.listdir(folder) if name.endswith(SUFFIX)]  # noqa: PTH208 -- names
    except OSError:
        return []
    return [folder / name for name in sorted(names)]
