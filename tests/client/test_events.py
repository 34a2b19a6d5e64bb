"""Subscriptions of both clients: what they give, and how they end."""

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.abc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.client import (
    AsyncClient,
    Changed,
    Client,
    ConnectionLost,
    DaemonError,
    Events,
    ExecutionCommitted,
    Missed,
    NotRunning,
    TimedOut,
    Unavailable,
    calls,
)
from buddyd.client.async_events import AsyncEvents
from buddyd.client.listener import Listener
from buddyd.domain.answers import StoredExecution, Subscribed
from buddyd.protocol.framing import Encoding, encode_error, encode_result, frame
from buddyd.protocol.messages import ErrorCode
from buddyd.protocol.notifications import Event, decode_notification, encode_notification
from tests.support.peer import Odd, Reply, refusal, running, unavailable

SOCKET = Path("/run/buddyd/buddyd.sock")
ANSWER = encode_result(Encoding.MSGPACK, 1, Subscribed(subscription=1, commits=7))
EVENTS: list[Event] = [
    ExecutionCommitted(
        subscription=1,
        commit=8,
        execution=StoredExecution(
            execution_id="run-1",
            task_id="t",
            agent_id="ann",
            tool_name="search",
            duration_seconds=1.5,
            success=False,
            finished_at=1e9,
            cost_actual=0.25,
            cost_estimate=0.0,
            tokens_used=0,
            human_effort_level="LOW",
            browser_used=True,
            error_type="timeout",
        ),
    ),
    Missed(subscription=1, count=3),
    Changed(subscription=1, answers=["agents", "risks"], commits=11),
]
STREAM = b"".join(encode_notification(Encoding.MSGPACK, event) for event in EVENTS)


def listener() -> Listener:
    return Listener(SOCKET, calls.subscribe("execution", "changed"))


@given(st.lists(st.integers(0, len(ANSWER + STREAM)), max_size=8))
def test_events_are_told_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    heard, stream = listener(), ANSWER + STREAM
    bounds = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds) if a < b]
    assert [event for piece in pieces for event in heard.hear(piece)] == EVENTS
    assert heard.subscribed == Subscribed(subscription=1, commits=7)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_comes_through_both_encodings(encoding: Encoding, event: Event) -> None:
    wire = encode_notification(encoding, event)
    message = wire[:-1] if encoding is Encoding.JSON else wire[4:]
    assert decode_notification(encoding, message) == event


def test_what_a_later_version_tells_is_passed_over() -> None:
    later = frame(Encoding.MSGPACK, b"\x82\xa6method\xa4news\xa6params\x81\xa1a\x01")
    assert listener().hear(ANSWER + later + STREAM) == EVENTS


def test_the_end_and_garbage_are_told_apart() -> None:
    with pytest.raises(ConnectionLost, match="has hung up"):
        listener().hear(b"")
    heard = listener()
    heard.hear(ANSWER)
    with pytest.raises(ConnectionLost, match="does not speak the protocol"):
        heard.hear(frame(Encoding.MSGPACK, b"\x82\xa6method\xa6missed\xa6params\x80"))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(ErrorCode.NOT_PERMITTED, "The role query is needed."), DaemonError),
        (unavailable(5.0), Unavailable),
        (Odd.HANG_UP, ConnectionLost),
        (Odd.SILENCE, TimedOut),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ConnectionLost),
        (encode_error(Encoding.MSGPACK, None, unavailable(1.0)), Unavailable),
    ],
)
def test_a_subscription_that_cannot_be_had_is_told(reply: Reply, error: type[Exception]) -> None:
    with running(lambda _: reply) as peer:
        with pytest.raises(error):
            Client(peer.socket, timeout=0.2).subscribe("changed")

        async def subscribe() -> None:
            async with AsyncClient(peer.socket, timeout=0.2) as client:
                with pytest.raises(error):
                    await client.subscribe("changed")

        anyio.run(subscribe)


def test_no_daemon_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        Client(tmp_path / "none").subscribe("changed")


@contextmanager
def telling(folder: Path, *pieces: bytes) -> Iterator[Path]:
    """A daemon that answers one subscriber, tells all this, and hangs up."""
    path = folder / "s"

    def tell() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1024)
            for piece in pieces:
                # In pieces of their own, as on a busy host.
                connection.sendall(piece)
                time.sleep(0.01)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=tell)
        thread.start()
        yield path
        thread.join(10)


def test_the_blocking_client_gives_events_until_the_daemon_hangs_up(tmp_path: Path) -> None:
    with (
        telling(tmp_path, ANSWER, STREAM[:100], STREAM[100:]) as path,
        Client(path).subscribe("execution", "changed") as events,
    ):
        assert events.subscribed.commits == 7
        heard: list[Event] = []
        with pytest.raises(ConnectionLost):
            heard.extend(iter(events))
        assert heard == EVENTS


@pytest.mark.anyio
async def test_the_asynchronous_client_gives_the_same(tmp_path: Path) -> None:
    with telling(tmp_path, ANSWER, STREAM[:100], STREAM[100:]) as path:
        async with (
            AsyncClient(path) as client,
            await client.subscribe("execution", "changed") as events,
        ):
            assert events.subscribed.commits == 7
            assert [await anext(events) for _ in EVENTS] == EVENTS
            with pytest.raises(ConnectionLost):
                await anext(events)


def hung_up(*said: bytes) -> socket.socket:
    """The near end of a connection whose daemon said this and has gone."""
    near, far = socket.socketpair()
    with far:
        for message in said:
            far.sendall(message)
    return near


TOO_MANY = encode_error(Encoding.MSGPACK, None, unavailable(5.0))


@pytest.mark.parametrize(("said", "error"), [((), ConnectionLost), ((TOO_MANY,), Unavailable)])
def test_why_a_daemon_has_hung_up_at_once_is_told_where_it_said_so(
    said: tuple[bytes, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Events(hung_up(*said), listener())

    async def begin() -> None:
        async with await anyio.abc.UNIXSocketStream.from_socket(hung_up(*said)) as stream:
            with pytest.raises(error):
                await AsyncEvents(stream, listener()).begin()

    anyio.run(begin)


def test_waiting_for_an_event_has_no_time_limit(tmp_path: Path) -> None:
    with (
        telling(tmp_path, ANSWER, *[b""] * 30, STREAM) as path,
        Client(path, timeout=0.1).subscribe("execution") as events,
    ):
        assert not events.ready
        assert next(events) == EVENTS[0]
        assert events.ready


@pytest.mark.parametrize("timeout", [3_000_000, math.inf])
def test_a_time_limit_may_be_as_long_as_one_likes(tmp_path: Path, timeout: float) -> None:
    with (
        telling(tmp_path, ANSWER, STREAM) as path,
        Client(path, timeout=timeout).subscribe("execution") as events,
    ):
        assert next(events) == EVENTS[0]
