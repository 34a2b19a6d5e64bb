"""The database file: opening it, the one writer, the readers, and every transaction.

No file descriptor of the database may be opened and closed by anything but SQLite while it is
open here: closing it would drop the process's locks on it.
"""

import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import aiosqlite
import anyio
import anyio.to_thread
import structlog

from buddyd.errors import AlreadyRunning, StorageBroken, StorageRefused

log = structlog.get_logger()

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Durability = Literal["full", "normal"]

APPLICATION_ID = 0x62756464  # "budd"
READERS = 2
WAL_LIMIT_BYTES = 64 * 1024 * 1024
BUSY_MILLISECONDS = 5000
"""How long a lock that another program holds on the database is waited for."""
CLOSE_LIMIT_SECONDS = 20.0

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
        self, path: Path, writer: aiosqlite.Connection, readers: list[aiosqlite.Connection]
    ) -> None:
        self.path = path
        self._writer = writer
        self._readers = readers
        self._next_reader = 0

    async def write(self, work: Work[T]) -> T:
        """Do `work` in one transaction, in the writer's thread; it is committed on return.

        It goes on to its end even where the caller is cancelled. Raises StorageRefused where
        nothing was written for now, StorageBroken where the database cannot be relied on.
        """
        return await _run(self._writer, lambda connection: _transaction(connection, work))

    async def maintain(self, work: Work[T]) -> T:
        """Do `work` on the writing connection outside of a transaction."""
        return await _run(self._writer, work)

    async def read(self, work: Work[T]) -> T:
        """Do `work` on a reading connection, which sees everything that was committed before."""
        reader = self._readers[self._next_reader]
        self._next_reader = (self._next_reader + 1) % len(self._readers)
        return await _run(reader, work)

    def size_on_disk(self) -> int:
        """What the database and its write-ahead log take, in bytes."""
        files = (self.path, Path(f"{self.path}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    async def close(self) -> None:
        """Close every connection; the last one leaves a single file behind."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_LIMIT_SECONDS):
            for reader in self._readers:
                await reader.close()
            await self._writer.close()


@asynccontextmanager
async def open_database(path: Path, durability: Durability = "full") -> AsyncIterator[Database]:
    """Open the database at `path`, making or migrating it.

    Raises AlreadyRunning where another daemon has it, StorageBroken where it cannot be used.
    """
    with _sole_owner(path):
        connections: list[aiosqlite.Connection] = []
        try:
            connections.append(await _connect(path, lambda: _open_writer(path, durability)))
            for _ in range(READERS):
                connections.append(await _connect(path, lambda: _open_reader(path)))  # noqa: PERF401
            database = Database(path, connections[0], connections[1:])
            connections = []
        finally:
            for connection in connections:
                await connection.close()
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


async def _run(connection: aiosqlite.Connection, work: Work[T]) -> T:
    # One call for a whole transaction costs one change of thread instead of one a statement;
    # aiosqlite has no public name for running a function in a connection's thread.
    raw = connection._conn  # noqa: SLF001
    try:
        # Cancelling the call would not stop the statement, only lose sight of it.
        with anyio.CancelScope(shield=True):
            result: T = await connection._execute(work, raw)  # type: ignore[no-untyped-call]  # noqa: SLF001
    except sqlite3.Error as error:
        raise _translated(error) from error
    return result


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
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _REFUSED:
        reason, retry_after = _REFUSED[code]
        return StorageRefused(reason, retry_after)
    if code in _BROKEN:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        return StorageBroken(f"The database cannot be relied on any more: {error} ({name}).")
    return error


def _opening_error(path: Path, error: Exception) -> StorageBroken:
    return StorageBroken(f"The database {path} cannot be opened: {error}.")


@contextmanager
def _sole_owner(path: Path) -> Iterator[None]:
    """Hold the lock that says that this daemon has the database; it is a file of its own."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _opening_error(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        message = f"Another buddyd has the database {path} open."
        raise AlreadyRunning(message) from None
    try:
        yield
    finally:
        os.close(lock)


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


def migrations() -> list[tuple[int, str]]:
    """Every step of the schema by its number, in order: files named NNNN_name.sql."""
    folder = resources.files("buddyd.storage") / "migrations"
    files = sorted((file.name, file) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name.partition("_")[0]), file.read_text("utf-8")) for name, file in files]


def schema_version() -> int:
    """The newest schema that this program knows."""
    return migrations()[-1][0]


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, each step in a transaction of its own."""
    present = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, sql in migrations():
        if number <= present:
            continue
        connection.executescript(
            f"BEGIN IMMEDIATE; {sql}; PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {number}; COMMIT;"
        )
        log.info("schema migrated", to_version=number)
