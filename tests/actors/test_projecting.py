"""Projection actors: whatever a mailbox loses and whenever they crash, the answers are right."""

import sqlite3
from pathlib import Path

import anyio
import pytest

from buddyd.actors import capacity, projecting
from buddyd.actors.messages import Asked, PutAway, PutAwayDone
from buddyd.actors.news import MOST_ENTRIES
from buddyd.domain.capacity import Capacity
from buddyd.domain.costs import Costs
from buddyd.domain.journal import JournalEntry
from buddyd.domain.segment import Segment
from buddyd.errors import StorageRefused, Unavailable
from buddyd.protocol.messages import (
    GetAgentsStatus,
    GetPredictiveCapacity,
    GetSystemLearning,
    Ping,
)
from buddyd.runtime.channels import Envelope, ask
from tests.actors.house import NAMES, House, at_work, until
from tests.storage.records import NOW, execution, full_disk, records, rows

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.db"


async def tasks(house: House) -> list[int]:
    """How many executions each of two projections counts."""
    pipeline, costs = await house.pipeline(), await house.costs()
    return [pipeline.last_24_hours.total_tasks, costs.api_usage.total_tasks_24h]


# Catching up


@pytest.mark.parametrize("news", [0, 2, MOST_ENTRIES])
async def test_a_query_counts_what_nobody_was_woken_for(path: Path, news: int) -> None:
    async with at_work(path, woken=(), news=news) as house:
        for number in range(5):
            await house.record(execution(f"{number}"))
            if number % 2:
                assert await tasks(house) == [number + 1] * 2


async def test_what_was_committed_and_not_told_is_read_from_the_journal(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(execution("a"))
        await house.journal.append([records(execution("b"))], NOW)
        await house.record(execution("c"))
        assert await tasks(house) == [3, 3]


async def test_news_is_folded_though_nobody_asks(path: Path) -> None:
    async with at_work(path) as house:
        for number in range(3):
            await house.record(execution(f"{number}"))
        await until(lambda: all(actor.seq == 3 for actor in house.actors.values()))


async def test_what_could_not_be_read_is_read_later_though_nothing_more_comes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "CATCH_UP_SECONDS", 0.01)
    async with at_work(path, news=0) as house:
        read, refused = house.journal.read, iter(range(20))

        async def refuse_at_first(after: int, limit: int) -> list[JournalEntry]:
            if next(refused, None) is not None:
                raise StorageRefused("There is not enough memory.")
            return await read(after, limit)

        monkeypatch.setattr(house.journal, "read", refuse_at_first)
        await house.record(execution("a"), execution("b"))
        await until(lambda: all(actor.seq == 2 for actor in house.actors.values()))
        assert {child.restarts for child in house.supervisor.children} == {0}


async def test_every_query_sees_what_was_acknowledged_before_it_though_mailboxes_are_full(
    path: Path,
) -> None:
    acknowledged = 0

    async def record_and_ask(house: House, number: int) -> None:
        nonlocal acknowledged
        for turn in range(5):
            await house.record(execution(f"{number}-{turn}"))
            acknowledged += 1
            known = acknowledged
            found = await tasks(house)
            assert min(found) >= known

    async with at_work(path, capacity=1) as house:
        async with anyio.create_task_group() as clients:
            for number in range(20):
                clients.start_soon(record_and_ask, house, number)
        assert await tasks(house) == [100, 100]


async def test_a_long_journal_is_caught_up_with_in_pieces(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "READ_ENTRIES", 7)
    monkeypatch.setattr(projecting, "SEGMENT_ENTRIES", 3)
    monkeypatch.setattr(projecting, "CHECKPOINT_ENTRIES", 20)
    async with at_work(path, news=0) as house:
        await house.record(*(execution(f"{n}") for n in range(100)))
        assert await tasks(house) == [100, 100]
        # It puts itself away in between, so that a crash does not throw it back to the start.
        seqs = await rows(
            house.database, "SELECT seq FROM projection_checkpoints WHERE projection = 'cost'"
        )
        assert 20 <= seqs[0] <= 100


# Crashes


class Fragile(Costs):
    """Stumbles over one record, as often as `faults` says."""

    faults = 0

    def fold(self, segment: Segment) -> None:
        super().fold(segment)
        if "stumbling block" in segment.by_agent and Fragile.faults:
            # It has counted the record already: what is left of it must not be used.
            Fragile.faults -= 1
            raise ValueError("I stumble")


async def test_a_fold_that_raises_crashes_the_actor_which_builds_itself_anew(path: Path) -> None:
    Fragile.faults = 2
    async with at_work(path, new_costs=Fragile) as house:
        await house.record(execution("a", cost_actual=0.5))
        await house.put_away("cost")
        await house.record(execution("b", cost_actual=0.25, agent_id="stumbling block"))
        await until(lambda: house.child("cost").restarts == 2)
        await house.running("cost")
        answer = await house.costs()
        assert answer.api_usage.total_tasks_24h == 2
        assert answer.costing.execution_costs_24h == 0.75
        assert house.child("cost").last_error == "ValueError: I stumble"
        assert [house.child(name).restarts for name in NAMES] == [0, 0, 0, 2, 0]


async def test_a_query_that_meets_a_crash_is_told_to_come_again(path: Path) -> None:
    Fragile.faults = 1
    async with at_work(path, new_costs=Fragile, woken=()) as house:
        await house.record(execution("a", agent_id="stumbling block"))
        with pytest.raises(Unavailable, match="cost actor is restarting") as caught:
            await house.costs()
        assert caught.value.retry_after_seconds > 0
        await house.running("cost")
        assert (await house.costs()).api_usage.total_tasks_24h == 1


@pytest.mark.parametrize("name", NAMES)
async def test_a_query_that_cannot_be_answered_fails_for_who_asked_alone(
    path: Path, name: str
) -> None:
    async with at_work(path) as house:
        await house.record(execution("a"))
        with pytest.raises(TypeError):
            await house.query(name, Ping())
        assert house.child(name).restarts == 0
        assert await tasks(house) == [1, 1]


# Putting away


async def test_what_was_put_away_is_all_that_is_needed_to_go_on(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(
            *(execution(f"{n}", tool_name=f"tool {n % 7}", cost_actual=0.1) for n in range(50))
        )
        before = await tasks(house), (await house.costs()).costing
        learning = await house.query("registry", GetSystemLearning())
    async with at_work(path) as house:
        # No entry is left that could be folded again.
        await house.database.write(lambda c: c.execute("DELETE FROM tier1_raw_metrics"))
        assert (await tasks(house), (await house.costs()).costing) == before
        assert await house.query("registry", GetSystemLearning()) == learning


async def test_records_after_the_last_checkpoint_are_folded_again(path: Path) -> None:
    async with at_work(path, killed=True) as house:
        await house.record(execution("a", cost_actual=0.5))
        await house.put_away()
        await house.record(execution("b", cost_actual=0.25))
    async with at_work(path) as house:
        assert await house.store.folded_by_all(len(NAMES)) == 1
        assert await tasks(house) == [2, 2]
        assert (await house.costs()).costing.by_agent == {"agent": 0.75}


async def test_a_refused_checkpoint_keeps_the_changes_for_the_next_one(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(
            *(execution(f"{n}", tool_name=f"{n:0200}", cost_actual=0.01) for n in range(300))
        )
        costs = (await house.costs()).costing
        async with full_disk(house.database):
            for _ in range(2):
                with pytest.raises(StorageRefused):
                    await house.put_away("cost")
            # It goes on answering.
            assert (await house.costs()).costing == costs
        assert await ask(house.mailboxes["cost"], PutAway(0)) == PutAwayDone(0)
        assert house.child("cost").restarts == 0
    async with at_work(path) as house:
        await house.database.write(lambda c: c.execute("DELETE FROM tier1_raw_metrics"))
        assert (await house.costs()).costing == costs


async def test_a_full_disk_is_no_reason_to_fail_at_the_stop(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(*(execution(f"{n}", tool_name=f"{n:0200}") for n in range(300)))
        async with full_disk(house.database):
            await house.supervisor.stop(5.0)
        assert house.supervisor.failure is None
    async with at_work(path) as house:
        assert await tasks(house) == [300, 300]


async def test_checkpoints_come_by_themselves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "CHECKPOINT_SECONDS", 0.01)
    async with at_work(path) as house:
        await house.record(execution("a"))
        await until(lambda: all(actor._saved_seq == 1 for actor in house.actors.values()))
        assert await house.store.folded_by_all(len(NAMES)) == 1


async def test_a_stop_answers_the_queries_that_wait(path: Path) -> None:
    heard: list[object] = []
    async with at_work(path) as house:
        await house.record(execution("a"))
        for request in (GetAgentsStatus(), GetSystemLearning()):
            asked = Asked(request, house.journal.last_seq)
            await house.mailboxes["registry"].put(Envelope(asked, heard.append))
    assert [type(answer).__name__ for answer in heard] == ["AgentsStatus", "SystemLearning"]


async def test_capacity_works_forecasts_out_ahead_and_still_answers(path: Path) -> None:
    async with at_work(path) as house:
        for hour in range(30):
            house.now = NOW + hour * 3600
            await house.record(
                *(
                    execution(f"{hour} {n}", agent_id=f"agent {n}", finished_at=house.now)
                    for n in range(10)
                )
            )
        answer = await house.query("capacity", GetPredictiveCapacity())
        assert len(answer.forecasts) == 10
        assert house.child("capacity").restarts == 0


async def test_news_do_not_make_capacity_look_for_old_forecasts_each_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look takes as long as there are agents, and news come many times a second."""
    monkeypatch.setattr(capacity, "PREPARE_SECONDS", 600.0)
    looks = 0
    prepare = Capacity.prepare

    def counted(self: Capacity, now: float, most: int) -> bool:
        nonlocal looks
        looks += 1
        return prepare(self, now, most)

    monkeypatch.setattr(Capacity, "prepare", counted)
    async with at_work(path) as house:
        for number in range(1, 6):
            await house.record(execution(f"{number}"))
            await until(lambda: house.actors["capacity"].seq == number)  # noqa: B023
        assert looks == 1


@pytest.mark.parametrize(
    "state", [b"", b"\0\0\0\0", b"\x81\xa1a\x01"], ids=["empty", "zeros", "odd"]
)
async def test_a_damaged_state_is_rebuilt_from_the_journal(path: Path, state: bytes) -> None:
    async with at_work(path) as house:
        await house.record(execution("a"), execution("b"))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE projection_states SET state = ?", (state,))
    database.close()
    for _ in range(2):
        async with at_work(path) as house:
            assert (await house.pipeline()).last_24_hours.total_tasks == 2
            assert {child.restarts for child in house.supervisor.children} == {0}
