"""What work costs, in counts: a figure that grows here is a loss of speed on any machine.

A bound is what was measured, and a little more. Whoever makes the work cheaper lowers it; whoever
has to raise it says why.
"""

import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

import anyio.to_thread
import pytest

from buddyd.actors.aggregator import AggregatorActor
from buddyd.protocol.messages import (
    METHODS,
    GetAgentsStatus,
    GetApiUsageAndCosting,
    GetPredictiveCapacity,
    GetRiskPatterns,
    GetSystemLearning,
    GetTaskPipeline,
    GetToolRecommendations,
    Request,
)
from buddyd.runtime.channels import Envelope
from buddyd.storage.database import Database
from tests.actors.house import House, at_work, statements, until
from tests.bench import load
from tests.faults.kill_support import TracedDaemon, calls, needs_strace
from tests.storage.records import NOW, execution, records
from tests.support.daemon import running_daemon

RECORDS = 1_000
IN_FLIGHT = 64

STATEMENTS_PER_BATCH_OF_500 = 11
"""A few that take many ids each, and as many that insert their records."""
STATEMENTS_PER_SINGLE = 0.2
COMMITS_FOR_64_SINGLES = 2
HOPS_PER_COMMIT = 1

SYNCS_PER_BATCH = 2
SYNCS_PER_SINGLE_IN_FLIGHT = 0.2
"""It depends on how many come together while a commit is under way."""


class MostCalls(NamedTuple):
    """Calls of functions for each record: in the thread of the event loop, and in storage's."""

    loop: float
    storage: float


# From the bytes of a request to those of its answer, and into the five projections.
MOST_CALLS = {"batches": MostCalls(85, 4), "singles": MostCalls(220, 22)}
MOST_CALLS_PER_QUERY = 700
"""On average, with 16 agents and 40 tools."""

CALLS = ("call", "c_call")
QUERIES: dict[str, tuple[Request, ...]] = {
    "aggregator": (GetTaskPipeline(),),
    "registry": (GetAgentsStatus(), GetSystemLearning()),
    "capacity": (GetPredictiveCapacity(),),
    "cost": (GetApiUsageAndCosting(),),
    "risk": (GetRiskPatterns(), GetToolRecommendations()),
}

QUERY_METHODS = tuple(
    name
    for name, method in METHODS.items()
    if any(method.params is type(each) for requests in QUERIES.values() for each in requests)
)


# Statements, commits and changes of thread


class Work:
    """What a database is made to do."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.hops = 0

    @property
    def commits(self) -> int:
        return self.statements.count("COMMIT")


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[tuple[House, Work]]:
    """A house at rest, and what its database does from now on."""
    async with at_work(path) as house:
        aggregator = house.actors["aggregator"]
        assert isinstance(aggregator, AggregatorActor)
        # It cleans up once when it starts.
        await until(lambda: aggregator._cleanup_at > 0)
        work = Work()
        work.statements = await statements(house.database)
        for _ in house.database._readers:
            await house.database.read(
                lambda connection: connection.set_trace_callback(work.statements.append)
            )
        count_hops(house.database, work)
        yield house, work


def count_hops(database: Database, work: Work) -> None:
    """Count what is done in another thread."""
    run = database._run

    async def counting(*arguments: object) -> object:
        work.hops += 1
        return await run(*arguments)  # type: ignore[arg-type]

    database._run = counting  # type: ignore[method-assign,assignment]


async def submit(house: House, *batches: int) -> None:
    """Have batches of so many records committed that are there at once."""
    answers: list[object] = []
    names = iter(range(sum(batches)))
    for size in batches:
        submitted = records(*(execution(f"{next(names)}") for _ in range(size)))
        await house.inbox.put(Envelope(submitted, answers.append))
    await until(lambda: len(answers) == len(batches))
    await house.costs()


@pytest.mark.anyio
async def test_a_batch_is_a_commit_at_most_and_few_statements(tmp_path: Path) -> None:
    async with watched(tmp_path / "db") as (house, work):
        await submit(house, 500, 500)
        print(f"{len(work.statements)} statements, {work.commits} commits, {work.hops} hops")
        assert work.commits <= 2
        assert work.hops <= work.commits * HOPS_PER_COMMIT
        assert len(work.statements) <= 2 * STATEMENTS_PER_BATCH_OF_500


@pytest.mark.anyio
async def test_single_records_in_flight_share_commits(tmp_path: Path) -> None:
    async with watched(tmp_path / "db") as (house, work):
        await submit(house, *[1] * IN_FLIGHT)
        print(f"{len(work.statements)} statements, {work.commits} commits, {work.hops} hops")
        assert work.commits <= COMMITS_FOR_64_SINGLES
        assert work.hops <= work.commits * HOPS_PER_COMMIT
        assert len(work.statements) <= IN_FLIGHT * STATEMENTS_PER_SINGLE


@pytest.mark.anyio
async def test_a_query_leaves_the_database_alone(tmp_path: Path) -> None:
    async with watched(tmp_path / "db") as (house, work):
        await submit(house, 500)
        work.statements.clear()
        work.hops = 0
        for name, requests in QUERIES.items():
            for request in requests:
                await house.query(name, request)
        assert work.statements == []
        assert work.hops == 0


@contextmanager
def adapters_asked() -> Iterator[Counter[str]]:
    """Of the types that are not bound as they are, how many values adapters were asked about."""
    asked: Counter[str] = Counter()
    kinds: list[type] = [bool, bytes, type(None)]
    for kind in kinds:

        def adapt(value: object, name: str = kind.__name__) -> object:
            asked[name] += 1
            return value

        sqlite3.register_adapter(kind, adapt)
    try:
        yield asked
    finally:
        for kind in kinds:
            del sqlite3.adapters[kind, sqlite3.PrepareProtocol]


@pytest.mark.anyio
async def test_executions_are_bound_without_a_question_to_an_adapter(tmp_path: Path) -> None:
    executions = list(load.executions(500, lambda _: NOW))
    async with at_work(tmp_path / "db") as house:
        envelope = Envelope(records(*executions), lambda _: None)
        with adapters_asked() as asked:
            await house.inbox.put(envelope)
            await until(lambda: not envelope.unanswered)
    assert asked == {}


# Calls of functions


class Calls:
    """Counts the calls of functions, Python's and C's, in the loop's thread and in storage's."""

    def __init__(self) -> None:
        self.loop = self.storage = 0

    @contextmanager
    def counted(self) -> Iterator[Self]:
        """Count in this thread, which is the loop's, and in those that start from now on."""

        def in_loop(_: FrameType, event: str, __: object) -> None:
            self.loop += event in CALLS

        def elsewhere(_: FrameType, event: str, __: object) -> None:
            # What sends the load runs in a thread of anyio.
            if not threading.current_thread().name.startswith("AnyIO"):
                self.storage += event in CALLS

        threading.setprofile(elsewhere)
        sys.setprofile(in_loop)
        try:
            yield self
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    async def during(self, work: Callable[[], object]) -> tuple[int, int]:
        """How many there are in the loop and in storage while `work` is done elsewhere."""
        loop, storage = self.loop, self.storage
        await anyio.to_thread.run_sync(work)
        return self.loop - loop, self.storage - storage


def settled(socket: Path) -> None:
    """Wait until every projection has folded what was recorded."""
    with load.Connection(socket) as connection:
        for method in (*QUERY_METHODS, "get_all"):
            connection.ask(load.request(method))


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["batches", "singles"])
async def test_a_record_costs_few_calls(tmp_path: Path, way: str) -> None:
    made = list(load.executions(2 * RECORDS))
    requests = list(load.batches(made, 500) if way == "batches" else load.singles(made))
    half = len(requests) // 2

    def send(share: list[bytes]) -> None:
        load.drive(place.socket, [share], IN_FLIGHT)
        settled(place.socket)

    with Calls().counted() as calls:
        async with running_daemon(tmp_path) as place:
            await calls.during(partial(send, requests[:half]))
            loop, storage = await calls.during(partial(send, requests[half:]))
    print(f"{way}: {loop / RECORDS:.1f} calls in the loop, {storage / RECORDS:.1f} in storage")
    assert loop <= MOST_CALLS[way].loop * RECORDS
    assert storage <= MOST_CALLS[way].storage * RECORDS


@pytest.mark.anyio
async def test_a_query_costs_few_calls(tmp_path: Path) -> None:
    def ask(count: int) -> None:
        with load.Connection(place.socket) as connection:
            for method in QUERY_METHODS:
                for _ in range(count):
                    connection.ask(load.request(method))

    with Calls().counted() as calls:
        async with running_daemon(tmp_path) as place:
            requests = list(load.batches(load.executions(RECORDS), 500))
            load_all = partial(load.drive, place.socket, [requests], 1)
            await calls.during(load_all)
            await calls.during(partial(ask, 1))
            loop, _ = await calls.during(partial(ask, 10))
    print(f"{loop / 10 / len(QUERY_METHODS):.0f} calls in the loop for a query")
    assert loop <= MOST_CALLS_PER_QUERY * 10 * len(QUERY_METHODS)


# Syncs


def syncs(folder: Path, shares: list[list[bytes]], in_flight: int) -> int:
    """How often a daemon waits for the disk while it records."""
    with TracedDaemon(folder, "--seccomp-bpf", "-e", "trace=fdatasync,fsync") as daemon:
        settled(daemon.socket)
        before = len(calls(daemon.trace))
        load.drive(daemon.socket, shares, in_flight)
        return len(calls(daemon.trace)) - before


def test_a_batch_is_a_sync(tmp_path: Path) -> None:
    needs_strace()
    requests = list(load.batches(load.executions(10 * RECORDS), 500))
    found = syncs(tmp_path, [requests], 1)
    print(f"{found} syncs for {len(requests)} batches")
    assert found <= len(requests) * SYNCS_PER_BATCH


def test_single_records_in_flight_share_syncs(tmp_path: Path) -> None:
    needs_strace()
    requests = list(load.singles(load.executions(RECORDS)))
    found = syncs(tmp_path, [requests], IN_FLIGHT)
    print(f"{found} syncs for {RECORDS} single records")
    assert found <= RECORDS * SYNCS_PER_SINGLE_IN_FLIGHT
