"""Emptying the write-ahead log into the database before it grows large."""

import sqlite3
from pathlib import Path

import structlog

from buddyd.storage.folders import size_of

log = structlog.get_logger()

PAGES = 1000
"""About how many pages the log may hold before it is emptied."""
FEWEST_CHANGES, MOST_CHANGES = 100, 20_000
_TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}


class LogKeeper:
    """Runs the checkpoints of the writing connection.

    SQLite does not tell how full the log is before a checkpoint; how many pages a change takes is
    learned from one to the next.
    """

    def __init__(self, database: Path, limit_bytes: int) -> None:
        self._log = Path(f"{database}-wal")
        self._limit = limit_bytes
        self._changes = 0
        self._next = FEWEST_CHANGES
        self._warned = False

    def keep(self, connection: sqlite3.Connection) -> None:
        """Empty the log where it is time to.

        Where it cannot be done now, it is tried again later; an error of the device is raised as
        sqlite3.Error.
        """
        if connection.total_changes - self._changes < self._next:
            return
        changes = max(1, connection.total_changes - self._changes)
        self._changes = connection.total_changes
        try:
            pages, done = self._empty(connection, "PASSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in _TRANSIENT:
                return
            raise
        if pages == done:
            self._next = min(MOST_CHANGES, max(FEWEST_CHANGES, changes * PAGES // max(1, pages)))
        self._watch(connection, emptied=pages == done)

    def _empty(self, connection: sqlite3.Connection, how: str) -> tuple[int, int]:
        """How many pages the log has, and how many of them are in the database now."""
        _, pages, done = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        return pages, done

    def _watch(self, connection: sqlite3.Connection, *, emptied: bool) -> None:
        """Say when the log outgrows its limit, and cut it short when it may be."""
        size = size_of(self._log)
        if size <= self._limit:
            self._warned = False
        elif not emptied and not self._warned:
            self._warned = True
            log.warning(
                "the write-ahead log grows: another program keeps reading the database",
                log=str(self._log),
                bytes=size,
            )
        elif emptied:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            log.info("the write-ahead log is short again", bytes=size_of(self._log))
