"""The schema: its steps, and what marks a database as ours."""

import sqlite3
from importlib import resources

import structlog

log = structlog.get_logger()

APPLICATION_ID = 0x62756464  # "budd"


def migrations() -> list[tuple[int, str]]:
    """Every step of the schema by its number, in order: files named NNNN_name.sql."""
    folder = resources.files("buddyd.storage") / "migrations"
    files = sorted((file.name, file) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name.partition("_")[0]), file.read_text("utf-8")) for name, file in files]


def schema_version() -> int:
    """The newest schema that this program knows."""
    return migrations()[-1][0]


def migrate(connection: sqlite3.Connection, steps: list[tuple[int, str]] | None = None) -> None:
    """Bring the schema up to date, each step in a transaction of its own.

    A step that fails leaves nothing behind, and raises sqlite3.Error.
    """
    present = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, sql in migrations() if steps is None else steps:
        if number <= present:
            continue
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {sql}; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {number}; COMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        log.info("schema migrated", to_version=number)
