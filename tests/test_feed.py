"""The feed: what subscribers are told, in which order, and what a slow one misses."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd import feed as module
from buddyd.domain.execution import Execution
from buddyd.domain.journal import AgentReported, BudgetReported, JournalEntry
from buddyd.errors import InvalidParams, Unavailable
from buddyd.feed import SIX, Feed
from buddyd.protocol.framing import Encoding
from buddyd.protocol.messages import Subscribe
from buddyd.server.outlet import MOST_UNSENT_NOTIFIED, Outlet
from buddyd.storage.appending import Appended
from tests.server.conversation import until
from tests.storage.records import NOW
from tests.support.workloads import examples

EXECUTIONS = Subscribe(events=["execution"])
CHANGES = Subscribe(events=["changed"])


class Reader:
    """A connection whose client reads when it is told to."""

    def __init__(self, encoding: Encoding = Encoding.JSON) -> None:
        self.told: list[dict[str, Any]] = []
        self.unsent = 0
        self.outlet = Outlet(encoding, lambda: self.unsent, self._take)

    def _take(self, data: bytes) -> None:
        self.unsent += len(data)
        json = self.outlet.encoding is Encoding.JSON
        self.told.append(msgspec.json.decode(data) if json else msgspec.msgpack.decode(data[4:]))

    def read(self) -> None:
        """Take in all that was sent."""
        self.unsent = 0
        self.outlet.emptied()

    def stop_reading(self) -> None:
        self.unsent = MOST_UNSENT_NOTIFIED

    @property
    def commits(self) -> list[int]:
        """The numbers of the executions that were told."""
        return [each["params"]["commit"] for each in self.told if each["method"] == "execution"]


def row(number: int, **fields: object) -> tuple[int, Execution]:
    values = {
        "execution_id": f"run-{number}",
        "task_id": "task",
        "agent_id": "ann",
        "tool_name": "search",
        "finished_at": NOW,
        "duration_seconds": 1.0,
        "success": True,
    }
    return number, Execution(**(values | fields))  # type: ignore[arg-type]


def committed(*rows: tuple[int, Execution]) -> Appended:
    return appended(rows[0][0], rows[-1][0], rows)


def appended(
    first: int,
    last: int,
    rows: Sequence[tuple[int, Execution]] = (),
    events: Sequence[JournalEntry] = (),
) -> Appended:
    return Appended(
        first_seq=first,
        last_seq=last,
        recorded_at=NOW,
        receipts=[],
        seqs=[seq for seq, _ in rows],
        executions=[execution for _, execution in rows],
        agents=[],
        tools=[],
        events=list(events),
    )


def heartbeat(number: int) -> Appended:
    report = AgentReported(number, NOW, "ann", queue_depth=0, status=None, concurrency=None)
    return appended(number, number, events=[report])


@asynccontextmanager
async def running(clock: Iterator[float] | None = None) -> AsyncIterator[Feed]:
    feed = Feed((lambda: NOW) if clock is None else (lambda: next(clock)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        yield feed
        tasks.cancel_scope.cancel()


async def settle() -> None:
    await anyio.wait_all_tasks_blocked()


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", Encoding)
async def test_an_execution_is_told_with_all_its_members_in_the_readers_encoding(
    encoding: Encoding,
) -> None:
    reader = Reader(encoding)
    async with running() as feed:
        answer = feed.subscribe(EXECUTIONS, reader.outlet, 41)
        feed.publish(committed(row(42, error_type="timeout", success=False)))
        await settle()
    (told,) = reader.told
    assert answer.commits == 41
    assert list(told) == ["jsonrpc", "method", "params"]
    assert told["params"] == {
        "subscription": answer.subscription,
        "commit": 42,
        "execution": {
            "execution_id": "run-42",
            "task_id": "task",
            "agent_id": "ann",
            "tool_name": "search",
            "duration_seconds": 1.0,
            "success": False,
            "finished_at": NOW,
            "cost_actual": 0.0,
            "cost_estimate": 0.0,
            "tokens_used": 0,
            "human_effort_level": "MEDIUM",
            "browser_used": False,
            "error_type": "timeout",
        },
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"agent_id": "bob"}, [2, 4]),
        ({"tool_name": "browse"}, [3, 4]),
        ({"task_id": "other"}, [1]),
        ({"success": False}, [3]),
        ({"agent_id": "bob", "tool_name": "browse"}, [4]),
        ({"agent_id": "nobody"}, []),
        ({}, [1, 2, 3, 4]),
    ],
)
async def test_only_what_fits_is_told(wanted: dict[str, Any], numbers: list[int]) -> None:
    reader = Reader()
    async with running() as feed:
        feed.subscribe(Subscribe(events=["execution"], **wanted), reader.outlet, 0)
        feed.publish(
            committed(
                row(1, task_id="other"),
                row(2, agent_id="bob"),
                row(3, tool_name="browse", success=False),
                row(4, agent_id="bob", tool_name="browse"),
            )
        )
        await settle()
    assert reader.commits == numbers


@pytest.mark.anyio
async def test_what_was_committed_before_the_subscription_is_not_told() -> None:
    early, late = Reader(), Reader()
    async with running() as feed:
        feed.subscribe(EXECUTIONS, early.outlet, 0)
        feed.publish(committed(row(1), row(2)))
        # The feed has not had its turn yet.
        feed.subscribe(EXECUTIONS, late.outlet, 2)
        feed.publish(committed(row(3)))
        await settle()
    assert early.commits == [1, 2, 3]
    assert late.commits == [3]


@pytest.mark.anyio
async def test_a_reader_that_stops_for_a_while_misses_nothing() -> None:
    reader = Reader()
    async with running() as feed:
        feed.subscribe(EXECUTIONS, reader.outlet, 0)
        reader.stop_reading()
        for number in range(1, 1001):
            feed.publish(committed(row(number)))
        await settle()
        assert reader.told == []
        while len(reader.commits) < 1000:
            reader.read()
            await settle()
    assert reader.commits == list(range(1, 1001))


@pytest.mark.anyio
async def test_one_that_stops_for_too_long_is_told_how_many_it_missed_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    slow, fast = Reader(), Reader()
    async with running() as feed:
        feed.subscribe(Subscribe(events=["execution"], success=True), slow.outlet, 0)
        feed.subscribe(EXECUTIONS, fast.outlet, 0)
        feed.publish(committed(row(1)))
        await settle()
        slow.stop_reading()
        for number in range(2, 32):
            feed.publish(committed(row(number, success=number % 2 == 0)))
            await settle()
            fast.read()
        assert len(feed._queue) == 10
        slow.read()
        await settle()
    assert fast.commits == list(range(1, 32))
    # 22 to 31 wait; of 2 to 21 the even ones would have been told.
    assert slow.commits == [1, 22, 24, 26, 28, 30]
    assert [each["method"] for each in slow.told] == ["execution", "missed"] + ["execution"] * 5
    assert slow.told[1]["params"] == {"subscription": 1, "count": 10}


@pytest.mark.anyio
@examples(30)
@given(st.lists(st.integers(-30, 30).filter(bool), max_size=15))
async def test_whatever_its_pace_a_reader_is_told_each_one_or_that_it_missed_it(
    steps: list[int],
) -> None:
    """A step is so many commits, or one reading of what has come."""
    reader, last = Reader(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_WAITING", 20)
        patch.setattr("buddyd.server.outlet.MOST_UNSENT_NOTIFIED", 2000)
        async with running() as feed:
            feed.subscribe(EXECUTIONS, reader.outlet, 0)
            for step in [*steps, *[-1] * 8]:
                if step < 0:
                    reader.read()
                else:
                    feed.publish(committed(*(row(last + n) for n in range(1, step + 1))))
                    last += step
                await settle()
    expected = 1
    for told in reader.told:
        if told["method"] == "missed":
            expected += told["params"]["count"]
        else:
            assert told["params"]["commit"] == expected
            expected += 1
    assert expected == last + 1


@pytest.mark.anyio
async def test_changes_are_told_at_once_and_then_at_most_so_often() -> None:
    reader = Reader()
    async with running() as feed:
        feed.subscribe(CHANGES, reader.outlet, 0)
        began = anyio.current_time()
        feed.publish(heartbeat(1))
        await settle()
        assert [each["params"]["answers"] for each in reader.told] == [
            ["agents", "capacity", "pipeline", "risks"]
        ]
        for number in range(2, 100):
            feed.publish(committed(row(number)))
            await settle()
        if anyio.current_time() - began < module.CHANGED_SECONDS:
            assert len(reader.told) == 1
        await until(lambda: len(reader.told) >= 2)
        assert anyio.current_time() - began >= module.CHANGED_SECONDS
    assert reader.told[1]["params"]["answers"] == list(SIX)
    assert reader.told[-1]["params"]["commits"] == 99


@pytest.mark.anyio
async def test_a_reader_that_stopped_is_told_once_of_all_that_changed_meanwhile() -> None:
    reader = Reader()
    async with running() as feed:
        feed.subscribe(CHANGES, reader.outlet, 0)
        reader.stop_reading()
        feed.publish(heartbeat(1))
        await settle()
        feed.all_changed()
        await anyio.sleep(module.CHANGED_SECONDS)
        await settle()
        reader.read()
        await settle()
    assert [each["params"]["answers"] for each in reader.told] == [list(SIX)]


@pytest.mark.anyio
async def test_a_report_of_money_changes_the_costs_and_the_risks_alone() -> None:
    reader = Reader()
    given = {"service": "llm", "limit": 1, "period": "day", "spent": 1}
    report = BudgetReported(seq=1, recorded_at=NOW, **given)  # type: ignore[arg-type]
    async with running() as feed:
        feed.subscribe(CHANGES, reader.outlet, 0)
        feed.publish(appended(report.seq, report.seq, events=[report]))
        await until(lambda: bool(reader.told))
    assert [each["params"]["answers"] for each in reader.told] == [["costs", "risks"]]


@pytest.mark.anyio
async def test_at_the_turn_of_a_minute_everything_has_changed() -> None:
    now = [NOW - NOW % 60 + 59.99]

    def clock() -> Iterator[float]:
        while True:
            yield now[0]

    reader = Reader()
    async with running(clock()) as feed:
        feed.subscribe(CHANGES, reader.outlet, 0)
        await settle()
        assert reader.told == []
        now[0] += 0.02
        await until(lambda: bool(reader.told))
    assert reader.told[0]["params"]["answers"] == list(SIX)


@pytest.mark.anyio
async def test_after_the_end_nothing_is_told_and_nothing_is_kept() -> None:
    gone, left, stays = Reader(), Reader(), Reader()
    async with running() as feed:
        feed.subscribe(EXECUTIONS, gone.outlet, 0)
        number = feed.subscribe(EXECUTIONS, left.outlet, 0).subscription
        kept = feed.subscribe(EXECUTIONS, stays.outlet, 0).subscription
        with pytest.raises(InvalidParams):
            feed.unsubscribe(number, stays.outlet)
        gone.outlet.end()
        feed.unsubscribe(number, left.outlet)
        feed.publish(committed(row(1)))
        await settle()
        assert (gone.told, left.told, stays.commits) == ([], [], [1])
        feed.unsubscribe(kept, stays.outlet)
        feed.publish(committed(row(2)))
        await settle()
        assert (feed._subscriptions, len(feed._queue), feed._news) == ({}, 0, [])
    assert stays.commits == [1]


@pytest.mark.anyio
async def test_there_is_a_limit_for_each_connection_and_one_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_PER_CONNECTION", 2)
    monkeypatch.setattr(module, "MOST_IN_ALL", 3)
    first, second = Reader(), Reader()
    feed = Feed(lambda: NOW)
    for reader in (first, first, second):
        feed.subscribe(CHANGES, reader.outlet, 0)
    with pytest.raises(InvalidParams, match="2 subscriptions"):
        feed.subscribe(CHANGES, first.outlet, 0)
    with pytest.raises(Unavailable):
        feed.subscribe(CHANGES, second.outlet, 0)
    first.outlet.end()
    feed.subscribe(CHANGES, second.outlet, 0)


@pytest.mark.anyio
async def test_a_fault_in_one_batch_does_not_end_the_feed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHANGED_SECONDS", 0.01)
    reader = Reader()
    async with running() as feed:
        feed.subscribe(EXECUTIONS, reader.outlet, 0)
        feed.publish(committed(("no", "row")))
        feed.publish(committed(row(2)))
        await until(lambda: reader.commits == [2])
