"""The aggregator: Tier 2 on demand, and letting go of the past without standing in the way."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from buddyd.actors.aggregator import AggregatorActor
from buddyd.domain.answers import Aggregation, Cleanup
from buddyd.errors import StorageRefused, Unavailable
from buddyd.protocol.messages import CleanupOldData, GetHourlySummaries, RunHourlyAggregation
from buddyd.storage import retention as steps
from buddyd.storage.retention import Retention
from tests.actors.house import House, at_work, until
from tests.storage.records import DAY, HOUR, NOW, execution, rows

pytestmark = pytest.mark.anyio

COUNT = "SELECT count(*) FROM tier1_raw_metrics"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.db"


async def old_records(house: House, count: int) -> None:
    """Records of two days ago that every projection has put away, and nobody has cleaned up."""
    aggregator = house.actors["aggregator"]
    assert isinstance(aggregator, AggregatorActor)
    # The round that every aggregator begins with is over.
    await until(lambda: aggregator._cleanup_at > 0 and aggregator._round is None)
    await house.record(*(execution(f"{n}") for n in range(count)))
    await house.put_away()
    house.now = NOW + 2 * DAY


async def until_records(house: House, condition: Callable[[int], bool]) -> None:
    """Wait until there are so many records."""
    while not condition((await rows(house.database, COUNT))[0]):  # noqa: ASYNC110 - as `until`
        await anyio.sleep(0.001)


async def test_aggregation_writes_the_hours_that_changed(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(execution("a"), execution("b", finished_at=NOW - HOUR, success=False))
        done = await house.query("aggregator", RunHourlyAggregation())
        assert isinstance(done, Aggregation)
        assert (done.hours_written, done.commits) == (2, 2)
        query = "SELECT total_tasks, failed_tasks FROM tier2_hourly_summaries ORDER BY hour"
        assert await rows(house.database, query) == [(1, 1), (1, 0)]
        again = await house.query("aggregator", RunHourlyAggregation())
        assert again.hours_written == 0


async def test_summaries_can_be_asked_before_they_are_written(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(execution("a"))
        found = await house.query("aggregator", GetHourlySummaries())
        assert [hour.total_tasks for hour in found.summaries] == [1]
        assert await rows(house.database, "SELECT hour FROM tier2_hourly_summaries") == []


async def test_cleanup_says_what_it_did(path: Path) -> None:
    async with at_work(path) as house:
        await old_records(house, 40)
        house.now = NOW + 40 * DAY
        done = await house.query("aggregator", CleanupOldData())
        assert isinstance(done, Cleanup)
        assert (done.tier1_deleted, done.tier2_deleted, done.execution_ids_deleted) == (40, 1, 40)
        assert done.bytes_freed >= 0
        again = await house.query("aggregator", CleanupOldData())
        assert (again.tier1_deleted, again.execution_ids_deleted) == (0, 0)


async def test_cleanup_lets_queries_and_records_through(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP_ROWS", 1)
    done = anyio.Event()

    async def clean_up(house: House) -> None:
        await house.query("aggregator", CleanupOldData())
        done.set()

    async with at_work(path) as house:
        await old_records(house, 30)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clean_up, house)
            await until_records(house, lambda left: left < 30)
            await house.record(execution("new", finished_at=house.now))
            assert (await house.pipeline()).last_24_hours.total_tasks == 1
            assert not done.is_set()
        assert await rows(house.database, COUNT) == [1]


async def test_two_that_ask_for_a_cleanup_at_once_share_it(path: Path) -> None:
    answers: list[Cleanup] = []

    async def clean_up(house: House) -> None:
        answers.append(await house.query("aggregator", CleanupOldData()))

    async with at_work(path) as house:
        await old_records(house, 5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clean_up, house)
            tasks.start_soon(clean_up, house)
    assert answers[0] == answers[1]
    assert answers[0].tier1_deleted == 5


class Endless(Retention):
    """A round that stays in its last phase until it is told to end."""

    in_last_phase = anyio.Event()
    may_end = anyio.Event()

    async def vacuum_step(self) -> int:
        Endless.in_last_phase.set()
        return await super().vacuum_step() if Endless.may_end.is_set() else 1


async def test_who_asks_late_in_a_round_gets_what_became_old_meanwhile(path: Path) -> None:
    Endless.may_end.set()
    async with at_work(path, new_retention=Endless) as house:
        await old_records(house, 5)
        Endless.in_last_phase, Endless.may_end = anyio.Event(), anyio.Event()
        aggregator = house.actors["aggregator"]
        assert isinstance(aggregator, AggregatorActor)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(house.query, "aggregator", CleanupOldData())
            await Endless.in_last_phase.wait()
            await house.record(execution("late", finished_at=house.now - 2 * DAY))
            await house.put_away()
            tasks.start_soon(house.query, "aggregator", CleanupOldData())
            await until(
                lambda: aggregator._round is not None and len(aggregator._round.waiting) > 1
            )
            Endless.may_end.set()
        assert await rows(house.database, COUNT) == [0]


class Refused(Retention):
    """Can do nothing for now."""

    refusals = 0
    is_refused = False

    async def tier1_step(self, now: float) -> tuple[int, int]:
        if Refused.is_refused:
            Refused.refusals += 1
            raise StorageRefused("The disk is full.")
        return await super().tier1_step(now)


async def test_old_ids_go_after_rounds_that_storage_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(path) as house:
        await house.record(*(execution(f"{n}") for n in range(5)))
    monkeypatch.setattr("buddyd.actors.aggregator.CLEANUP_SECONDS", 0.01)
    Refused.is_refused = True
    async with at_work(path, new_retention=Refused, now=NOW + 40 * DAY) as house:
        await until(lambda: Refused.refusals > 1)
        Refused.is_refused = False
        count = "SELECT count(*) FROM execution_ids"
        while await rows(house.database, count) != [0]:  # noqa: ASYNC110 - as `until`
            await anyio.sleep(0.001)


class Faulty(Retention):
    """Fails at the last step, once, in the way that it is told."""

    fault: Exception | None = None

    async def vacuum_step(self) -> int:
        fault, Faulty.fault = Faulty.fault, None
        if fault is not None:
            raise fault
        return await super().vacuum_step()


@pytest.mark.parametrize(
    ("fault", "told", "restarts"),
    [
        (StorageRefused("The disk is full."), "The disk is full", 0),
        (sqlite3.OperationalError("odd"), "aggregator actor is restarting", 1),
    ],
    ids=["refused", "crash"],
)
async def test_who_waits_for_a_cleanup_that_fails_is_told(
    path: Path, fault: Exception, told: str, restarts: int
) -> None:
    async with at_work(path, new_retention=Faulty) as house:
        await old_records(house, 5)
        Faulty.fault = fault
        with pytest.raises(Unavailable, match=told):
            await house.query("aggregator", CleanupOldData())
        await house.running("aggregator")
        assert house.child("aggregator").restarts == restarts
        assert isinstance(await house.query("aggregator", CleanupOldData()), Cleanup)


async def test_who_waits_for_a_cleanup_when_the_daemon_stops_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP_ROWS", 1)
    told: list[str] = []

    async def clean_up(house: House) -> None:
        with pytest.raises(Unavailable) as caught:
            await house.query("aggregator", CleanupOldData())
        told.append(caught.value.reason)

    async with at_work(path) as house, anyio.create_task_group() as tasks:
        await old_records(house, 200)
        tasks.start_soon(clean_up, house)
        await until_records(house, lambda left: left < 200)
        await house.supervisor.stop(5.0)
        await until(lambda: bool(told))
    assert told == ["The daemon is stopping."]


async def test_what_is_old_goes_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buddyd.actors.aggregator.CLEANUP_SECONDS", 0.01)
    async with at_work(path) as house:
        await old_records(house, 5)
        await until_records(house, lambda left: left == 0)
