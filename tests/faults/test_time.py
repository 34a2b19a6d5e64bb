"""Whatever the clock does, nothing that was recorded is lost, and the answers are right again."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest

from buddyd import daemon
from buddyd.clock import SteadyClock
from buddyd.config import Retention, Settings
from buddyd.domain.execution import Execution
from buddyd.protocol.messages import RecordExecutions
from tests.oracle import DAY, HOUR, Oracle, differences
from tests.support.daemon import READY_SECONDS, RawClient, Refused, raw_client, running_daemon

pytestmark = pytest.mark.anyio

NOW = 1_780_394_645.678
QUERIES = (
    "get_agents_status",
    "get_predictive_capacity",
    "get_task_pipeline",
    "get_system_learning",
    "get_risk_patterns",
    "get_tool_recommendations",
    "get_risk_history",
)


class Witness:
    """Tells the daemon and the oracle the same, and compares what they answer."""

    def __init__(
        self, client: RawClient, database: Path, clock: Callable[[], float], settings: Settings
    ) -> None:
        self.client = client
        self.oracle = Oracle(settings)
        self._clock = clock
        self._database = database
        self._sent = 0

    async def record(self, count: int = 1, finished_at: float | None = None) -> None:
        """Record executions that are alike, at the time of the clock if none is given."""
        given: dict[str, Any] = {} if finished_at is None else {"finished_at": finished_at}
        executions = [self._execution(**given) for _ in range(count)]
        request = RecordExecutions(executions=executions)
        answer = await self.client.ask("record_executions", request)
        assert answer == self.oracle.send(self._clock(), request)

    def _execution(self, **given: Any) -> Execution:  # noqa: ANN401 - any field
        self._sent += 1
        return Execution(
            execution_id=f"id-{self._sent}",
            task_id=f"task-{self._sent}",
            agent_id=f"agent-{self._sent % 3}",
            tool_name=f"tool-{self._sent % 4}",
            # No two tools are alike, whose order would be a matter of the last digit.
            duration_seconds=1.5 ** (1 + self._sent % 4),
            success=self._sent % 5 > 0,
            cost_actual=0.25,
            **given,
        )

    async def compare(self) -> None:
        """Every answer is what the oracle's is."""
        now = self._clock()
        for query in QUERIES:
            answer = await self.client.ask(query, {})
            assert differences(answer, getattr(self.oracle, query)(now), query) == []

    async def everything(self) -> dict[str, Any]:
        """That there is an answer."""
        answer: dict[str, Any] = await self.client.ask("get_all", {})
        return answer

    def stored(self) -> int:
        """How many executions are in Tier 1."""
        place = f"file:{self._database}?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as database:
            (count,) = database.execute("SELECT count(*) FROM tier1_raw_metrics").fetchone()
        return int(count)


class Hands:
    """A clock that is set by hand."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def witnessed(
    folder: Path, clock: Callable[[], float], settings: Settings | None = None
) -> AsyncIterator[Witness]:
    settings = settings or Settings(timezone="UTC")
    async with (
        running_daemon(folder, settings, clock) as running,
        raw_client(running.socket) as client,
    ):
        yield Witness(client, running.database, clock, settings)


STEPS = [-40.0 * DAY, -3.0 * DAY, -DAY, -3.0 * HOUR, -61.0, 61.0, HOUR - 1.0]


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_is_taken_back_leaves_no_trace(tmp_path: Path, step: float) -> None:
    clock = Hands()
    async with witnessed(tmp_path, clock) as witness:
        await witness.record(20)
        await witness.compare()
        clock.now += step
        await witness.everything()
        await witness.client.ask("cleanup_old_data", {})
        clock.now -= step
        await witness.compare()
        await witness.record(5)
        await witness.compare()
        assert witness.stored() == 25


@pytest.mark.parametrize("step", STEPS)
async def test_what_is_recorded_in_a_wrong_time_is_right_in_the_right_one(
    tmp_path: Path, step: float
) -> None:
    clock = Hands()
    async with witnessed(tmp_path, clock) as witness:
        await witness.record(10)
        clock.now += step
        await witness.record(10)
        assert witness.stored() == 20
        clock.now -= step
        await witness.record(10)
        await witness.compare()
        assert witness.stored() == 30


class Host:
    """A clock on the wall that can be set, and the time that really passes."""

    def __init__(self) -> None:
        self.elapsed = 1000.0
        self.ahead = NOW - self.elapsed
        self.clock = SteadyClock(lambda: self.elapsed + self.ahead, lambda: self.elapsed)


@asynccontextmanager
async def hosted(folder: Path, host: Host) -> AsyncIterator[Witness]:
    """A daemon with the clock that the program has, on a host whose clock is not to be trusted."""
    settings = Settings(timezone="UTC")
    options = daemon.Options(
        socket_path=folder / "s",
        database=folder / "analytics.db",
        clock=host.clock,
        in_doubt=host.clock.in_doubt,
    )
    stop, ready = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(daemon.run, settings, options, stop=stop, ready=ready))
        with anyio.fail_after(READY_SECONDS):
            await ready.wait()
        async with raw_client(options.socket_path) as client:
            yield Witness(client, options.database, host.clock, settings)
        stop.set()


@pytest.mark.parametrize("jump", [3.0 * HOUR, 25.0 * HOUR, 40.0 * DAY, 3650.0 * DAY])
async def test_one_wrong_jump_forward_deletes_nothing(tmp_path: Path, jump: float) -> None:
    host = Host()
    async with hosted(tmp_path, host) as witness:
        await witness.record(20)
        host.ahead += jump
        for _ in range(5):
            host.elapsed += 60.0
            await witness.record(2)
            await witness.client.ask("cleanup_old_data", {})
            await witness.compare()
        host.ahead -= jump
        await witness.record(1)
        await witness.compare()
        assert witness.stored() == 31


async def test_while_the_clock_is_in_doubt_times_of_the_other_clock_are_put_off(
    tmp_path: Path,
) -> None:
    host = Host()
    async with hosted(tmp_path, host) as witness:
        await witness.record(3)
        host.ahead += 2.0 * DAY
        host.clock()
        with pytest.raises(Refused) as refused:
            await witness.record(finished_at=NOW + 2.0 * DAY)
        assert refused.value.error["code"] == -32000
        assert refused.value.error["data"]["retry_after_seconds"] == 60.0
        host.elapsed += 601.0
        await witness.record(finished_at=NOW + 2.0 * DAY)
        await witness.compare()


async def test_a_jump_forward_that_stays_moves_the_windows_on(tmp_path: Path) -> None:
    host = Host()
    async with hosted(tmp_path, host) as witness:
        await witness.record(20)
        host.ahead += 2.0 * DAY
        host.clock()
        host.elapsed += 601.0
        await witness.compare()
        everything = await witness.everything()
        assert everything["pipeline"]["last_24_hours"]["total_tasks"] == 0
        await witness.record(4)
        await witness.compare()


def local(zone: str, *when: int) -> float:
    return datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[misc, arg-type]


# What is about to happen at these times: a day ends, a year, February on its 29th; summer time
# begins, ends, begins at midnight itself, and changes by half an hour.
TURNS = [
    ("UTC", local("UTC", 2026, 6, 2)),
    ("Pacific/Kiritimati", local("Pacific/Kiritimati", 2027, 1, 1)),
    ("Europe/Berlin", local("Europe/Berlin", 2028, 2, 29)),
    ("Europe/Berlin", local("Europe/Berlin", 2028, 3, 1)),
    ("Europe/Berlin", local("Europe/Berlin", 2026, 3, 29, 3)),
    ("Europe/Berlin", local("Europe/Berlin", 2026, 10, 25, 3)),
    ("Africa/Cairo", local("Africa/Cairo", 2026, 4, 24, 1)),
    ("Australia/Lord_Howe", local("Australia/Lord_Howe", 2026, 4, 5, 2)),
]


@pytest.mark.parametrize(("zone", "turn"), TURNS)
async def test_days_end_where_the_calendar_says_so(tmp_path: Path, zone: str, turn: float) -> None:
    clock = Hands(turn - 26.0 * HOUR)
    async with witnessed(tmp_path, clock, Settings(timezone=zone)) as witness:
        for _ in range(24):
            await witness.record(2)
            clock.now += HOUR
        for moment in (-60.0, -0.001, 0.0, 0.001, 60.0, HOUR, 2 * HOUR, 23 * HOUR, 25 * HOUR):
            clock.now = turn + moment
            await witness.record(1)
            await witness.compare()


async def test_the_clock_may_wander_about_a_turn_of_the_day(tmp_path: Path) -> None:
    midnight = datetime(2026, 6, 2, tzinfo=UTC)
    clock = Hands()
    async with witnessed(tmp_path, clock) as witness:
        for minutes in (-30, 1, -5, 30, -1, 0, 60, -15, 90, 45, 120):
            clock.now = (midnight + timedelta(minutes=minutes)).timestamp()
            await witness.record(3)
            await witness.compare()


async def test_records_from_the_future_are_refused_and_ones_from_long_ago_expire(
    tmp_path: Path,
) -> None:
    clock = Hands()
    async with witnessed(tmp_path, clock, Settings(retention=Retention(), timezone="UTC")) as w:
        for ahead in (300.001, HOUR, DAY, 1e10, 2.5e11 - NOW):
            with pytest.raises(Refused) as refused:
                await w.record(finished_at=NOW + ahead)
            assert refused.value.error["data"]["path"] == "$.executions[0].finished_at"
        assert w.stored() == 0
        for finished_at in (NOW + 300.0, NOW - 25 * HOUR, NOW - 29.9 * DAY, NOW - 31 * DAY, 0.0):
            await w.record(finished_at=finished_at)
            await w.compare()
        for finished_at in (-1.0, -62_135_596_800.0):
            await w.record(finished_at=finished_at)
        await w.compare()


@pytest.mark.parametrize("wild", [0.0, -1e9, 2**31 - 1.0, 2**31 + 1.0, 4_102_444_800.0, 2.5e11])
async def test_no_time_of_the_clock_brings_it_down(tmp_path: Path, wild: float) -> None:
    clock = Hands()
    async with witnessed(tmp_path, clock) as witness:
        await witness.record(10)
        clock.now = wild
        await witness.everything()
        await witness.client.ask("record_execution", witness._execution())
        clock.now = NOW
        await witness.everything()
    async with witnessed(tmp_path, clock) as witness:
        await witness.everything()
