"""The database file: opening it, the one writer, the readers, and every transaction.

No file descriptor of the database may be opened and closed by anything but SQLite while it is
open here: closing it would drop the process's locks on it.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import aiosqlite
import anyio
import anyio.to_thread
import structlog

from buddyd.errors import StorageBroken, StorageRefused
from buddyd.storage import recovery
from buddyd.storage.folders import size_of
from buddyd.storage.log_size import LogKeeper
from buddyd.storage.ownership import Ownership, Past, sole_owner
from buddyd.storage.schema import APPLICATION_ID, migrate, schema_version

log = structlog.get_logger()

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Durability = Literal["full", "normal"]

READERS = 2
WAL_LIMIT_BYTES = 64 * 1024 * 1024
BUSY_MILLISECONDS = 2000
"""How long a lock that another program holds on the database is waited for."""
CLOSE_LIMIT_SECONDS = 20.0
NEEDED_BYTES = 64 * 1024
"""What SQLite needs to open a database that has a write-ahead log."""

_REFUSED = {
    sqlite3.SQLITE_FULL: ("The disk is full, or the database may not grow.", 5.0),
    sqlite3.SQLITE_BUSY: ("Another program holds a lock on the database.", 2.0),
    sqlite3.SQLITE_LOCKED: ("Another program holds a lock on the database.", 2.0),
    sqlite3.SQLITE_READONLY: ("The database cannot be written: it is read-only.", 10.0),
    sqlite3.SQLITE_NOMEM: ("There is not enough memory to write.", 5.0),
}
_BROKEN = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}


class Database:
    """An open database. One connection writes; the others only read."""

    def __init__(
        self,
        path: Path,
        writer: aiosqlite.Connection,
        readers: list[aiosqlite.Connection],
        ownership: Ownership,
    ) -> None:
        self.path = path
        self._writer = writer
        self._readers = readers
        self._next_reader = 0
        self._ownership = ownership
        self._log_keeper = LogKeeper(path, WAL_LIMIT_BYTES)
        self._file = _identity(path)
        self._log_path = Path(f"{path}-wal")
        self._log_file: tuple[int, int] | None = None
        self._broken = False

    async def write(self, work: Work[T]) -> T:
        """Do `work` in one transaction, in the writer's thread; it is committed on return.

        It goes on to its end even where the caller is cancelled. Raises StorageRefused where
        nothing was written for now, StorageBroken where the database cannot be relied on.
        """

        def transaction(connection: sqlite3.Connection) -> T:
            # Before this one, and not after the last: whoever waits for a commit is not kept
            # waiting for more than that.
            self._log_keeper.keep(connection)
            result = _transaction(connection, work)
            self._look_at_files()
            return result

        return await self._run(self._writer, transaction)

    async def maintain(self, work: Work[T]) -> T:
        """Do `work` on the writing connection outside of a transaction."""
        return await self._run(self._writer, work)

    async def read(self, work: Work[T]) -> T:
        """Do `work` on a reading connection, which sees everything that was committed before.

        It goes on to its end where the caller is cancelled, who does not wait for that.
        """
        reader = self._readers[self._next_reader]
        self._next_reader = (self._next_reader + 1) % len(self._readers)
        return await self._run(reader, work, shield=False)

    async def probe(self) -> None:
        """Return when every reading connection has answered; raises what `read` does."""
        for reader in self._readers:
            await self._run(reader, _select_one, shield=False)

    def size_on_disk(self) -> int:
        """What the database and its write-ahead log take, in bytes."""
        return size_of(self.path) + size_of(self._log_path)

    async def close(self) -> None:
        """Close every connection; the last one leaves a single file behind."""
        # The writer last, which puts away the log.
        closed = await _close_all([*self._readers, self._writer])
        if closed and not self._broken:
            self._ownership.note(Past.CLEAN)

    async def _run(
        self, connection: aiosqlite.Connection, work: Work[T], *, shield: bool = True
    ) -> T:
        try:
            return await _run(connection, work, shield=shield)
        except StorageBroken as error:
            self._broken = True
            if error.__cause__ is not None:
                self._ownership.note(Past.DAMAGED)
            raise

    def _look_at_files(self) -> None:
        """After a commit: see that it can be found again."""
        log_file = _identity(self._log_path)
        if self._log_file is None:
            self._log_file = log_file
        if _identity(self.path) != self._file or log_file != self._log_file:
            raise StorageBroken(
                f"The database {self.path} was deleted or replaced while it was in use; "
                "what is written now would be lost."
            )


@asynccontextmanager
async def open_database(path: Path, durability: Durability = "full") -> AsyncIterator[Database]:
    """Open the database at `path`, making or migrating it.

    Raises AlreadyRunning where another daemon has it, StorageBroken where it cannot be used.
    """
    with sole_owner(path) as ownership:
        try:
            await anyio.to_thread.run_sync(recovery.make_sound, path, ownership)
        except (sqlite3.Error, OSError) as error:
            raise _opening_error(path, error) from error
        connections: list[aiosqlite.Connection] = []
        try:
            connections.append(await _connect(path, lambda: _open_writer(path, durability)))
            for _ in range(READERS):
                connections.append(await _connect(path, lambda: _open_reader(path)))  # noqa: PERF401
            ownership.note(Past.OPEN)
            database = Database(path, connections[0], connections[1:], ownership)
            connections = []
        finally:
            # Also where it was cancelled: a thread that is left would keep the process from ending.
            await _close_all(connections)
        try:
            yield database
        finally:
            await database.close()


async def _connect(path: Path, connector: Callable[[], sqlite3.Connection]) -> aiosqlite.Connection:
    connection = aiosqlite.Connection(connector, iter_chunk_size=64)
    try:
        return await connection
    except BaseException as error:
        # Its thread was told to end, and must not find the event loop closed when it does.
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(connection._thread.join)  # noqa: SLF001
        if isinstance(error, (sqlite3.Error, OSError)):
            raise _opening_error(path, error) from error
        raise


async def _close_all(connections: Sequence[aiosqlite.Connection]) -> bool:
    """Close connections in order, even if cancelled; False where one of them hangs."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_LIMIT_SECONDS):
        for connection in connections:
            await connection.close()
        return True
    return False


async def _run(connection: aiosqlite.Connection, work: Work[T], *, shield: bool) -> T:
    # One call for a whole transaction costs one change of thread instead of one a statement;
    # aiosqlite has no public name for running a function in a connection's thread.
    raw = connection._conn  # noqa: SLF001
    try:
        # Cancelling the call does not stop the statement, but loses sight of it: nobody may do so
        # who writes.
        with anyio.CancelScope(shield=shield):
            result: T = await connection._execute(work, raw)  # type: ignore[no-untyped-call]  # noqa: SLF001
    except sqlite3.Error as error:
        raise _translated(error) from error
    return result


def _select_one(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT 1").fetchone()


def _transaction(connection: sqlite3.Connection, work: Work[T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _translated(error: sqlite3.Error) -> Exception:
    """The error that a caller decides by; one that is a fault of this program stays as it is."""
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    # A full disk, met while the index of the write-ahead log grows.
    code = sqlite3.SQLITE_FULL if extended == sqlite3.SQLITE_IOERR_SHMSIZE else extended & 0xFF
    if code in _REFUSED:
        reason, retry_after = _REFUSED[code]
        return StorageRefused(reason, retry_after)
    if code in _BROKEN:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        return StorageBroken(f"The database cannot be relied on any more: {error} ({name}).")
    return error


def _opening_error(path: Path, error: Exception) -> StorageBroken:
    return StorageBroken(f"The database {path} cannot be opened: {error}{_circumstance(path)}.")


def _circumstance(path: Path) -> str:
    """What SQLite does not say: its errors of a full disk have many names."""
    try:
        place = os.statvfs(path.parent)
    except OSError:
        return ""
    if place.f_flag & os.ST_RDONLY:
        return "; the file system is read-only"
    if place.f_bavail * place.f_frsize < NEEDED_BYTES:
        return "; the disk is full"
    return ""


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is that the path leads to; a look at it opens nothing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_writer(path: Path, durability: Durability) -> sqlite3.Connection:
    if path.exists():
        _refuse_foreign(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        # Before the first table, and before WAL, or it stays off without a word.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {durability.upper()}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        # A checkpoint of SQLite's own accord would keep to itself that a sync failed.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA temp_store = MEMORY")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _open_reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    connection.execute("PRAGMA query_only = ON")
    return connection


def _refuse_foreign(path: Path) -> None:
    """Raise for a database that is not ours or is newer than this program, leaving it as it is."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    finally:
        connection.close()
    if tables and application != APPLICATION_ID:
        raise StorageBroken(
            f"The file {path} is a database of another program; it was not touched."
        )
    if version > schema_version():
        raise StorageBroken(
            f"The database {path} is from a newer buddyd (schema {version}, this one knows "
            f"{schema_version()}); it was not touched."
        )
