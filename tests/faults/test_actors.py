"""Actors that raise and hang: the others go on, callers are told, and no answer is ever wrong."""

import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from buddyd.actors import projecting
from buddyd.actors.aggregator import AggregatorActor
from buddyd.actors.capacity import CapacityActor
from buddyd.actors.collector import Collector
from buddyd.actors.cost import CostActor
from buddyd.actors.registry import RegistryActor
from buddyd.actors.risk import RiskActor
from buddyd.config import Settings
from buddyd.domain.capacity import Capacity
from buddyd.domain.costs import Costs
from buddyd.domain.pipeline import Pipeline
from buddyd.domain.registry import Registry
from buddyd.domain.risk import Risks
from buddyd.domain.segment import Segment
from buddyd.protocol.framing import Encoding
from buddyd.protocol.messages import RecordExecutions
from buddyd.runtime.actor import Actor
from buddyd.storage.journal import Journal
from tests.faults.kill_support import QUERIES, SEED, Ids
from tests.oracle import Oracle, differences
from tests.support.daemon import RawClient, Refused, copy_as_it_is, raw_client, running_daemon
from tests.support.process import PATIENCE_SECONDS, DaemonProcess, PatchedDaemon, execution

pytestmark = pytest.mark.anyio

NOW = time.time()
ACTORS: dict[str, type[Actor[Any]]] = {
    "collector": Collector,
    "aggregator": AggregatorActor,
    "registry": RegistryActor,
    "capacity": CapacityActor,
    "cost": CostActor,
    "risk": RiskActor,
}
# What each answers, or has a share in; the collector answers what records.
ASKED = {
    "aggregator": {"get_task_pipeline"},
    "registry": {"get_agents_status", "get_system_learning"},
    "capacity": {"get_predictive_capacity"},
    "cost": {"get_api_usage_and_costing", "get_risk_patterns", "get_risk_history"},
    "risk": {"get_risk_patterns", "get_tool_recommendations", "get_risk_history"},
    "collector": set[str](),
}
PROJECTIONS = {
    "aggregator": Pipeline,
    "registry": Registry,
    "capacity": Capacity,
    "cost": Costs,
    "risk": Risks,
}

Fault = Callable[[], Awaitable[None]]


async def raises() -> None:
    raise ValueError("a fault that was put in")


async def hangs() -> None:
    await anyio.sleep_forever()


class Faults:
    """Puts faults into the methods of actors; each comes `times` times."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def put(self, owner: type, method: str, fault: Fault, times: int = 1) -> None:
        """A fault at the begin of a method; of `turn`, where somebody waits for an answer."""
        original = getattr(owner, method)
        left = times

        async def faulty(itself: object, *arguments: Any) -> Any:  # noqa: ANN401
            nonlocal left
            if left and (not arguments or any(e.unanswered for e in arguments[0])):
                left -= 1
                await fault()
            return await original(itself, *arguments)

        self._patch.setattr(owner, method, faulty)

    def limit(self, owner: type, seconds: float) -> None:
        """How long the actor may hang."""
        self._patch.setattr(owner, "turn_limit", seconds)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


class Talk:
    """A client whose records the oracle hears, too, once they are acknowledged."""

    def __init__(self, client: RawClient, caller: RawClient) -> None:
        self.oracle = Oracle(Settings(timezone="UTC"))
        self._client = client
        self._caller = caller
        self._ids = Ids("told", SEED)

    async def record(self, batch: RecordExecutions | None = None) -> Any:  # noqa: ANN401
        """Send a batch, again where it is refused for now, as a good client does."""
        batch = batch or self._ids.batch(20, finished_at=NOW)
        while True:
            try:
                receipt = await self._client.ask("record_executions", batch)
            except Refused as refused:
                await anyio.sleep(refused.error["data"]["retry_after_seconds"])
            else:
                self.oracle.send(NOW, batch)
                return receipt

    def batch(self) -> RecordExecutions:
        """A batch that was not sent yet."""
        return self._ids.batch(20, finished_at=NOW)

    async def refusal(self, name: str) -> dict[str, Any]:
        """What an actor's caller is told, over a connection of its own."""
        request: tuple[str, Any] = ("record_executions", self.batch())
        if name != "collector":
            request = (min(ASKED[name]), {})
        with pytest.raises(Refused) as refused:
            await self._caller.ask(*request)
        return refused.value.error

    async def compare(self, *, without: str = "") -> None:
        """Every answer but those of one actor is that of the oracle."""
        for query in QUERIES:
            if query not in ASKED.get(without, set()):
                assert await self.wrong(query) == []

    async def wrong(self, query: str) -> list[str]:
        """How an answer is not that of the oracle; asks again where it is refused for now."""
        while True:
            try:
                found = await self._client.ask(query, {})
            except Refused as refused:
                if refused.error["code"] != -32000:
                    raise
                await anyio.sleep(refused.error["data"]["retry_after_seconds"])
                continue
            if query == "get_api_usage_and_costing":
                found["storage"]["database_size_mb"] = 0.0
            return differences(found, getattr(self.oracle, query)(NOW), query)

    async def actor(self, name: str) -> dict[str, Any]:
        """What the daemon says of an actor."""
        actors = (await self._client.ask("get_daemon_status", {}))["actors"]
        found: dict[str, Any] = next(actor for actor in actors if actor["name"] == name)
        return found


@asynccontextmanager
async def talk(folder: Path) -> AsyncIterator[Talk]:
    async with (
        running_daemon(folder, clock=lambda: NOW) as daemon,
        raw_client(daemon.socket, Encoding.MSGPACK) as client,
        raw_client(daemon.socket, Encoding.JSON) as caller,
    ):
        yield Talk(client, caller)


def is_unavailable(error: dict[str, Any], name: str) -> bool:
    told = error["code"] == -32000 and name in error["data"]["reason"]
    return told and error["data"]["retry_after_seconds"] > 0


# Once


@pytest.mark.parametrize("name", ACTORS)
async def test_who_asks_an_actor_that_raises_is_told_when_to_come_again(
    tmp_path: Path, faults: Faults, name: str
) -> None:
    async with talk(tmp_path) as told:
        await told.record()
        faults.put(ACTORS[name], "turn", raises)
        assert is_unavailable(await told.refusal(name), name)
        await told.compare(without=name)
        await told.record()
        await told.compare()
        actor = await told.actor(name)
        assert actor["restarts"] == 1
        assert actor["last_error"] == "ValueError: a fault that was put in"


@pytest.mark.parametrize("name", ACTORS)
async def test_an_actor_that_raises_at_its_restart_too_comes_back(
    tmp_path: Path, faults: Faults, name: str
) -> None:
    async with talk(tmp_path) as told:
        await told.record()
        faults.put(ACTORS[name], "turn", raises)
        faults.put(ACTORS[name], "start", raises, times=2)
        assert is_unavailable(await told.refusal(name), name)
        await told.compare(without=name)
        await told.record()
        await told.compare()
        assert (await told.actor(name))["restarts"] == 3


@pytest.mark.parametrize("name", ACTORS)
async def test_a_daemon_one_of_whose_actors_raises_at_the_start_comes_up(
    tmp_path: Path, faults: Faults, name: str
) -> None:
    faults.put(ACTORS[name], "start", raises, times=2)
    async with talk(tmp_path) as told:
        await told.record()
        await told.compare()
        assert (await told.actor(name))["restarts"] == 2


# In the middle


@pytest.mark.parametrize("name", PROJECTIONS)
async def test_what_was_half_folded_is_folded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    projection = PROJECTIONS[name]
    fold, left = projection.fold, 1

    def faulty(itself: Any, segment: Segment) -> None:  # noqa: ANN401
        nonlocal left
        half = len(segment.entries) // 2
        if left and half:
            left -= 1
            fold(itself, Segment(segment.entries[:half]))
            raise ValueError("a fault that was put in")
        fold(itself, segment)

    monkeypatch.setattr(projection, "fold", faulty)
    async with talk(tmp_path) as told:
        await told.record()
        await told.record()
        await told.compare()
        assert (await told.actor(name))["restarts"] == 1


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
async def test_a_fault_around_a_commit_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    append, left = Journal.append, 1

    async def faulty(itself: Journal, *arguments: Any) -> Any:  # noqa: ANN401
        nonlocal left
        left -= 1
        if left == 0 and moment == "before the commit":
            await raises()
        appended = await append(itself, *arguments)
        if left == 0:
            await raises()
        return appended

    async with talk(tmp_path) as told:
        await told.record()
        monkeypatch.setattr(Journal, "append", faulty)
        receipt = await told.record()
        again = 20 if moment == "after the commit" else 0
        assert receipt == {"accepted": 20 - again, "duplicates": again, "expired": 0}
        await told.compare()


# Hanging


@pytest.mark.parametrize("method", ["turn", "start"])
@pytest.mark.parametrize("name", ACTORS)
async def test_an_actor_that_hangs_is_started_anew_and_the_others_answer_meanwhile(
    tmp_path: Path, faults: Faults, name: str, method: str
) -> None:
    async with talk(tmp_path) as told, anyio.create_task_group() as tasks:
        await told.record()
        faults.limit(ACTORS[name], 0.5)
        hanging = anyio.Event()

        async def hang() -> None:
            hanging.set()
            await hangs()

        faults.put(ACTORS[name], method, hang)
        if method == "start":
            faults.put(ACTORS[name], "turn", raises)

        async def provoke() -> None:
            # On a slow machine an honest turn may be taken for one that hangs.
            while not hanging.is_set():
                await told.refusal(name)

        tasks.start_soon(provoke)
        await hanging.wait()
        await told.compare(without=name)
        await told.record()
        await told.compare()
        assert "made no progress for 0.5 s" in (await told.actor(name))["last_error"]


async def test_an_honest_catch_up_may_take_longer_than_a_hang(
    tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = Pipeline.fold

    def slow(itself: Pipeline, segment: Segment) -> None:
        time.sleep(0.0005 * len(segment.entries))
        fold(itself, segment)

    ids, killed = Ids("before", SEED), tmp_path / "killed"
    killed.mkdir()
    async with running_daemon(tmp_path) as daemon, raw_client(daemon.socket) as client:
        await client.ask("record_executions", ids.batch(3000))
        copy_as_it_is(daemon.database, killed)
    faults.limit(AggregatorActor, 0.75)
    monkeypatch.setattr(Pipeline, "fold", slow)
    # It says so often that it gets on, for a slow machine not to look like one that hangs.
    monkeypatch.setattr(projecting, "SEGMENT_ENTRIES", 10)
    async with talk(killed) as told:
        assert (await told.actor("aggregator"))["restarts"] == 0


# To the end: as processes, for the daemon's own end is what is looked at

FAULTY = """
import anyio
from buddyd import health
from buddyd.actors.{module} import {actor} as Faulty
from buddyd.runtime import supervisor

async def raises(self, *_):
    raise ValueError("a fault that was put in")

async def sleeps(self, *_):
    await anyio.sleep_forever()

async def hangs(self, *_):
    with anyio.CancelScope(shield=True):
        await anyio.sleep_forever()

def faulty(fault, original):
    async def method(self, *arguments):
        waits = not arguments or any(e.unanswered for e in arguments[0])
        return await (fault if waits else original)(self, *arguments)
    return method

health.STALLED_SECONDS = 0.5
quick = supervisor.RestartPolicy(within_seconds={within}, first_delay=0.01, longest_delay=0.02)
daemon.Supervisor = lambda: supervisor.Supervisor(quick)
Faulty.turn_limit = {limit}
Faulty.{method} = faulty({fault}, Faulty.{method})
"""


class FaultyDaemon(PatchedDaemon):
    """A daemon one of whose actors has a fault in one of its methods, which never goes away."""

    def __init__(
        self,
        folder: Path,
        name: str,
        method: str,
        fault: str,
        *,
        limit: float = 30.0,
        within: float = 60.0,
        env: dict[str, str] | None = None,
    ) -> None:
        owner = ACTORS[name]
        patch = FAULTY.format(
            module=owner.__module__.rpartition(".")[2],
            actor=owner.__name__,
            method=method,
            fault=fault,
            limit=limit,
            within=within,
        )
        super().__init__(folder, patch, env=env)


@pytest.mark.parametrize("name", ACTORS)
def test_a_storm_of_faults_ends_the_daemon_with_the_reason(tmp_path: Path, name: str) -> None:
    with FaultyDaemon(tmp_path, name, "turn", "raises") as daemon:
        assert daemon.process is not None
        while (refusal := ask(daemon, name)) is not None:
            assert is_unavailable(refusal, name)
        _, told = daemon.process.communicate(timeout=PATIENCE_SECONDS)
        assert daemon.process.returncode == 70
    reason = f"The {name} actor crashed 7 times within 60 s; the last time with ValueError: a fault"
    assert told.splitlines()[-1].startswith(f"buddyd: {reason}")


@pytest.mark.parametrize("name", ACTORS)
def test_a_storm_of_faults_at_the_start_ends_the_daemon_with_the_reason(
    tmp_path: Path, name: str
) -> None:
    daemon = FaultyDaemon(tmp_path, name, "start", "raises")
    done = subprocess.run(daemon.command, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert f"buddyd: The {name} actor crashed 7 times" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ACTORS)
def test_an_actor_that_always_hangs_at_its_start_ends_the_daemon(tmp_path: Path, name: str) -> None:
    """The time that it hangs is not counted, or it would never have crashed often enough."""
    daemon = FaultyDaemon(tmp_path, name, "start", "sleeps", limit=0.4, within=2.0)
    done = subprocess.run(daemon.command, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    reason = f"buddyd: The {name} actor crashed 7 times"
    assert reason in done.stderr.splitlines()[-1]
    assert "It made no progress for 0.4 s." in done.stderr.splitlines()[-1]


def ask(daemon: DaemonProcess, name: str) -> dict[str, Any] | None:
    """The error that an actor's caller gets; None where nobody answers any more."""
    try:
        if name == "collector":
            answer = daemon.call("record_execution", **execution())
        else:
            answer = daemon.call(min(ASKED[name]))
    except (OSError, IndexError):
        return None
    if "stopping" in str(answer):
        return None
    error: dict[str, Any] = answer["error"]
    return error


@pytest.mark.parametrize("name", ACTORS)
def test_the_watchdog_is_not_told_that_all_is_well_while_an_actor_hangs(
    tmp_path: Path, name: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_SECONDS)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        with FaultyDaemon(tmp_path, name, "turn", "hangs", env=env) as daemon:
            assert heard(manager, "WATCHDOG=1", within=20)
            caller = threading.Thread(target=ask, args=(daemon, name))
            caller.start()
            # On a slow machine another one may look as if it did, for a moment.
            while daemon.wait_for("actors make no progress")["actors"] != name:
                pass
            others = {query for asked in ASKED.values() for query in asked} - ASKED[name]
            assert all("result" in daemon.call(query) for query in others)
            while heard(manager, "WATCHDOG=1", within=10):
                pass
        caller.join(PATIENCE_SECONDS)


def heard(manager: socket.socket, message: str, *, within: int) -> bool:
    """Whether one of the next so many messages is this one; the others tell how it does."""
    return message in [manager.recv(4096).decode() for _ in range(within)]
