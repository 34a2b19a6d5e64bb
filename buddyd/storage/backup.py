"""A consistent copy of the database while records keep coming."""

import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import anyio.from_thread
import anyio.to_thread

from buddyd.errors import InvalidParams, StorageRefused
from buddyd.storage.folders import sync

STEP_PAGES = 64
LONGEST_REST_SECONDS = 0.1
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{32}\.partial", re.DOTALL)


async def write(database: Path, target: Path) -> int:
    """Copy `database` to `target`, which must not exist; returns the size of the copy in bytes.

    The copy appears under its name when it is whole; where it is cancelled, nothing of it is left.
    Raises InvalidParams for a path that cannot be written to, StorageRefused where the copy could
    not be finished.
    """
    if not target.is_absolute():
        raise InvalidParams("Expected an absolute path", "$.path")
    return await anyio.to_thread.run_sync(_write, database, target)


def _write(database: Path, target: Path) -> int:
    if "\0" in str(target):
        raise InvalidParams("Expected a path without a NUL character", "$.path")
    if os.path.lexists(target):
        raise InvalidParams(f"{target} exists already; a backup overwrites nothing", "$.path")
    if _is_beside(database, target):
        reason = f"{target} is a name that SQLite uses for the live database"
        raise InvalidParams(reason, "$.path")
    _remove_stale(target.parent)
    with _partial(target) as (partial, descriptor):
        try:
            _copy(database, partial, descriptor)
            # A link, because a rename would overwrite what has come to be there meanwhile.
            os.link(partial, target)
            sync(target.parent)
            return target.stat().st_size
        except FileExistsError as error:
            reason = f"{target} exists already; a backup overwrites nothing"
            raise InvalidParams(reason, "$.path") from error
        except (sqlite3.Error, OSError) as error:
            raise StorageRefused(f"The backup to {target} failed: {error}.", 60.0) from error


@contextmanager
def _partial(target: Path) -> Iterator[tuple[Path, int]]:
    """A file beside `target` to copy into, and a descriptor of it; it is gone afterwards."""
    partial = target.with_name(f".{target.name}.{uuid4().hex}.partial")
    try:
        # Made with narrow rights before SQLite opens it, which keeps them.
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidParams(f"{target} cannot be written: {error.strerror}", "$.path") from error
    try:
        _lock(descriptor)
        yield partial, descriptor
    finally:
        partial.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock that tells whether the process lives whose partial copy it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_stale(folder: Path) -> None:
    """Remove the partial copies that killed daemons left in a folder, as far as one may."""
    try:
        stale = [file for file in folder.iterdir() if _PARTIAL.fullmatch(file.name)]
    except OSError:
        return
    for file in stale:
        with suppress(OSError):
            _remove_unless_used(file)


def _remove_unless_used(partial: Path) -> None:
    descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if _lock(descriptor):
            partial.unlink()
    finally:
        os.close(descriptor)


def _is_beside(database: Path, target: Path) -> bool:
    """Whether SQLite would take `target` for a part of the live database, and remove it."""
    names = {f"{database.name}{suffix}" for suffix in ("-journal", "-wal", "-shm")}
    return target.name in names and target.parent.resolve() == database.parent.resolve()


def _copy(database: Path, copy: Path, descriptor: int) -> None:
    source = sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, isolation_level=None)
    destination = sqlite3.connect(copy)
    try:
        # An open transaction: the copy is of one moment, and no writer can start it anew.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        source.backup(destination, pages=STEP_PAGES, progress=_Pace(descriptor).step)
        destination.execute("PRAGMA journal_mode = DELETE")
    finally:
        destination.close()
        source.close()


class _Pace:
    """Leaves the disk to those who record for as long as it takes it.

    The disk gets the copy bit by bit: one large sync at the end would hold every commit up.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._began = time.monotonic()

    def step(self, _status: int, _remaining: int, _total: int) -> None:
        """Rest after a step, unless nobody wants the copy any more."""
        anyio.from_thread.check_cancelled()
        os.fdatasync(self._descriptor)
        time.sleep(min(LONGEST_REST_SECONDS, time.monotonic() - self._began))
        self._began = time.monotonic()
