"""The database file: who may open it, what is left alone, and every transaction."""

import os
import sqlite3
import stat
import threading
from pathlib import Path

import anyio
import pytest

from buddyd.errors import AlreadyRunning, StorageBroken, StorageRefused
from buddyd.storage import database as module
from buddyd.storage.database import open_database
from buddyd.storage.schema import APPLICATION_ID, schema_version
from tests.actors.house import until
from tests.storage.records import by_another_program, content, full_disk, rows

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.db"


def count_of_ids(connection: sqlite3.Connection) -> int:
    return connection.execute("SELECT count(*) FROM execution_ids").fetchone()[0]


def connection_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "connection" in thread.name]


def insert_id(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("INSERT INTO execution_ids VALUES (?, 0)", (name,))


# Opening


async def test_a_new_database_says_what_it_is(path: Path) -> None:
    async with open_database(path):
        pass
    with by_another_program(path) as connection:
        pragmas = ("application_id", "user_version", "auto_vacuum", "journal_mode")
        values = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert values == [APPLICATION_ID, schema_version(), 2, "wal"]


async def test_the_folder_is_made_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "state" / "analytics.db"
    async with open_database(path):
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_opening_it_again_changes_nothing(path: Path) -> None:
    async with open_database(path):
        pass
    schema = "SELECT name, rootpage, sql FROM sqlite_schema"
    with by_another_program(path) as connection:
        before = connection.execute(schema).fetchall()
    async with open_database(path) as database:
        assert await rows(database, schema) == before
        assert await rows(database, "PRAGMA user_version") == [schema_version()]


async def test_closing_leaves_a_single_file_and_the_lock(path: Path) -> None:
    async with open_database(path) as database:
        await database.write(lambda connection: insert_id(connection, "a"))
        assert {file.name for file in path.parent.iterdir()} > {"analytics.db-wal"}
    assert {file.name for file in path.parent.iterdir()} == {"analytics.db", "analytics.db.lock"}


async def test_a_log_that_was_deleted_is_noticed_with_the_next_transaction(path: Path) -> None:
    async with open_database(path) as database:
        for number in range(300):
            await database.write(
                lambda connection, number=number: insert_id(connection, f"{number}")  # type: ignore[misc]
            )
        Path(f"{path}-wal").unlink()  # noqa: ASYNC240 - it takes no time
        with pytest.raises(StorageBroken, match="deleted or replaced"):
            await database.write(lambda connection: insert_id(connection, "lost"))


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
async def test_durability_is_what_sqlite_calls_synchronous(
    path: Path, durability: module.Durability, level: int
) -> None:
    async with open_database(path, durability) as database:
        found = await database.maintain(lambda c: c.execute("PRAGMA synchronous").fetchone()[0])
        assert found == level


async def test_a_path_may_hold_what_a_uri_may_not(tmp_path: Path) -> None:
    path = tmp_path / "100% of? #it.db"
    async with open_database(path) as database:
        await database.write(lambda connection: insert_id(connection, "a"))
        assert await rows(database, "SELECT id FROM execution_ids") == ["a"]
    assert path.exists()


async def test_a_second_daemon_is_told_that_there_is_one(path: Path) -> None:
    async with open_database(path):
        with pytest.raises(AlreadyRunning, match=str(path)):
            async with open_database(path):
                pass
    async with open_database(path):
        pass


async def test_a_newer_schema_is_refused_and_not_touched(path: Path) -> None:
    async with open_database(path):
        pass
    with by_another_program(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema_version() + 1}")
    before = content(path)
    with pytest.raises(StorageBroken, match=r"newer buddyd .* not touched"):
        async with open_database(path):
            pass
    assert content(path) == before


async def test_a_database_of_another_program_is_refused_and_not_touched(path: Path) -> None:
    with by_another_program(path) as connection:
        connection.execute("CREATE TABLE letters (sender TEXT)")
    before = content(path)
    with pytest.raises(StorageBroken, match="another program; it was not touched"):
        async with open_database(path):
            pass
    assert content(path) == before


@pytest.fixture
def diary(path: Path) -> Path:
    """A file that is no database, in its place."""
    path.write_bytes(b"Dear diary, " * 500)
    return path


async def test_a_file_that_is_no_database_is_refused_and_not_touched(diary: Path) -> None:
    path = diary
    with pytest.raises(StorageBroken, match="not a database"):
        async with open_database(path):
            pass
    assert content(path) == b"Dear diary, " * 500


async def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageBroken, match="cannot be opened"):
        async with open_database(tmp_path):
            pass


async def test_a_place_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(StorageBroken, match="cannot be opened"):
        async with open_database(Path("/proc/nowhere/analytics.db")):
            pass


def test_a_start_that_failed_leaves_nobody_locked_out_and_no_thread_behind(diary: Path) -> None:
    async def begin() -> None:
        async with open_database(diary):
            pass

    for _ in range(20):
        with pytest.raises(StorageBroken):
            anyio.run(begin)
    assert connection_threads() == []
    diary.unlink()
    anyio.run(begin)


# Transactions


async def test_a_start_that_is_cancelled_leaves_no_thread_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_reader, opened = module._open_reader, 0
    cancelled = threading.Event()

    def slowly(path: Path) -> sqlite3.Connection:
        nonlocal opened
        opened += 1
        assert opened < 2 or cancelled.wait(20)
        return open_reader(path)

    monkeypatch.setattr(module, "_open_reader", slowly)
    async with anyio.create_task_group() as tasks:

        async def start() -> None:
            async with open_database(path):
                pass

        tasks.start_soon(start)
        await until(lambda: opened == 2)
        tasks.cancel_scope.cancel()
        cancelled.set()
    with anyio.fail_after(5):
        await until(lambda: not connection_threads())


async def test_what_a_transaction_wrote_is_there_on_return_for_every_reader(path: Path) -> None:
    async with open_database(path) as database:
        await database.write(lambda connection: insert_id(connection, "a"))
        assert [await database.read(count_of_ids) for _ in range(3)] == [1, 1, 1]
        with by_another_program(path) as connection:
            assert count_of_ids(connection) == 1


async def test_work_that_fails_leaves_nothing_behind(path: Path) -> None:
    def work(connection: sqlite3.Connection) -> None:
        insert_id(connection, "a")
        raise LookupError("halfway")

    async with open_database(path) as database:
        with pytest.raises(LookupError, match="halfway"):
            await database.write(work)
        assert await database.read(count_of_ids) == 0
        await database.write(lambda connection: insert_id(connection, "b"))
        assert await rows(database, "SELECT id FROM execution_ids") == ["b"]


async def test_readers_cannot_write(path: Path) -> None:
    async with open_database(path) as database:
        with pytest.raises(StorageRefused):
            await database.read(lambda connection: insert_id(connection, "a"))


async def test_a_fault_of_the_program_stays_what_it_is(path: Path) -> None:
    async with open_database(path) as database:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await database.write(lambda connection: connection.execute("DELETE FROM nowhere"))
        await database.write(lambda connection: insert_id(connection, "a"))
        with pytest.raises(sqlite3.IntegrityError):
            await database.write(lambda connection: insert_id(connection, "a"))


async def test_a_full_disk_refuses_and_is_forgiven(path: Path) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        for number in range(2000):
            insert_id(connection, f"{number:060}")

    async with open_database(path) as database:
        async with full_disk(database):
            with pytest.raises(StorageRefused, match="disk is full") as caught:
                await database.write(fill)
            assert caught.value.retry_after_seconds > 0
            assert await database.read(count_of_ids) == 0
        await database.write(fill)
        assert await database.read(count_of_ids) == 2000


async def test_a_lock_of_another_program_refuses_after_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_MILLISECONDS", 10)
    async with open_database(path) as database:
        with by_another_program(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageRefused, match="Another program holds a lock"):
                await database.write(lambda connection: insert_id(connection, "a"))
            assert await database.read(count_of_ids) == 0
            connection.execute("ROLLBACK")
        await database.write(lambda connection: insert_id(connection, "a"))


async def test_damage_is_told_from_a_fault_of_the_program(path: Path) -> None:
    async with open_database(path) as database:
        await database.write(lambda connection: insert_id(connection, "a" * 60))
    page = 4096
    with path.open("r+b") as file:
        file.seek(page)
        file.write(b"\xff" * (os.fstat(file.fileno()).st_size - page))
    async with open_database(path) as database:
        with pytest.raises(StorageBroken, match=r"SQLITE_CORRUPT"):
            await database.read(count_of_ids)


async def test_a_cancelled_write_goes_on_to_its_end(path: Path) -> None:
    async with open_database(path) as database:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await database.write(lambda connection: insert_id(connection, "a"))
        assert await database.read(count_of_ids) == 1
        # No transaction is left open.
        await database.write(lambda connection: insert_id(connection, "b"))


async def test_the_size_on_disk_counts_the_write_ahead_log(path: Path) -> None:
    async with open_database(path) as database:
        before = database.size_on_disk()
        await database.write(lambda connection: insert_id(connection, "a"))
        assert database.size_on_disk() > before
        assert before > 0
