"""Subscriptions to a real daemon: each execution once and in order, and nobody is slowed down."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from buddyd.client import (
    AsyncClient,
    Changed,
    Client,
    ConnectionLost,
    DaemonError,
    ExecutionCommitted,
    Missed,
)
from buddyd.domain.answers import StoredExecution
from buddyd.protocol.framing import Encoding
from tests.support.outside import Client as RawClient
from tests.support.outside import ObservedDaemon, until
from tests.support.process import execution
from tests.support.samples import execution as sample

BATCH = 50


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ObservedDaemon]:
    with ObservedDaemon(tmp_path) as daemon:
        yield daemon


def record(
    daemon: ObservedDaemon, name: str, count: int, batch: int = BATCH, **fields: object
) -> None:
    """Record `count` executions in batches, their ids being `name` and a number."""
    with Client(daemon.socket, timeout=60) as client:
        for begin in range(0, count, batch):
            numbers = range(begin, min(begin + batch, count))
            client.record_executions(
                sample(execution_id=f"{name}-{n}", agent_id=name, **fields) for n in numbers
            )


def record_all(daemon: ObservedDaemon, names: str, count: int) -> None:
    """One writer for each letter, all at once."""
    writers = [threading.Thread(target=record, args=(daemon, name, count)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


def assert_once_and_in_order(told: list[ExecutionCommitted], names: str, count: int) -> None:
    commits = [each.commit for each in told]
    assert commits == sorted(set(commits))
    for name in names:
        mine = [e.execution.execution_id for e in told if e.execution.agent_id == name]
        assert mine == [f"{name}-{n}" for n in range(count)]


def executions(events: Iterator[object], count: int) -> list[ExecutionCommitted]:
    """The next `count` of them; nothing else comes between."""
    taken = list(itertools.islice(events, count))
    assert all(isinstance(each, ExecutionCommitted) for each in taken)
    return taken  # type: ignore[return-value]


def test_a_subscriber_sees_every_execution_once_in_the_order_of_commits(
    daemon: ObservedDaemon,
) -> None:
    record(daemon, "before", 10)
    with Client(daemon.socket).subscribe("execution") as events:
        assert events.subscribed.commits == 10
        record_all(daemon, "abcd", 400)
        told = executions(events, 1600)
    assert_once_and_in_order(told, "abcd", 400)
    with Client(daemon.socket) as client:
        stored: dict[str, StoredExecution] = {
            each.execution_id: each for each in client.get_executions(limit=10_000).executions
        }
    assert all(stored[each.execution.execution_id] == each.execution for each in told)


@pytest.mark.anyio
async def test_the_asynchronous_client_sees_the_same(daemon: ObservedDaemon) -> None:
    told: list[ExecutionCommitted] = []
    async with (
        AsyncClient(daemon.socket) as client,
        await client.subscribe("execution") as events,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(anyio.to_thread.run_sync, record_all, daemon, "ab", 200)
        with anyio.fail_after(30):
            async for event in events:
                assert isinstance(event, ExecutionCommitted)
                told.append(event)
                if len(told) == 400:
                    break
    assert_once_and_in_order(told, "ab", 200)


def test_only_what_was_asked_for_comes(daemon: ObservedDaemon) -> None:
    client = Client(daemon.socket)
    with (
        client.subscribe("execution", agent_id="b", success=False) as failures,
        client.subscribe("changed") as changes,
    ):
        record(daemon, "a", 5)
        record(daemon, "b", 5)
        record(daemon, "c", 5, success=False)
        with Client(daemon.socket) as other:
            other.record_execution(sample(execution_id="it", agent_id="b", success=False))
        assert executions(failures, 1)[0].execution.execution_id == "it"
        while (changed := next(changes)) != Changed(
            subscription=2,
            answers=["agents", "capacity", "pipeline", "costs", "learning", "risks"],
            commits=16,
        ):
            assert isinstance(changed, Changed)


def test_a_duplicate_is_not_told_again(daemon: ObservedDaemon) -> None:
    with Client(daemon.socket).subscribe("execution") as events:
        record(daemon, "a", 3)
        record(daemon, "a", 4)
        told = [each.execution.execution_id for each in executions(events, 4)]
    assert told == ["a-0", "a-1", "a-2", "a-3"]


def test_names_are_told_as_they_are_though_they_count_as_others(tmp_path: Path) -> None:
    config = tmp_path / "buddyd.toml"
    config.write_text("[limits]\nmax_tools = 1\n")
    with ObservedDaemon(tmp_path, "--config", str(config)) as daemon:
        with Client(daemon.socket).subscribe("execution", tool_name="second") as events:
            daemon.call("record_execution", **execution(tool_name="first"))
            daemon.call("record_execution", **execution(tool_name="second"))
            (told,) = executions(events, 1)
        assert told.execution.tool_name == "second"
        answer = daemon.call("get_task_pipeline")["result"]["last_24_hours"]
        assert set(answer["tool_breakdown"]) == {"first", "~other"}


@pytest.mark.parametrize("encoding", Encoding)
def test_after_unsubscribing_only_answers_come(daemon: ObservedDaemon, encoding: Encoding) -> None:
    with RawClient(daemon.socket, encoding) as client:
        number = client.ask("subscribe", events=["execution"])["result"]["subscription"]
        record(daemon, "a", 1)
        assert client.hear()["params"]["execution"]["execution_id"] == "a-0"
        assert client.ask("unsubscribe", subscription=number)["result"] == {}
        record(daemon, "b", 1)
        assert "result" in client.ask("ping")
        wrong = client.ask("unsubscribe", subscription=number)["error"]
        assert (wrong["code"], wrong["data"]["path"]) == (-32602, "$.subscription")


def test_a_wrong_subscription_is_refused_in_words(daemon: ObservedDaemon) -> None:
    client = Client(daemon.socket)
    with pytest.raises(DaemonError, match="length of at least 1"):
        client.subscribe()
    with pytest.raises(DaemonError, match="expected execution or changed, got 'cost'"):
        client.subscribe("cost")  # type: ignore[arg-type]


def test_a_reader_that_stops_is_told_how_many_it_missed_while_the_daemon_goes_on(
    daemon: ObservedDaemon,
) -> None:
    count = 12_000

    def seconds(work: Callable[[], None]) -> float:
        began = time.monotonic()
        work()
        return time.monotonic() - began

    alone = seconds(lambda: record(daemon, "x", count, batch=400))
    with Client(daemon.socket).subscribe("execution") as stopped:
        before = daemon.figures().memory_bytes
        watched = seconds(lambda: record(daemon, "y", count, batch=400))
        grown = daemon.figures().memory_bytes - before
        missed, told = 0, 0
        for event in stopped:
            if isinstance(event, Missed):
                missed += event.count
            else:
                assert isinstance(event, ExecutionCommitted)
                # What is told and what was missed make up all that there was, in its place.
                assert event.execution.execution_id == f"y-{told + missed}"
                told += 1
            if told + missed == count:
                break
    print(f"alone {alone:.2f} s, with one that stopped {watched:.2f} s, grown by {grown:,} bytes")
    assert 0 < missed < count
    assert told >= 4096
    assert grown < 40 * 2**20
    # Not a measurement: it would take minutes if anybody waited for the reader.
    assert watched < 5 * alone + 5


def test_a_restart_ends_the_subscription_and_a_new_one_begins_where_it_left_off(
    daemon: ObservedDaemon,
) -> None:
    events = Client(daemon.socket).subscribe("execution")
    record(daemon, "a", 2)
    told = executions(events, 2)
    assert daemon.stop() == 0
    with pytest.raises(ConnectionLost, match="has hung up"):
        next(events)
    events.close()
    daemon.start()
    with Client(daemon.socket).subscribe("execution") as again:
        assert again.subscribed.commits == told[-1].commit
        record(daemon, "b", 1)
        assert executions(again, 1)[0].commit == told[-1].commit + 1


def test_the_daemon_stops_at_once_though_a_subscriber_does_not_read(
    daemon: ObservedDaemon,
) -> None:
    with Client(daemon.socket).subscribe("execution"):
        record(daemon, "a", 3000)
        began = time.monotonic()
        assert daemon.stop() == 0
        # Sessions that are owed an answer get ten seconds; this one is owed none.
        assert time.monotonic() - began < 8


def test_connections_that_end_leave_nothing_behind(daemon: ObservedDaemon) -> None:
    client = Client(daemon.socket)
    for _ in range(300):
        client.subscribe("execution", "changed").close()

    def all_gone() -> bool:
        return bool(daemon.call("get_daemon_status")["result"]["connections"] == 1)

    until(all_gone, "the connections to end")
    # More than there may be at once: none of those is left.
    with client.subscribe("execution") as events:
        record(daemon, "a", 1)
        executions(events, 1)
