"""The file beside the database that one daemon holds, and in which it notes how its life ended.

It is no file of SQLite's, so that it may be opened and closed at will.
"""

import fcntl
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from buddyd.errors import AlreadyRunning, StorageBroken
from buddyd.storage.folders import make_folder

_WIDTH = 16


class Past(StrEnum):
    """What became of the database in the life before."""

    UNKNOWN = ""
    """It was never opened here, or by a version that noted nothing."""
    OPEN = "buddyd open"
    """It was in use: whoever finds this, did not end well."""
    CLEAN = "buddyd clean"
    DAMAGED = "buddyd damaged"
    """Damage, or a device that failed, was met."""


class Ownership:
    """The right to a database. `past` is what was noted when it was taken."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._noted = self.past = self._read()

    @property
    def was_ours(self) -> bool:
        """Whether a daemon has had this database before."""
        return self.past is not Past.UNKNOWN

    def note(self, past: Past) -> None:
        """Write it down. Once damage was noted, only a check takes it back."""
        if self._noted is Past.DAMAGED and past is Past.CLEAN:
            return
        self._noted = past
        # Always as long as it was, so that it can be written where the disk is full.
        text = f"{past.value:<{_WIDTH - 1}}\n".encode()
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text)
            os.fsync(self._descriptor)
        except OSError:
            # "Unknown" is checked, "clean" would not be; this needs no room.
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)

    def _read(self) -> Past:
        try:
            return Past(os.pread(self._descriptor, _WIDTH, 0).decode().strip())
        except (OSError, ValueError):
            return Past.UNKNOWN


@contextmanager
def sole_owner(path: Path) -> Iterator[Ownership]:
    """Hold the lock that says that this daemon has the database at `path`.

    Raises AlreadyRunning where another one has it, StorageBroken where there can be no lock, or
    where a lock would not keep others out.
    """
    try:
        make_folder(path.parent)
        _refuse_other_names(path)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = f"The database {path} cannot be opened: {error}."
        raise StorageBroken(reason) from error
    try:
        _lock(lock, path)
        yield Ownership(lock)
    finally:
        os.close(lock)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"Another buddyd has the database {path} open."
        raise AlreadyRunning(message) from None


def _refuse_other_names(path: Path) -> None:
    """Raise StorageBroken where the file has hard links.

    Its lock and its write-ahead log go by its name: whoever opens it by another one finds neither,
    and the two destroy it together. A look at it opens nothing.
    """
    try:
        names = path.stat().st_nlink
    except FileNotFoundError:
        return
    if path.is_file() and names > 1:
        raise StorageBroken(
            f"The database {path} has {names} names (hard links), and would be damaged where it is "
            f"used by another one. `find / -samefile {shlex.quote(str(path))}` lists them: "
            "stop what uses the others and remove them."
        )
