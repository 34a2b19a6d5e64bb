"""The journal of a database: appending to it, reading it from any point on, and its names."""

import sqlite3
from collections.abc import Sequence

from buddyd.domain.journal import JournalEntry
from buddyd.domain.names import NameBook
from buddyd.domain.windows import day_of
from buddyd.storage.appending import Appended, Batch, Submitted
from buddyd.storage.database import Database
from buddyd.storage.replay import read_entries

LOAD_NAMES = "SELECT name, since_seq, last_day FROM counted_names WHERE kind = ?"

RELEASE_NAME = "DELETE FROM counted_names WHERE kind = ? AND name = ?"

LAST_COMMIT = """
SELECT max(recorded_at) FROM (
    SELECT recorded_at FROM (SELECT * FROM tier1_raw_metrics ORDER BY seq DESC LIMIT 1)
    UNION ALL SELECT recorded_at FROM (SELECT * FROM agent_events ORDER BY seq DESC LIMIT 1)
)
"""

LAST_SEQ = """
SELECT max(
    (SELECT coalesce(max(seq), 0) FROM tier1_raw_metrics),
    (SELECT coalesce(max(seq), 0) FROM agent_events),
    (SELECT coalesce(max(seq), 0) FROM projection_checkpoints)
)
"""


class Journal:
    """The journal of one database. `last_seq` is the number of the last committed entry."""

    def __init__(self, database: Database, max_agents: int, max_tools: int) -> None:
        self._database = database
        self._limits = {"agent": max_agents, "tool": max_tools}
        self._books: dict[str, NameBook] = {}
        self.last_seq = 0
        self.last_commit_at: float | None = None

    async def load(self) -> None:
        """Find the journal's end and the names in use, as the database has them."""
        await self._database.write(self._load)

    async def append(self, submissions: Sequence[Submitted], now: float) -> Appended:
        """Commit everything in one transaction; raises StorageRefused where nothing was stored."""
        first, today = self.last_seq + 1, day_of(now)
        drafts = {kind: book.draft(first, today) for kind, book in self._books.items()}
        batch = Batch(self.last_seq, now, drafts)
        appended = await self._database.write(
            lambda connection: batch.write(connection, submissions)
        )
        self.last_seq = batch.seq
        for kind, book in self._books.items():
            book.accept(drafts[kind])
        if appended.count:
            self.last_commit_at = now
        return appended

    async def read(self, after: int, limit: int) -> list[JournalEntry]:
        """Up to `limit` entries that follow entry number `after`, in order."""
        return await self._database.read(lambda connection: read_entries(connection, after, limit))

    async def release_idle_names(self, now: float) -> int:
        """Make room for new names; returns how many were idle."""
        today = day_of(now)
        idle = {kind: book.idle(today) for kind, book in self._books.items()}
        rows = [(kind, name) for kind, names in idle.items() for name in names]
        if rows:
            await self._database.write(
                lambda connection: connection.executemany(RELEASE_NAME, rows)
            )
        for kind, names in idle.items():
            self._books[kind].release(names)
        return len(rows)

    def _load(self, connection: sqlite3.Connection) -> None:
        self.last_seq = connection.execute(LAST_SEQ).fetchone()[0]
        self.last_commit_at = connection.execute(LAST_COMMIT).fetchone()[0]
        self._books = {
            kind: NameBook(
                limit,
                {
                    name: (since, day)
                    for name, since, day in connection.execute(LOAD_NAMES, (kind,))
                },
            )
            for kind, limit in self._limits.items()
        }
