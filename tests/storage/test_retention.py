"""Retention: what is past its time goes, what a projection still has to fold stays."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buddyd.config import Retention as Settings
from buddyd.domain.windows import rfc3339
from buddyd.storage import retention as module
from buddyd.storage.database import Database
from buddyd.storage.journal import Journal
from buddyd.storage.projections import Checkpoint, ProjectionStore
from buddyd.storage.retention import STEP_SECONDS, Pace, Retention
from tests.storage.records import DAY, HOUR, NOW, execution, opened_journal, records, report, rows

pytestmark = pytest.mark.anyio

LATER = NOW + 2 * DAY


class House:
    """A database with a journal, two projections and retention."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self.database = database
        self.journal = journal
        self.store = ProjectionStore(database)
        self.retention = Retention(database, self.store, Settings(), folders=2)

    async def folded(self, first: int, second: int) -> None:
        """The two projections have put away what they folded up to these entries."""
        await self.store.save("first", 1, Checkpoint(first, []))
        await self.store.save("second", 1, Checkpoint(second, []))

    async def clean(self, now: float) -> tuple[int, int]:
        """All the steps of Tier 1; how many records and how many other entries went."""
        records, others = 0, 0
        while any(step := await self.retention.tier1_step(now)):
            records, others = records + step[0], others + step[1]
        return records, others

    async def seqs(self) -> list[int]:
        return [entry.seq for entry in await self.journal.read(0, 10_000)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened_journal(tmp_path / "analytics.db") as (database, journal):
        yield House(database, journal)


async def test_nothing_goes_before_every_projection_has_put_it_away(house: House) -> None:
    await house.journal.append([records(*(execution() for _ in range(4))), report()], NOW)
    assert await house.clean(LATER) == (0, 0)
    await house.store.save("first", 1, Checkpoint(5, []))
    assert await house.clean(LATER) == (0, 0)
    await house.store.save("second", 1, Checkpoint(3, []))
    assert await house.clean(LATER) == (3, 0)
    assert await house.seqs() == [4, 5]
    await house.folded(5, 5)
    assert await house.clean(LATER) == (1, 1)
    assert await house.seqs() == []


async def test_records_stay_for_their_hours_to_the_minute(house: House) -> None:
    minute = NOW // 60 * 60
    times = [minute - 1439 * 60 - 0.001, minute - 1439 * 60, NOW, NOW + 300]
    await house.journal.append([records(*(execution(finished_at=at) for at in times))], NOW)
    await house.folded(4, 4)
    assert await house.clean(NOW) == (1, 0)
    assert await house.seqs() == [2, 3, 4]
    assert house.retention.tier1_floor(NOW) == minute - 1439 * 60


async def test_heartbeats_that_were_folded_go_at_once(house: House) -> None:
    await house.journal.append([report(), records(execution()), report()], NOW)
    await house.folded(2, 3)
    assert await house.clean(NOW) == (0, 1)
    assert await house.seqs() == [2, 3]


async def test_a_step_is_short(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_ROWS", 3)
    await house.journal.append([records(*(execution() for _ in range(7)))], NOW)
    await house.folded(7, 7)
    steps = [await house.retention.tier1_step(LATER) for _ in range(8)]
    assert sum(records for records, _ in steps) == 7
    assert max(records for records, _ in steps) <= 3


def test_a_step_takes_on_what_it_can_do_in_its_time() -> None:
    pace = Pace()
    for _ in range(20):
        pace.learn(STEP_SECONDS / 10)
    assert pace.of(500) == 500
    pace.learn(2 * STEP_SECONDS)
    assert pace.of(500) == 250
    for _ in range(20):
        pace.learn(2 * STEP_SECONDS)
    assert pace.of(500) == 50
    assert pace.of(1) == 1


async def test_hours_of_tier2_go_after_their_days(house: House) -> None:
    first = (NOW // HOUR - 719) * HOUR
    hours = [rfc3339(at) for at in (first - HOUR, first, NOW // HOUR * HOUR)]
    insert = "INSERT INTO tier2_hourly_summaries VALUES (?, 1, 1, 0, 0.0, 0, 0.0, 0.0, '{}')"
    await house.database.write(lambda c: c.executemany(insert, [(hour,) for hour in hours]))
    assert await house.retention.tier2(NOW) == 1
    assert await rows(house.database, "SELECT hour FROM tier2_hourly_summaries") == hours[1:]
    assert await house.retention.tier2(NOW) == 0


async def test_the_walk_over_the_ids_removes_exactly_the_old_ones(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP_IDS", 4)
    names = [str(uuid.UUID(int=n)) if n % 2 else f"text {n}" for n in range(30)]
    kept = [name for number, name in enumerate(names) if number % 3 == 0]
    old = [execution(name) for name in names if name not in kept]
    await house.journal.append([records(*old)], NOW - 7 * DAY - HOUR)
    await house.journal.append([records(*map(execution, kept))], NOW - 7 * DAY)

    deleted, after = 0, -1
    while after is not None:
        count, after = await house.retention.ids_step(NOW, after)
        deleted += count

    assert deleted == len(old)
    again = await house.journal.append([records(*map(execution, names))], NOW)
    assert (again.receipts[0].accepted, again.receipts[0].duplicates) == (len(old), len(kept))


async def test_an_id_is_known_for_all_of_its_days(house: House) -> None:
    await house.journal.append([records(execution("a"))], NOW)
    last = (NOW // HOUR + 7 * 24) * HOUR + HOUR - 1
    assert await house.retention.ids_step(last, -1) == (0, None)
    assert await house.retention.ids_step(last + 1, -1) == (1, None)
    assert await house.retention.ids_step(last + 1, "a") == (0, None)


async def test_free_pages_are_handed_back_to_the_file_system(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP_PAGES", 10)
    await house.journal.append([records(*(execution(task_id="t" * 250) for _ in range(1000)))], NOW)
    await house.folded(1000, 1000)
    await house.clean(LATER)

    async def checkpointed() -> int:
        await house.database.maintain(
            lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        )
        return house.database.size_on_disk()

    before = await checkpointed()
    freed = [await house.retention.vacuum_step()]
    assert 0 < freed[0] <= 10 * 4096
    while freed[-1]:
        freed.append(await house.retention.vacuum_step())
    assert sum(freed) > 200_000
    assert before - await checkpointed() == sum(freed)
