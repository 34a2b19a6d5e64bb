"""The schema that the migrations give is the one that is written down in schema.sql.

After a new migration: `python -m tests.storage.test_schema`, and look at the difference.
"""

import re
import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from buddyd.storage.schema import APPLICATION_ID, migrate, migrations, schema_version

EXPECTED = Path(__file__).with_name("schema.sql")
SCHEMA = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name"


def dump(connection: sqlite3.Connection) -> str:
    """Every table and index in one order, without comments and layout."""
    return "".join(f"{_plain(sql)};\n" for (sql,) in connection.execute(SCHEMA))


def _plain(sql: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", sql)).strip()


def migrated() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def test_all_migrations_give_the_current_schema() -> None:
    assert dump(migrated()) == EXPECTED.read_text()


def test_migrating_again_does_nothing() -> None:
    connection = migrated()
    changes = connection.total_changes
    migrate(connection)
    assert connection.total_changes == changes
    assert connection.execute("PRAGMA user_version").fetchone() == (schema_version(),)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    numbers = [number for number, _ in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_migrations_travel_with_the_package() -> None:
    folder = resources.files("buddyd.storage") / "migrations"
    assert (folder / "0001_initial.sql").is_file()


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    connection.execute("CREATE TABLE agent_events (other TEXT)")
    try:
        migrate(connection)
    except sqlite3.OperationalError:
        connection.close()
    with sqlite3.connect(tmp_path / "a.db") as after:
        assert after.execute("PRAGMA user_version").fetchone() == (0,)
        assert after.execute("SELECT name FROM sqlite_schema").fetchall() == [("agent_events",)]
    after.close()


def test_a_step_that_fails_in_the_middle_leaves_nothing_half_done_and_can_be_taken_again(
    tmp_path: Path,
) -> None:
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    migrate(connection)
    before, newest = dump(connection), schema_version()
    halves = "CREATE TABLE half (x TEXT); INSERT INTO half VALUES ('x'); CREATE TABLE half (x)"
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(connection, [(newest + 1, halves)])
    assert not connection.in_transaction
    assert dump(connection) == before
    assert connection.execute("PRAGMA user_version").fetchone() == (newest,)

    migrate(connection, [(newest + 1, "CREATE TABLE half (x TEXT)")])

    assert connection.execute("PRAGMA user_version").fetchone() == (newest + 1,)
    connection.close()


if __name__ == "__main__":
    EXPECTED.write_text(dump(migrated()))
