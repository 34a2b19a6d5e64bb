"""What an agent gets from a recorder, and what never happens to it."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pytest

from buddyd.client import Recorder, background
from buddyd.client.background import Statistics
from buddyd.client.segments import HEADER_BYTES
from buddyd.domain.execution import Execution
from buddyd.protocol.messages import ErrorCode, StartExecution
from tests.support.outside import until
from tests.support.peer import Asked, Ledger, Odd, Peer, Reply, refusal, running, unavailable

RECORD = ("order-17", "scout", "web_search", 1.8, True)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@contextmanager
def recording(peer: Peer, spool: Path, **options: float) -> Iterator[Recorder]:
    with Recorder("scout", socket=peer.socket, spool=spool, **options) as recorder:  # type: ignore[arg-type]
        yield recorder


def tasks(ledger: Ledger) -> list[str]:
    """The tasks that were recorded, in order."""
    return [record.task_id for record in ledger.records.values()]


def only(ledger: Ledger) -> Execution:
    [record] = ledger.records.values()
    return record


# Recording


def test_a_record_arrives_with_all_that_was_told(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:
        assert recorder.record_execution(
            *RECORD,
            0.25,
            700,
            "HIGH",
            True,
            cost_estimate=0.5,
            finished_at=1e9,
            execution_id="run-1",
        )
        assert recorder.flush(10)
        assert recorder.statistics == (0, 0, 1, 0, 0)
    assert only(ledger) == Execution(
        execution_id="run-1",
        task_id="order-17",
        agent_id="scout",
        tool_name="web_search",
        duration_seconds=1.8,
        success=True,
        cost_actual=0.25,
        cost_estimate=0.5,
        tokens_used=700,
        human_effort_level="HIGH",
        browser_used=True,
        finished_at=1e9,
    )


def test_threads_share_a_recorder_and_records_go_in_batches(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:

        def work(agent: int) -> None:
            for number in range(250):
                recorder.record_execution(f"{agent}-{number}", f"a{agent}", "tool", 0.1, True)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert recorder.flush(20)
    assert len(ledger.records) == 1000
    assert len(ledger.batches) < 100
    for agent in range(4):
        of_one = [task for task in tasks(ledger) if task.startswith(f"{agent}-")]
        assert of_one == [f"{agent}-{number}" for number in range(250)]


def test_it_does_not_wait_for_a_daemon_that_hangs_and_the_disk_has_the_record_soon(
    spool: Path,
) -> None:
    with running(lambda _: Odd.SILENCE) as peer:
        recorder = Recorder("scout", socket=peer.socket, spool=spool, flush_interval=0.2)
        recorder.record_execution(*RECORD)
        until(lambda: bool(peer.asked), "the daemon to be asked")
        began = time.monotonic()
        recorder.record_execution("order-18", *RECORD[1:])
        assert time.monotonic() - began < 5
        until(lambda: b"order-18" in on_disk(spool), "the record to be on disk", 5)
        recorder.close(timeout=0.1)


def on_disk(spool: Path) -> bytes:
    return b"".join(file.read_bytes() for file in spool.glob("*.spool"))


def test_what_was_recorded_while_the_daemon_was_away_arrives_in_order_with_its_time(
    spool: Path,
) -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        peer.stop()
        with recording(peer, spool) as recorder:
            before = time.time()
            for number in range(5):
                recorder.record_execution(f"t{number}", *RECORD[1:])
                assert not recorder.flush(0.01)
            after = time.time()
            assert recorder.statistics.spooled == 5
            peer.start()
            assert recorder.flush(20)
    assert tasks(ledger) == [f"t{number}" for number in range(5)]
    assert all(before <= record.finished_at <= after for record in ledger.records.values())


def test_a_recorder_delivers_what_dead_processes_left_before_its_own(spool: Path) -> None:
    ledger = Ledger()
    program = """
import os, sys
from buddyd.client import Recorder
recorder = Recorder("scout", socket=sys.argv[1], spool=sys.argv[2])
for number in range(3):
    task = sys.argv[3] + str(number)
    assert recorder.record_execution(task, "scout", "x", 1.0, True, durable=True)
os._exit(9)
"""
    with running(ledger) as peer:
        peer.stop()
        for name in ("a", "b"):
            command = [sys.executable, "-c", program, str(peer.socket), str(spool), name]
            assert subprocess.run(command, check=False).returncode == 9
        peer.start()
        with recording(peer, spool) as recorder:
            recorder.record_execution("own", *RECORD[1:])
            assert recorder.flush(20)
    assert tasks(ledger) == ["a0", "a1", "a2", "b0", "b1", "b2", "own"]
    assert list(spool.iterdir()) == []


def test_an_answer_that_was_lost_makes_no_record_count_twice(spool: Path) -> None:
    ledger = Ledger()
    lost = [Odd.HANG_UP] * 6

    def script(asked: Asked) -> Reply:
        reply = ledger(asked)
        return lost.pop() if lost else reply

    with running(script) as peer, recording(peer, spool) as recorder:
        recorder.record_execution(*RECORD)
        assert recorder.flush(20)
        assert recorder.statistics.delivered == 1
    assert len(ledger.records) == 1
    assert len(ledger.batches) > 6


def test_an_outage_is_said_once(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(lambda _: unavailable(30.0)) as peer:
        recorder = Recorder("scout", socket=peer.socket, spool=spool)
        for _ in range(3):
            recorder.record_execution(*RECORD)
            assert not recorder.flush(0.2)
        recorder.close(0.1)
    assert [record.name for record in caplog.records] == ["buddyd.client"]
    assert "restarting" in caplog.text


# Durable


def test_durable_means_on_disk_when_it_returns(tmp_path: Path, spool: Path) -> None:
    program = """
import os, signal, sys
from buddyd.client import Recorder
recorder = Recorder("scout", socket=sys.argv[1], spool=sys.argv[2], flush_interval=3600)
recorder.record_execution("before", "scout", "x", 1.0, True)
assert recorder.record_execution("durable", "scout", "x", 1.0, True, durable=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "none"), str(spool)]
    assert subprocess.run(command, check=False).returncode == -9
    assert on_disk(spool).index(b"before") < on_disk(spool).index(b"durable")


def test_durable_says_when_it_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a disk the record is kept in memory, and delivered from there."""
    ledger = Ledger()
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    with running(ledger) as peer, recording(peer, no_folder / "spool") as recorder:
        assert not recorder.record_execution(*RECORD, durable=True)
        assert recorder.record_execution(*RECORD)
        assert recorder.flush(20)
    assert len(ledger.records) == 2
    assert "kept in memory" in caplog.text


def test_without_a_descriptor_records_stay_in_memory_until_there_is_one(spool: Path) -> None:
    ledger = Ledger()
    program = """
import os, resource, sys, time
from buddyd.client import Recorder
recorder = Recorder("scout", socket=sys.argv[1], spool=sys.argv[2])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
for number in range(3):
    recorder.record_execution(f"t{number}", "scout", "x", 1.0, True)
    time.sleep(0.1)
assert not recorder.record_execution("t3", "scout", "x", 1.0, True, durable=True)
assert recorder.statistics == (4, 0, 0, 0, 0), recorder.statistics
resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
assert recorder.flush(20)
"""
    with running(ledger) as peer:
        command = [sys.executable, "-c", program, str(peer.socket), str(spool)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert tasks(ledger) == ["t0", "t1", "t2", "t3"]


def test_a_full_spool_turns_away_what_is_new(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        peer.stop()
        with recording(peer, spool, most_bytes=20_000) as recorder:
            for number in range(300):
                recorder.record_execution(f"t{number}", *RECORD[1:], durable=True)
            spooled, dropped = recorder.statistics.spooled, recorder.statistics.dropped
            assert spooled + dropped == 300
            assert dropped > 100
            peer.start()
            assert recorder.flush(20)
    assert tasks(ledger) == [f"t{number}" for number in range(spooled)]
    assert caplog.text.count("is full") == 1


# Wrong arguments


class Hostile:
    def __float__(self) -> float:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("t", "a", "x", -1.0, True), "duration_seconds: Expected a number, at least 0"),
        (("t", "a", "x", float("nan"), True), "duration_seconds"),
        (("t", "a", "x", Hostile(), True), "ZeroDivisionError"),
        (("", "a", "x", 1.0, True), "task_id"),
        ((None, "a", "x", 1.0, True), "task_id"),
        (("t", "a\nb", "x", 1.0, True), "agent_id: Expected text without control characters"),
        (("t", "a", "x" * 257, 1.0, True), "tool_name"),
        (("t", "a", "\ud800", 1.0, True), "UnicodeEncodeError"),
        (("t", "a", "x", 1.0, "yes"), "success"),
        (("t", "a", "x", 1.0, True, 0.0, 1.5), "tokens_used"),
        (("t", "a", "x", 1.0, True, 0.0, 0, "EXTREME"), "human_effort_level"),
        (("t", "a", "x", 1.0, True, 0.0, 10**30), "tokens_used"),
    ],
)
def test_wrong_arguments_are_said_once_and_kept_and_hold_up_nothing(
    spool: Path, caplog: pytest.LogCaptureFixture, arguments: tuple[object, ...], reason: str
) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:
        for _ in range(3):
            recorder.record_execution(*arguments)  # type: ignore[arg-type]  # They are wrong.
        recorder.record_execution(*RECORD)
        assert recorder.flush(20)
        assert recorder.statistics.refused == 3
    assert tasks(ledger) == ["order-17"]
    [warning] = caplog.records
    assert reason in warning.getMessage()
    kept = [json.loads(line) for line in (spool / "refused.jsonl").read_text().splitlines()]
    assert len(kept) == 3
    assert all(reason in entry["reason"] for entry in kept)


def test_a_wrong_call_is_no_error_of_the_agents(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder("scout", socket="/nowhere", spool=spool)
    assert not recorder.record_execution("task")  # type: ignore[call-arg]
    assert not recorder.record_execution(*RECORD, colour="red")  # type: ignore[call-arg]
    assert recorder.statistics.refused == 2
    assert "colour" in caplog.text


class Effort(Enum):
    LOW = 1
    DEMANDING = "high"


class Whole:
    def __index__(self) -> int:
        return 7

    __int__ = __index__


def test_values_of_other_types_count_as_what_they_mean(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:
        recorder.record_execution(
            17,  # type: ignore[arg-type]
            "scout",
            "x",
            Decimal("1.5"),  # type: ignore[arg-type]
            1,  # type: ignore[arg-type]
            Decimal("0.25"),  # type: ignore[arg-type]
            Whole(),  # type: ignore[arg-type]
            Effort.LOW,
        )
        recorder.record_execution(*RECORD, human_effort_level=Effort.DEMANDING)
        recorder.record_execution(*RECORD, human_effort_level="low")
        assert recorder.flush(20)
    first, second, third = ledger.records.values()
    assert (first.task_id, first.duration_seconds, first.success) == ("17", 1.5, True)
    assert (first.cost_actual, first.tokens_used, first.human_effort_level) == (0.25, 7, "LOW")
    assert (second.human_effort_level, third.human_effort_level) == ("HIGH", "LOW")


def test_what_the_daemon_refuses_is_kept_and_the_others_arrive_in_order(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client knows no clock but its own: a record of tomorrow is the daemon's to refuse."""
    ledger = Ledger(now=time.time())
    with running(ledger) as peer:
        peer.stop()
        with recording(peer, spool) as recorder:
            for number in range(20):
                late = 86_400.0 if number in {3, 4, 19} else 0.0
                recorder.record_execution(f"t{number}", *RECORD[1:], finished_at=ledger.now + late)
            peer.start()
            assert recorder.flush(20)
            assert recorder.statistics == (0, 0, 17, 3, 0)
    assert tasks(ledger) == [f"t{n}" for n in range(20) if n not in {3, 4, 19}]
    assert caplog.text.count("300 s ahead") == 1
    kept = [json.loads(line) for line in (spool / "refused.jsonl").read_text().splitlines()]
    assert [entry["execution"]["task_id"] for entry in kept] == ["t3", "t4", "t19"]


def test_a_record_that_the_daemon_fails_on_is_found_and_set_aside(spool: Path) -> None:
    ledger = Ledger()

    def script(asked: Asked) -> Reply:
        bad = any(each.task_id == "bad" for each in getattr(asked.params, "executions", []))
        return refusal(ErrorCode.INTERNAL_ERROR, "It broke.") if bad else ledger(asked)

    with running(script) as peer:
        peer.stop()
        with recording(peer, spool) as recorder:
            for task in ("a", "b", "bad", "c", "d", "e"):
                recorder.record_execution(task, *RECORD[1:])
            peer.start()
            assert recorder.flush(20)
    assert tasks(ledger) == ["a", "b", "c", "d", "e"]


def test_who_may_not_record_loses_nothing(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    replies: list[Reply] = [refusal(ErrorCode.NOT_PERMITTED, "The role record is needed.")]

    def script(asked: Asked) -> Reply:
        return replies[0] if replies else ledger(asked)

    with running(script) as peer, recording(peer, spool) as recorder:
        recorder.record_execution(*RECORD)
        assert not recorder.flush(0.3)
        assert recorder.statistics.spooled == 1
        replies.clear()
        assert recorder.flush(20)
    assert len(ledger.records) == 1
    assert "The role record is needed" in caplog.text


# Runs


def test_a_run_is_measured_and_marks_the_agent_busy(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:
        with recorder.execution("order-17", "web_search") as run:
            began = time.monotonic()
            until(lambda: "start_execution" in peer.methods, "the start to be told")
            run.cost, run.tokens, run.browser_used = 0.5, 100, True
            inside = time.monotonic() - began
        assert recorder.flush(20)
    start = peer.asked[0].params
    assert isinstance(start, StartExecution)
    assert (start.task_id, start.agent_id, start.tool_name) == ("order-17", "scout", "web_search")
    record = only(ledger)
    assert record.success
    assert record.error_type is None
    assert inside < record.duration_seconds < inside + 5
    assert (record.cost_actual, record.tokens_used, record.browser_used) == (0.5, 100, True)


def test_what_a_run_raises_goes_on_its_way_and_its_class_is_recorded(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:
        with (
            pytest.raises(ConnectionResetError),
            recorder.execution("order-17", "web_search", agent_id="other"),
        ):
            raise ConnectionResetError
        with recorder.execution("order-17", "web_search") as run:
            run.error_type = "timeout"
        assert recorder.flush(20)
    first, second = ledger.records.values()
    assert (first.agent_id, first.success, first.error_type) == (
        "other",
        False,
        "ConnectionResetError",
    )
    assert (second.success, second.error_type) == (False, "timeout")


def test_a_run_that_has_ended_is_not_announced_any_more(spool: Path) -> None:
    """Else the agent would count as busy with it for an hour."""
    ledger = Ledger()
    go_on = threading.Event()

    def script(asked: Asked) -> Reply:
        go_on.wait(10)
        return ledger(asked)

    with running(script) as peer, recording(peer, spool) as recorder:
        recorder.record_execution(*RECORD)
        until(lambda: bool(peer.asked), "the delivery to be under way")
        for _ in range(10):
            with recorder.execution("order-17", "web_search"):
                pass
        go_on.set()
        assert recorder.flush(20)
    assert len(ledger.records) == 11
    assert "start_execution" not in peer.methods


def failing() -> None:
    raise ValueError


async def coroutine(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


def generator(number: int) -> Iterator[int]:
    yield number
    yield number + 1


async def async_generator(number: int) -> AsyncIterator[int]:
    yield number
    yield number + 1


async def use_all(decorate: Callable[..., Callable[..., object]]) -> None:
    assert await decorate("coroutine")(coroutine)(1) == 2  # type: ignore[misc]
    assert list(decorate("generator")(generator)(1)) == [1, 2]  # type: ignore[call-overload]
    found = [item async for item in decorate("async_generator")(async_generator)(1)]  # type: ignore[attr-defined]
    assert found == [1, 2]
    assert decorate("function")(len)("abc") == 3
    with suppress(ValueError):
        decorate("failing")(failing)()
    closed = decorate("closed")(generator)(1)
    assert next(closed) == 1  # type: ignore[call-overload]
    closed.close()  # type: ignore[attr-defined]


def test_a_decorated_function_of_any_kind_is_recorded_with_every_call(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:
        asyncio.run(use_all(recorder.tool))  # type: ignore[arg-type]
        assert recorder.flush(20)
    found = {record.tool_name: record.error_type for record in ledger.records.values()}
    assert found == {
        "coroutine": None,
        "generator": None,
        "async_generator": None,
        "function": None,
        "failing": "ValueError",
        "closed": None,
    }
    assert len(set(tasks(ledger))) == 6


def test_a_decorated_function_keeps_its_name_and_may_tell_its_task(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:

        @recorder.tool("search", task_id=lambda _query, *, task: task, agent_id="other")
        def search(query: str, *, task: str) -> str:
            """Look it up."""
            return query + task

        assert search("q", task="order-17") == "qorder-17"
        assert (search.__name__, search.__doc__) == ("search", "Look it up.")
        assert recorder.flush(20)
    assert (only(ledger).task_id, only(ledger).agent_id) == ("order-17", "other")


def test_a_task_that_cannot_be_worked_out_fails_no_call(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:
        search = recorder.tool("search", task_id=lambda: "never")(str.upper)
        assert search("q") == "Q"
        assert recorder.flush(20)
    assert only(ledger).tool_name == "search"
    assert "The task of a call is not known" in caplog.text


# The ends of processes


def run_agent(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_what_was_recorded_last_is_delivered_at_the_end_of_the_process(spool: Path) -> None:
    ledger = Ledger()
    program = """
import sys
from buddyd.client import Recorder
recorder = Recorder("scout", socket=sys.argv[1], spool=sys.argv[2])
recorder.record_execution("t", "scout", "x", 1.0, True)
"""
    with running(ledger) as peer:
        done = run_agent(program, peer.socket, spool)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(ledger.records) == 1
    assert list(spool.iterdir()) == []


def test_a_process_that_ends_without_a_daemon_is_not_held_up_and_leaves_its_records(
    tmp_path: Path, spool: Path
) -> None:
    program = """
import sys, time
from buddyd.client import Recorder
recorder = Recorder("scout", socket=sys.argv[1], spool=sys.argv[2])
recorder.record_execution("t", "scout", "x", 1.0, True)
began = time.monotonic()
recorder.close(timeout=60)
assert time.monotonic() - began < 30
"""
    done = run_agent(program, tmp_path / "none", spool)
    assert done.returncode == 0, done.stderr
    assert b'"task_id":"t"' in on_disk(spool)


def test_parent_and_children_each_deliver_what_they_recorded_once(spool: Path) -> None:
    """Forked with records in memory, and with the parent's threads at work."""
    ledger = Ledger()
    program = """
import multiprocessing, os, sys
from buddyd.client import Recorder
recorder = Recorder("scout", socket=sys.argv[1], spool=sys.argv[2])

def work(name):
    for number in range(50):
        recorder.record_execution(f"{name}-{number}", "scout", "x", 1.0, True)

work("early")
processes = [multiprocessing.get_context("fork").Process(target=work, args=[f"c{n}"])
             for n in range(3)]
work("before")
for process in processes:
    process.start()
work("after")
for process in processes:
    process.join()
child = os.fork()
if child == 0:
    work("bare")
    recorder.close()
    os._exit(0)
os.waitpid(child, 0)
"""
    with running(ledger) as peer:
        done = run_agent(program.replace("-W", ""), peer.socket, spool)
    assert (done.returncode, done.stderr) == (0, "")
    names = ("early", "before", "after", "c0", "c1", "c2", "bare")
    assert sorted(tasks(ledger)) == sorted(f"{n}-{i}" for n in names for i in range(50))
    assert list(spool.iterdir()) == []


def test_a_closed_recorder_begins_anew(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        recorder = Recorder("scout", socket=peer.socket, spool=spool)
        for number in range(3):
            recorder.record_execution(f"t{number}", *RECORD[1:])
            recorder.close()
            assert threading.active_count() < 20
        assert recorder.statistics.delivered == 3
    assert len(ledger.records) == 3


def test_nothing_is_lost_to_a_close_while_others_record(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        recorder = Recorder("scout", socket=peer.socket, spool=spool)
        stop = threading.Event()
        counts: list[int] = []

        def work(agent: int) -> None:
            number = 0
            while not stop.is_set():
                number += recorder.record_execution(f"{agent}-{number}", *RECORD[1:])
                time.sleep(0.0005)
            counts.append(number)

        threads = [threading.Thread(target=work, args=[agent]) for agent in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            recorder.close()
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join(10)
        assert recorder.flush(20)
        recorder.close()
    assert len(ledger.records) == sum(counts)


def test_refusals_of_many_threads_are_all_counted(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*counts: int, **named: int) -> Statistics:
        time.sleep(0.001)  # Another thread has its turn just before a sum is known.
        return Statistics(*counts, **named)

    monkeypatch.setattr(background, "Statistics", slow)
    place = background.Place(spool / "s", spool, 1)
    refusing = background.Background(place, 0.0, lambda: None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(refusing.refuse, ["wrong"] * 40))
    assert refusing.statistics.refused == 40


def test_a_segment_that_another_program_truncated_holds_up_no_other_record(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        peer.stop()
        with recording(peer, spool) as recorder:
            for number in range(3):
                recorder.record_execution(f"lost-{number}", *RECORD[1:])
            assert not recorder.flush(0.2)
            [segment] = spool.glob("*.spool")
            os.truncate(segment, HEADER_BYTES)
            peer.start()
            assert recorder.flush(10)
            assert recorder.statistics == (0, 0, 0, 0, 3)
            recorder.record_execution("kept", *RECORD[1:])
            assert recorder.flush(10)
            assert recorder.statistics == (0, 0, 1, 0, 3)
    assert tasks(ledger) == ["kept"]
    assert any(f"truncated {segment}" in record.getMessage() for record in caplog.records)


def test_what_is_recorded_after_a_segment_was_truncated_is_delivered(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        peer.stop()
        with recording(peer, spool) as recorder:
            for number in range(5):
                recorder.record_execution(f"lost-{number}", *RECORD[1:])
            assert not recorder.flush(0.2)
            [segment] = spool.glob("*.spool")
            os.truncate(segment, HEADER_BYTES + 10)
            recorder.record_execution("kept", *RECORD[1:])
            assert not recorder.flush(0.2)
            peer.start()
            assert recorder.flush(10)
            assert recorder.statistics.spooled == 0
    assert tasks(ledger) == ["kept"]


def test_what_was_delivered_does_not_pile_up_on_disk(spool: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, recording(peer, spool) as recorder:
        for _ in range(5):
            for _ in range(500):
                recorder.record_execution(*RECORD)
            assert recorder.flush(20)
            assert len(on_disk(spool)) < 2**16
    assert len(ledger.records) == 2500


def test_a_flush_does_not_wait_for_what_is_recorded_after_it(spool: Path) -> None:
    ledger = Ledger()
    stop = threading.Event()
    with running(ledger) as peer, recording(peer, spool) as recorder:

        def work() -> None:
            while not stop.is_set():
                recorder.record_execution(*RECORD)
                time.sleep(0.0001)

        worker = threading.Thread(target=work)
        worker.start()
        recorder.record_execution("mine", *RECORD[1:])
        assert recorder.flush(20)
        assert "mine" in tasks(ledger)
        stop.set()
        worker.join(10)


def test_an_idle_recorder_has_no_thread(spool: Path) -> None:
    before = threading.enumerate()
    recorder = Recorder("scout", socket="/nowhere", spool=spool)
    assert recorder.flush()
    assert not set(threading.enumerate()) - set(before)
    recorder.close()
    assert not spool.exists()


def test_the_import_brings_little() -> None:
    """To load msgspec takes longer than to record a million executions."""
    program = (
        "import sys; before = set(sys.modules); import buddyd.client as c; c.Recorder('a', "
        "socket='/x');"
        "new = set(sys.modules) - before;"
        "print(len(new), new & {'msgspec', 'socket', 'logging', 'inspect', 'json', 'anyio'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    count, found = done.stdout.split(" ", 1)
    assert found.strip() == "set()"
    assert int(count) < 60


def test_the_default_agent_is_the_user_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDDYD_AGENT", "")
    monkeypatch.setenv("LOGNAME", "ann")
    assert Recorder(socket="/x").agent_id == f"ann@{os.uname().nodename}"
    monkeypatch.setenv("BUDDYD_AGENT", "scout")
    assert Recorder(socket="/x").agent_id == "scout"
