"""The collector: what waits is committed together, and "ok" means done."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from buddyd.actors import collector
from buddyd.actors.collector import Collector
from buddyd.domain.answers import Done, Receipt
from buddyd.errors import StorageRefused, Unavailable
from buddyd.runtime.channels import Envelope, ask
from buddyd.storage.appending import Appended, Submitted
from tests.actors.house import House, at_work, statements, until
from tests.storage.records import (
    NOW,
    by_another_program,
    execution,
    full_disk,
    records,
    report,
    start,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.db"


async def test_what_waits_is_committed_in_one_transaction_and_answered_one_by_one(
    path: Path,
) -> None:
    heard: list[object] = []
    async with at_work(path) as house:
        seen = await statements(house.database)
        for submitted in (
            records(execution("a"), execution("b")),
            records(execution("b"), execution("old", finished_at=NOW - 40 * 86_400)),
            start(),
            report(),
        ):
            await house.inbox.put(Envelope(submitted, heard.append))
        await until(lambda: len(heard) == 4)
        # Other actors may have commits of their own.
        transactions = "\n".join(seen).split("BEGIN IMMEDIATE")
        assert sum("INSERT OR IGNORE INTO execution_ids" in each for each in transactions) == 1
        assert heard == [
            Receipt(accepted=2, duplicates=0, expired=0),
            Receipt(accepted=0, duplicates=1, expired=1),
            Done(),
            Done(),
        ]
        counts = house.collector.counts
        assert (counts.accepted, counts.duplicate, counts.expired) == (2, 1, 1)


async def test_an_answer_comes_after_the_commit(path: Path) -> None:
    found: list[int] = []

    def look(_: object) -> None:
        with by_another_program(path) as connection:
            found.append(connection.execute("SELECT count(*) FROM tier1_raw_metrics").fetchone()[0])

    async with at_work(path) as house:
        for number in range(3):
            await house.inbox.put(Envelope(records(execution(f"{number}")), look))
        await until(lambda: len(found) == 3)
    assert found == [3, 3, 3]


async def test_when_storage_refuses_every_caller_is_told_and_later_accepted(path: Path) -> None:
    batches = [
        records(*(execution(f"{call} {n:060}") for n in range(200))) for call in ("a", "b", "c")
    ]
    async with at_work(path) as house:
        async with full_disk(house.database):
            heard: list[object] = []
            for batch in batches:
                await house.inbox.put(Envelope(batch, heard.append))
            await until(lambda: len(heard) == 3)
            assert {type(outcome) for outcome in heard} == {StorageRefused}
            assert (await house.pipeline()).last_24_hours.total_tasks == 0
        for batch in batches:
            receipt = await ask(house.inbox, batch)
            assert receipt == Receipt(accepted=200, duplicates=0, expired=0)
        assert (await house.pipeline()).last_24_hours.total_tasks == 600
        assert house.child("collector").restarts == 0
        assert house.collector.counts.accepted == 600


async def test_a_crash_costs_nothing_that_was_answered(path: Path) -> None:
    """A fault inside of the transaction: another program has taken a number of the journal."""
    async with at_work(path) as house:
        await house.record(execution("a"))
        with by_another_program(path) as connection:
            connection.execute(
                "INSERT INTO agent_events (seq, recorded_at, agent_id) VALUES (2,0,'x')"
            )
        with pytest.raises(Unavailable, match="collector actor is restarting"):
            await ask(house.inbox, report())
        await house.running("collector")
        assert await house.record(execution("a"), execution("b")) == Receipt(
            accepted=1, duplicates=1, expired=0
        )
        assert house.journal.last_seq == 3
        assert (await house.pipeline()).last_24_hours.total_tasks == 2


async def test_names_that_are_out_of_use_make_room_in_time(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(execution("a", tool_name="old"))
        house.now += 40 * 86_400
        await house.record(execution("b", tool_name="new", finished_at=house.now))
        await until(lambda: list(house.journal._books["tool"].names) == ["new"])


# Rest


@asynccontextmanager
async def while_it_commits(house: House, *, resting: int) -> AsyncIterator[None]:
    """So many records are committed, and the commit of one more is under way meanwhile."""
    await house.record(*(execution(f"resting {number}") for number in range(resting)))
    append, begun, may_end = house.journal.append, anyio.Event(), anyio.Event()

    async def slowly(submissions: Sequence[Submitted], now: float) -> Appended:
        begun.set()
        await may_end.wait()
        return await append(submissions, now)

    house.journal.append = slowly  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(house.record, execution("one more"))
        await begun.wait()
        yield
        may_end.set()


def folded(house: House) -> set[int]:
    """How far the projections are."""
    return {actor.seq for actor in house.actors.values()}


async def test_to_record_goes_before_to_fold_but_not_before_to_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "LONGEST_REST_SECONDS", 600.0)
    looks = 0
    look = Collector._look

    def counted(self: Collector) -> None:
        nonlocal looks
        looks += 1
        look(self)

    monkeypatch.setattr(Collector, "_look", counted)
    async with at_work(path) as house:
        async with while_it_commits(house, resting=2):
            await until(lambda: looks >= 3)
            assert house.actors["cost"].seq == 0
            assert (await house.pipeline()).last_24_hours.total_tasks == 2
        await until(lambda: folded(house) == {3})


async def test_what_rests_is_folded_in_the_end_though_commit_follows_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "LONGEST_REST_SECONDS", 0.01)
    async with at_work(path) as house, while_it_commits(house, resting=2):
        await until(lambda: folded(house) == {2})


async def test_so_many_rest_and_no_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "LONGEST_REST_SECONDS", 600.0)
    monkeypatch.setattr(collector, "MOST_RESTING", 3)
    async with at_work(path) as house, while_it_commits(house, resting=3):
        await until(lambda: folded(house) == {3})
