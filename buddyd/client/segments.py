"""Records that wait on disk until the daemon has them.

The spool is a folder of *segments*, files of text that are read front to back. A segment begins
with a line that says up to which byte its records have been delivered; every further line is one
record, the checksum of which stands before it (CRC-32 in hexadecimal):

    buddyd spool 1 delivered 00000000000000000046
    9ae0daaf {"execution_id":"0193…","task_id":"t-1","agent_id":"scout",…}

- A segment is written and delivered by the process that holds its lock (flock), and removed when
  all of it has been delivered. The kernel lets go of the locks of a process that has died, and
  whoever finds its segments unlocked adopts them. Names grow with time, so that their order is
  the order of the records.
- What was appended survives the death of the process at once, and the loss of power once it has
  been synced. A line that was torn has a wrong checksum, and is passed over.
- The mark of what was delivered moves after the daemon's acknowledgement. A process that dies in
  between sends some records twice, under the same ids, which count once.
- Where no file can be written, a segment is a file in memory, as good as the process that has it.
"""

import contextlib
import fcntl
import os
import time
import zlib
from pathlib import Path
from typing import NamedTuple, Self

SEGMENT_BYTES = 4 * 2**20
"""A segment of this size gets no more records."""

SUFFIX = ".spool"
"""How the name of a segment ends."""

_HEADER = b"buddyd spool 1 delivered %020d\n"
_MARK_AT = _HEADER.index(b"%")
HEADER_BYTES = len(_HEADER % 0)
_CHUNK_BYTES = 2**18
_NEWEST_LINK = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Line(NamedTuple):
    """One record of a segment, and the byte that it ends before."""

    record: bytes | None
    """None where it is damaged."""
    end: int


def line_of(record: bytes) -> bytes:
    """A record as a line of a segment; it has no newline in it."""
    return b"%08x %s\n" % (zlib.crc32(record), record)


def _record_in(line: bytes) -> bytes | None:
    checksum, _, record = line.partition(b" ")
    return record if checksum == b"%08x" % zlib.crc32(record) else None


class Segment:
    """A file of records that this process alone writes and delivers, until it is closed."""

    def __init__(self, descriptor: int, path: Path | None, delivered: int, size: int) -> None:
        self._descriptor = descriptor
        self.path = path
        """None where it is in memory."""
        self.delivered = delivered
        self.size = size
        self.waiting = 0
        """Records that this process put here and that have not been settled yet."""

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new one; raises OSError."""
        while True:
            name = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
            path = folder / name
            descriptor = os.open(path, _NEWEST_LINK | os.O_CREAT | os.O_EXCL, 0o600)
            # Another process may have taken it for what a dead one left, and removed it.
            if _hold(descriptor):
                break
            os.close(descriptor)
        try:
            return cls._begun(descriptor, path)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise

    @classmethod
    def in_memory(cls) -> Self:
        """One that dies with the process."""
        return cls._begun(os.memfd_create("buddyd-spool"), None)

    @classmethod
    def _begun(cls, descriptor: int, path: Path | None) -> Self:
        _write(descriptor, _HEADER % HEADER_BYTES, 0)
        return cls(descriptor, path, HEADER_BYTES, HEADER_BYTES)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """One that a process has left; None where a process still has it, or it is gone."""
        try:
            descriptor = os.open(path, _NEWEST_LINK)
        except OSError:
            return None
        if not _hold(descriptor):
            os.close(descriptor)
            return None
        try:
            return cls(descriptor, path, *_mended(descriptor))
        except OSError:
            os.close(descriptor)
            return None

    @property
    def in_file(self) -> bool:
        """Whether it outlives the process."""
        return self.path is not None

    @property
    def full(self) -> bool:
        """Whether it gets no more records."""
        return self.size >= SEGMENT_BYTES

    @property
    def was_truncated(self) -> bool:
        """Whether another program has made it shorter: what is put into it would follow a hole."""
        return os.fstat(self._descriptor).st_size < self.size

    @property
    def done(self) -> bool:
        """Whether all that is in it has been delivered."""
        return self.delivered >= self.size

    def append(self, lines: bytes) -> None:
        """Add whole lines; raises OSError, and then has none of them."""
        try:
            _write(self._descriptor, lines, self.size)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(lines)

    def sync(self) -> None:
        """Have it survive the loss of power from here on; raises OSError."""
        os.fdatasync(self._descriptor)

    def read(self, most: int) -> list[Line]:
        """The next records to deliver, as many as `most`.

        There are none where it is done, or where another program has truncated the file.
        """
        end = min(self.size, self.delivered + _CHUNK_BYTES)
        data = os.pread(self._descriptor, end - self.delivered, self.delivered)
        lines: list[Line] = []
        start = 0
        while len(lines) < most and (newline := data.find(b"\n", start)) >= 0:
            record = _record_in(data[start:newline])
            start = newline + 1
            lines.append(Line(record, self.delivered + start))
        if data and not lines:
            # No record is as long as that.
            lines.append(Line(None, self.delivered + len(data)))
        return lines

    def mark(self, end: int) -> None:
        """All before this byte has been delivered."""
        self.delivered = end
        # The records are delivered all the same; at worst they are sent again.
        with contextlib.suppress(OSError):
            _write(self._descriptor, b"%020d" % end, _MARK_AT)

    def close(self) -> None:
        """Let go of it: removed where it is done, left to whoever finds it where it is not."""
        if self.done and self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)

    def forget(self) -> None:
        """Close the descriptor in a child after a fork; the parent keeps the lock."""
        os.close(self._descriptor)


def _hold(descriptor: int) -> bool:
    """Lock a segment for this process; False where another has it, or has removed it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _mended(descriptor: int) -> tuple[int, int]:
    """The mark and the size of a segment whose writer may have died while it wrote."""
    size = os.fstat(descriptor).st_size
    if size < HEADER_BYTES:
        _write(descriptor, _HEADER % HEADER_BYTES, 0)
        return HEADER_BYTES, HEADER_BYTES
    if os.pread(descriptor, 1, size - 1) != b"\n":
        # A torn line is ended, so that it is one damaged line and spoils no other.
        with contextlib.suppress(OSError):
            size += os.pwrite(descriptor, b"\n", size)
    mark = os.pread(descriptor, HEADER_BYTES - 1 - _MARK_AT, _MARK_AT)
    delivered = int(mark) if mark.isdigit() else HEADER_BYTES
    ends_a_line = os.pread(descriptor, 1, max(delivered, 1) - 1) == b"\n"
    return (delivered if ends_a_line and delivered >= HEADER_BYTES else HEADER_BYTES), size


def _write(descriptor: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        count = os.pwrite(descriptor, left, offset)
        left, offset = left[count:], offset + count
