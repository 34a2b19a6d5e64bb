"""What both clients do, over a real socket."""

import math
import socket
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from buddyd.client import (
    AsyncClient,
    Call,
    Client,
    ConnectionLost,
    DaemonError,
    NotRunning,
    TimedOut,
    Unavailable,
    Unreachable,
    calls,
)
from buddyd.domain.answers import Answer
from buddyd.domain.execution import Execution
from buddyd.protocol.framing import Encoding, encode_error
from buddyd.protocol.messages import METHODS, ErrorCode, GetExecutions
from tests.support.peer import (
    Asked,
    Ledger,
    Odd,
    Reply,
    in_background,
    refusal,
    running,
    unavailable,
)
from tests.support.samples import ANSWERS, PONG, RECEIPT, execution

Ask = Callable[..., list[Answer]]


def ask_blocking(socket: Path, *asked: Call[Answer], timeout: float = 5.0) -> list[Answer]:
    with Client(socket, timeout=timeout) as client:
        return [client.call(call) for call in asked]


def ask_awaiting(socket: Path, *asked: Call[Answer], timeout: float = 5.0) -> list[Answer]:
    async def ask() -> list[Answer]:
        async with AsyncClient(socket, timeout=timeout) as client:
            return [await client.call(call) for call in asked]

    return anyio.run(ask)


@pytest.fixture(params=[ask_blocking, ask_awaiting], ids=["Client", "AsyncClient"])
def ask(request: pytest.FixtureRequest) -> Ask:
    asking: Ask = request.param
    return asking


EXAMPLES: dict[str, Call[Answer]] = {
    "record_execution": calls.record_execution(execution()),
    "record_executions": calls.record_executions([execution(), execution()]),
    "start_execution": calls.start_execution("task-1", "scout", "web_search", started_at=1e9),
    "report_agent": calls.report_agent("scout", queue_depth=3, status="BUSY", concurrency=2),
    "report_costs": calls.report_costs("tracker", 1.5, mission_id="m-7", since=1e9, until=2e9),
    "report_budget": calls.report_budget("llm", 20.0, 8.4, period="day"),
    "get_executions": calls.get_executions(tool_name="web_search", success=False, before="7"),
    "get_hourly_summaries": calls.get_hourly_summaries(since=0.0),
    "backup": calls.backup("/var/backups/buddyd.db"),
    "subscribe": calls.subscribe("execution", tool_name="web_search", success=False),
    "unsubscribe": calls.unsubscribe(1),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_reaches_the_daemon_and_brings_its_answer(ask: Ask, method: str) -> None:
    call = EXAMPLES.get(method) or getattr(calls, method)()
    with running(lambda asked: ANSWERS[asked.method]) as peer:
        assert ask(peer.socket, call) == [ANSWERS[method]]
        assert peer.asked == [Asked(method, call.params)]


def test_one_connection_serves_many_calls(ask: Ask) -> None:
    with running(lambda _: PONG) as peer:
        ask(peer.socket, *[calls.ping()] * 5)
        assert peer.connections == 1


def test_a_refusal_is_raised_with_code_path_and_reason_and_leaves_the_connection(ask: Ask) -> None:
    with (
        running(lambda _: PONG) as peer,
        pytest.raises(DaemonError, match="limit") as raised,
    ):
        ask(peer.socket, Call(GetExecutions(limit=0)))
    assert raised.value.code == ErrorCode.INVALID_PARAMS
    assert raised.value.path == "$.limit"
    assert raised.value.reason == "Expected a whole number, at least 1"


def test_a_recording_whose_answer_was_lost_is_sent_again_and_counts_once(ask: Ask) -> None:
    ledger = Ledger()
    answers = [Odd.HANG_UP]

    def record_then_hang_up(asked: Asked) -> Reply:
        reply = ledger(asked)
        return answers.pop() if answers else reply

    with running(record_then_hang_up) as peer:
        [receipt] = ask(peer.socket, calls.record_execution(execution()))
        assert peer.connections == 2
    assert len(ledger.records) == 1
    assert (receipt.accepted, receipt.duplicates) == (0, 1)  # type: ignore[attr-defined]


def test_a_connection_that_is_always_lost_is_told(ask: Ask) -> None:
    with (
        running(lambda _: Odd.HANG_UP) as peer,
        pytest.raises(ConnectionLost, match=f"{peer.socket} ended the connection"),
    ):
        ask(peer.socket, calls.ping())
    assert peer.connections == 4


def test_a_backup_is_not_begun_twice(ask: Ask) -> None:
    with running(lambda _: Odd.HANG_UP) as peer, pytest.raises(ConnectionLost):
        ask(peer.socket, calls.backup("/b"))
    assert peer.methods == ["backup"]


def test_what_is_unavailable_for_now_is_asked_again_after_the_time_that_was_named(ask: Ask) -> None:
    replies: list[Reply] = [PONG, unavailable(0.05), unavailable(0.05)]
    with running(lambda _: replies.pop()) as peer:
        began = time.monotonic()
        assert ask(peer.socket, calls.ping()) == [PONG]
        assert time.monotonic() - began >= 0.1
        assert len(peer.asked) == 3


def test_what_stays_unavailable_is_told_without_waiting_in_vain(ask: Ask) -> None:
    began = time.monotonic()
    with (
        running(lambda _: unavailable(30.0)) as peer,
        pytest.raises(Unavailable, match="restarting") as raised,
    ):
        ask(peer.socket, calls.ping())
    assert raised.value.retry_after_seconds == 30.0
    assert time.monotonic() - began < 5


def test_a_daemon_that_says_nothing_is_waited_for_no_longer_than_the_limit(ask: Ask) -> None:
    with (
        running(lambda _: Odd.SILENCE) as peer,
        pytest.raises(TimedOut, match=r"no answer within 0\.1 s"),
    ):
        ask(peer.socket, calls.ping(), timeout=0.1)


def test_no_daemon_is_told_with_the_socket_and_how_to_start_one(ask: Ask, tmp_path: Path) -> None:
    missing = tmp_path / "none.sock"
    with pytest.raises(NotRunning) as raised:
        ask(missing, calls.ping())
    assert str(missing) in str(raised.value)
    assert "`systemctl start buddyd` or `buddyd`" in str(raised.value)


def test_a_socket_that_a_dead_daemon_left_behind_is_no_daemon(ask: Ask) -> None:
    with running(lambda _: PONG) as peer:
        peer.stop()
        assert stat.S_ISSOCK(peer.socket.stat().st_mode)
        with pytest.raises(NotRunning):
            ask(peer.socket, calls.ping())


def test_a_path_that_no_socket_can_have_is_told(ask: Ask) -> None:
    with pytest.raises(Unreachable, match="too long"):
        ask(Path("/" + "x" * 200), calls.ping())


def test_something_else_at_the_socket_is_told(ask: Ask) -> None:
    with (
        running(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as peer,
        pytest.raises(Unreachable, match="does not speak the protocol"),
    ):
        ask(peer.socket, calls.ping())


def test_why_a_message_was_too_large_is_told_although_the_daemon_hung_up(ask: Ask) -> None:
    """The daemon answers and closes before it has read all of the request."""
    with running(lambda _: PONG) as peer:
        peer.stop()
        peer.socket.unlink()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(peer.socket))
            listener.listen()
            many = calls.record_executions([execution(task_id="x" * 200)] * 20_000)
            with (
                in_background(partial(_refuse_unread, listener)),
                pytest.raises(DaemonError, match="at most"),
            ):
                ask(peer.socket, many)


def test_a_daemon_restarted_between_two_calls_goes_unnoticed() -> None:
    with running(lambda _: RECEIPT) as peer, Client(peer.socket) as client:
        client.record_execution(execution())
        peer.hang_up()
        peer.stop()
        peer.start()
        assert client.record_execution(execution()) == RECEIPT


@pytest.mark.anyio
async def test_a_daemon_restarted_between_two_awaited_calls_goes_unnoticed() -> None:
    with running(lambda _: RECEIPT) as peer:
        async with AsyncClient(peer.socket) as client:
            await client.record_execution(execution())
            peer.hang_up()
            peer.stop()
            peer.start()
            assert await client.record_execution(execution()) == RECEIPT


def test_an_execution_says_all_that_it_was_given() -> None:
    full = Execution(
        execution_id="e-1",
        task_id="t",
        agent_id="a",
        tool_name="w",
        duration_seconds=1.5,
        success=False,
        finished_at=1e9,
        cost_actual=0.25,
        cost_estimate=0.5,
        tokens_used=7,
        human_effort_level="HIGH",
        browser_used=True,
        error_type="timeout",
    )
    with running(lambda _: RECEIPT) as peer, Client(peer.socket) as client:
        client.record_execution(full)
        assert peer.asked[0].params == full


def _refuse_unread(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1024)
        error = refusal(ErrorCode.INVALID_REQUEST, "A message may have at most 8388608 bytes.")
        connection.sendall(encode_error(Encoding.MSGPACK, None, error))


@pytest.mark.parametrize("timeout", [3_000_000, 1e12, math.inf])
def test_a_time_limit_may_be_as_long_as_one_likes(ask: Ask, timeout: float) -> None:
    def script(_: Asked) -> Reply:
        time.sleep(0.01)
        return PONG

    with running(script) as peer:
        assert ask(peer.socket, calls.ping(), timeout=timeout) == [PONG]
