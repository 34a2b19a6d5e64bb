"""Retention: letting go of what is past its time, a little at a time."""

import math
import sqlite3
import time
from typing import TypeVar

from buddyd import config
from buddyd.domain.windows import HOUR, hour_of, minute_of, rfc3339
from buddyd.storage import tier1, tier2
from buddyd.storage.database import Database, Work
from buddyd.storage.projections import ProjectionStore

T = TypeVar("T")

STEP_SECONDS = 0.002
"""How long a step should hold recording up at most."""
STEP_ROWS = 500
"""Records of a step, at the most; as few as a tenth where the disk is slow."""
STEP_IDS = 2000
STEP_PAGES = 256


class Pace:
    """How much a step takes on: what it can do in STEP_SECONDS, as the steps before tell."""

    def __init__(self) -> None:
        self._share = 0.25

    def of(self, most: int) -> int:
        """How much of what is `most` for a step."""
        return max(1, math.ceil(most * self._share))

    def learn(self, seconds: float) -> None:
        """A step took so long."""
        if seconds > STEP_SECONDS:
            self._share = max(0.1, self._share / 2)
        elif seconds < STEP_SECONDS / 2:
            self._share = min(1.0, self._share * 1.25)


class Retention:
    """Deletes in steps that are each a short transaction, so that recording slips in between."""

    def __init__(
        self,
        database: Database,
        projections: ProjectionStore,
        settings: config.Retention,
        *,
        folders: int,
    ) -> None:
        self._database = database
        self._projections = projections
        self._pace = Pace()
        # How many projections have to have folded a record before it may go.
        self._folders = folders
        self._tier1_minutes = settings.tier1_hours * 60
        self._tier2_hours = settings.tier2_days * 24
        self._dedupe_hours = settings.dedupe_days * 24

    async def tier1_step(self, now: float) -> tuple[int, int]:
        """Delete some of the journal; returns how many records, and how many other entries."""
        folded = await self._projections.folded_by_all(self._folders)
        before = self.tier1_floor(now)

        rows = self._pace.of(STEP_ROWS)

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            events = tier1.delete_events(connection, folded, rows)
            return tier1.delete_expired(connection, before, folded, rows), events

        return await self._paced(work)

    async def tier2(self, now: float) -> int:
        """Delete the hours that Tier 2 no longer keeps; returns how many."""
        first = rfc3339((hour_of(now) - self._tier2_hours + 1) * HOUR)
        return await self._database.write(lambda connection: tier2.delete_before(connection, first))

    async def ids_step(
        self, now: float, after: str | bytes | int
    ) -> tuple[int, str | bytes | None]:
        """Delete some ids after `after` (-1 to begin with).

        Returns how many, and where to go on; None at the end.
        """
        before, most = self._first_id_hour(now), self._pace.of(STEP_IDS)
        return await self._paced(
            lambda connection: tier1.delete_ids(connection, after, before, most)
        )

    async def vacuum_step(self) -> int:
        """Hand some free pages back to the file system; returns how many bytes."""
        pages = self._pace.of(STEP_PAGES)
        begin = time.monotonic()
        freed = await self._database.maintain(lambda connection: _vacuum(connection, pages))
        self._pace.learn(time.monotonic() - begin)
        return freed

    def tier1_floor(self, now: float) -> float:
        """The time (Unix seconds) from which on Tier 1 keeps what finished."""
        return (minute_of(now) - self._tier1_minutes + 1) * 60.0

    async def _paced(self, work: Work[T]) -> T:
        begin = time.monotonic()
        result = await self._database.write(work)
        # What it waited for others counts as well: then others are busy.
        self._pace.learn(time.monotonic() - begin)
        return result

    def _first_id_hour(self, now: float) -> int:
        return hour_of(now) - self._dedupe_hours


def _vacuum(connection: sqlite3.Connection, pages: int) -> int:
    before: int = connection.execute("PRAGMA page_count").fetchone()[0]
    # It frees a page at each step of the statement, and has no rows: fetchall would take one step.
    connection.executescript(f"PRAGMA incremental_vacuum({pages})")
    after: int = connection.execute("PRAGMA page_count").fetchone()[0]
    size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return (before - after) * size
