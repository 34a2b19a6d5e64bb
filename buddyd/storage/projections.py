"""Checkpoints: projections put away together with how far they have folded the journal."""

import sqlite3
from collections.abc import Callable, Sequence

from msgspec import Struct

from buddyd.domain.projection import Change
from buddyd.storage.database import Database
from buddyd.storage.snapshot import snapshot

LOAD_CHECKPOINT = "SELECT version, seq FROM projection_checkpoints WHERE projection = ?"

SAVE_CHECKPOINT = """
INSERT OR REPLACE INTO projection_checkpoints (projection, version, seq) VALUES (?, ?, ?)
"""

LOWEST_CHECKPOINT = "SELECT count(*), min(seq) FROM projection_checkpoints"

LOAD_STATES = """
SELECT part, key, state FROM projection_states WHERE projection = ? ORDER BY part, key
"""

SAVE_STATE = """
INSERT OR REPLACE INTO projection_states (projection, part, key, state) VALUES (?, ?, ?, ?)
"""

DELETE_STATE = "DELETE FROM projection_states WHERE projection = ? AND part = ? AND key = ?"

DELETE_STATES = "DELETE FROM projection_states WHERE projection = ?"

DELETE_CHECKPOINT = "DELETE FROM projection_checkpoints WHERE projection = ?"

Extra = Callable[[sqlite3.Connection], None]
"""What a projection writes elsewhere, in the same transaction."""


class Checkpoint(Struct, frozen=True):
    """A projection as it was put away. Without one, `seq` is 0 and there are no changes."""

    seq: int
    changes: list[Change]


class ProjectionStore:
    """Where projections are put away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, projection: str, version: int) -> Checkpoint:
        """The last checkpoint; what another version left is not taken up."""
        return await self._database.read(lambda connection: _load(connection, projection, version))

    async def save(
        self, projection: str, version: int, checkpoint: Checkpoint, extra: Extra | None = None
    ) -> None:
        """Put away what changed since the checkpoint before."""

        def work(connection: sqlite3.Connection) -> None:
            _save(connection, projection, version, checkpoint)
            if extra is not None:
                extra(connection)

        await self._database.write(work)

    async def discard(self, projection: str) -> None:
        """Forget what was put away of a projection."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(DELETE_STATES, (projection,))
            connection.execute(DELETE_CHECKPOINT, (projection,))

        await self._database.write(work)

    async def folded_by_all(self, projections: int) -> int:
        """The entry up to which each of so many projections has a checkpoint."""
        count, lowest = await self._database.read(
            lambda connection: connection.execute(LOWEST_CHECKPOINT).fetchone()
        )
        return lowest if count >= projections else 0


def _load(connection: sqlite3.Connection, projection: str, version: int) -> Checkpoint:
    # The states must be those of the number that is read beside them.
    with snapshot(connection):
        row = connection.execute(LOAD_CHECKPOINT, (projection,)).fetchone()
        if row is None or row[0] != version:
            return Checkpoint(0, [])
        states = connection.execute(LOAD_STATES, (projection,))
        return Checkpoint(row[1], [Change(*state) for state in states])


def _save(
    connection: sqlite3.Connection, projection: str, version: int, checkpoint: Checkpoint
) -> None:
    row = connection.execute(LOAD_CHECKPOINT, (projection,)).fetchone()
    if row is not None and row[0] != version:
        connection.execute(DELETE_STATES, (projection,))
    kept: list[Sequence[object]] = []
    gone: list[Sequence[object]] = []
    for change in checkpoint.changes:
        key = (projection, change.part, change.key)
        if change.state is None:
            gone.append(key)
        else:
            kept.append((*key, change.state))
    connection.executemany(DELETE_STATE, gone)
    connection.executemany(SAVE_STATE, kept)
    connection.execute(SAVE_CHECKPOINT, (projection, version, checkpoint.seq))
