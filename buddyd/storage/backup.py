"""A consistent copy of the database while records keep coming."""

import os
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import anyio.to_thread

from buddyd.errors import InvalidParams, StorageRefused
from buddyd.storage.folders import sync

STEP_PAGES = 64
LONGEST_REST_SECONDS = 0.1


async def write(database: Path, target: Path) -> int:
    """Copy `database` to `target`, which must not exist; returns the size of the copy in bytes.

    The copy appears under its name when it is whole. Raises InvalidParams for a path that cannot
    be written to, StorageRefused where the copy could not be finished.
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
    partial = target.with_name(f".{target.name}.{uuid4().hex}.partial")
    try:
        # Made with narrow rights before SQLite opens it, which keeps them.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise InvalidParams(f"{target} cannot be written: {error.strerror}", "$.path") from error
    try:
        _copy(database, partial)
        # A link, because a rename would overwrite what has come to be there meanwhile.
        os.link(partial, target)
        sync(target.parent)
        return target.stat().st_size
    except FileExistsError as error:
        reason = f"{target} exists already; a backup overwrites nothing"
        raise InvalidParams(reason, "$.path") from error
    except (sqlite3.Error, OSError) as error:
        raise StorageRefused(f"The backup to {target} failed: {error}.", 60.0) from error
    finally:
        partial.unlink()


def _is_beside(database: Path, target: Path) -> bool:
    """Whether SQLite would take `target` for a part of the live database, and remove it."""
    names = {f"{database.name}{suffix}" for suffix in ("-journal", "-wal", "-shm")}
    return target.name in names and target.parent.resolve() == database.parent.resolve()


def _copy(database: Path, copy: Path) -> None:
    source = sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, isolation_level=None)
    destination = sqlite3.connect(copy)
    descriptor = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # An open transaction: the copy is of one moment, and no writer can start it anew.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        source.backup(destination, pages=STEP_PAGES, progress=_Pace(descriptor).step)
        destination.execute("PRAGMA journal_mode = DELETE")
    finally:
        destination.close()
        os.close(descriptor)
        source.close()


class _Pace:
    """Leaves the disk to those who record for as long as it takes it.

    The disk gets the copy bit by bit: one large sync at the end would hold every commit up.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._began = time.monotonic()

    def step(self, _status: int, _remaining: int, _total: int) -> None:
        """Rest after a step."""
        os.fdatasync(self._descriptor)
        time.sleep(min(LONGEST_REST_SECONDS, time.monotonic() - self._began))
        self._began = time.monotonic()
