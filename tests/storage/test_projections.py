"""Checkpoints: what a projection put away is from one moment, and of its own version."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buddyd.domain.projection import Change
from buddyd.errors import StorageRefused
from buddyd.storage.database import Database, open_database
from buddyd.storage.projections import Checkpoint, ProjectionStore
from tests.storage.records import full_disk, rows

pytestmark = pytest.mark.anyio

NOTHING = Checkpoint(0, [])


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "analytics.db") as database:
        yield database


@pytest.fixture
def store(database: Database) -> ProjectionStore:
    return ProjectionStore(database)


def put(key: str | int, state: bytes | None, part: str = "rows") -> Change:
    return Change(part, key, state)


async def test_before_the_first_checkpoint_there_is_nothing(store: ProjectionStore) -> None:
    assert await store.load("registry", 1) == NOTHING


async def test_what_was_put_away_is_taken_up(store: ProjectionStore) -> None:
    await store.save("registry", 1, Checkpoint(7, [put("a", b"1"), put(-5, b"2", "buckets")]))
    await store.save("cost", 1, Checkpoint(3, [put("a", b"other")]))
    assert await store.load("registry", 1) == Checkpoint(
        7, [put(-5, b"2", "buckets"), put("a", b"1")]
    )
    assert await store.load("cost", 1) == Checkpoint(3, [put("a", b"other")])


async def test_a_checkpoint_writes_over_what_changed_and_leaves_the_rest(
    store: ProjectionStore,
) -> None:
    await store.save("registry", 1, Checkpoint(1, [put(k, b"1") for k in "abc"]))
    await store.save("registry", 1, Checkpoint(2, [put("a", None), put("b", b"2")]))
    assert await store.load("registry", 1) == Checkpoint(2, [put("b", b"2"), put("c", b"1")])


async def test_another_version_takes_nothing_up_and_its_checkpoint_removes_the_old(
    database: Database, store: ProjectionStore
) -> None:
    await store.save("registry", 1, Checkpoint(9, [put("old", b"1")]))
    assert await store.load("registry", 2) == NOTHING
    await store.save("registry", 2, Checkpoint(9, [put("new", b"2")]))
    assert await store.load("registry", 2) == Checkpoint(9, [put("new", b"2")])
    assert await rows(database, "SELECT key FROM projection_states") == ["new"]


async def test_the_number_the_states_and_the_tier_are_written_together_or_not_at_all(
    database: Database, store: ProjectionStore
) -> None:
    def tier(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO execution_ids VALUES ('tier', 0)")

    def fault(connection: sqlite3.Connection) -> None:
        tier(connection)
        raise LookupError

    first = Checkpoint(1, [put("a", b"1")])
    await store.save("registry", 1, first)
    with pytest.raises(LookupError):
        await store.save("registry", 1, Checkpoint(2, [put("a", b"2")]), fault)
    async with full_disk(database):
        with pytest.raises(StorageRefused):
            await store.save("registry", 1, Checkpoint(3, [put("a", b"3" * 100_000)]), tier)
    assert await store.load("registry", 1) == first
    assert await rows(database, "SELECT id FROM execution_ids") == []
    await store.save("registry", 1, Checkpoint(4, []), tier)
    assert await store.load("registry", 1) == Checkpoint(4, [put("a", b"1")])
    assert await rows(database, "SELECT id FROM execution_ids") == ["tier"]


async def test_folded_by_all_is_where_the_slowest_is_once_there_are_all(
    store: ProjectionStore,
) -> None:
    assert await store.folded_by_all(2) == 0
    await store.save("registry", 1, Checkpoint(9, []))
    assert await store.folded_by_all(2) == 0
    await store.save("cost", 1, Checkpoint(5, []))
    assert await store.folded_by_all(2) == 5
