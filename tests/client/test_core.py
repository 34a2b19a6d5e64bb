"""The client's side of the protocol, without a socket."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.client import ConnectionLost, DaemonError, NotRunning, Unavailable, calls
from buddyd.client.core import Attempts, Backoff, Dialogue, accepted, typed
from buddyd.protocol.framing import Encoding, encode_error, encode_result, frame
from buddyd.protocol.messages import ErrorCode
from tests.support.peer import refusal, unavailable
from tests.support.samples import PONG

SOCKET = Path("/run/buddyd/buddyd.sock")


def answer(number: int) -> bytes:
    return encode_result(Encoding.MSGPACK, number, PONG)


@given(order=st.permutations([1, 2, 3]), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_answers_find_their_requests_in_any_order_and_in_any_pieces(
    order: list[int], cuts: list[int]
) -> None:
    dialogue = Dialogue(SOCKET)
    for _ in order:
        dialogue.ask(calls.ping())
    stream = b"".join(answer(number) for number in order)
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    assert [n for piece in pieces for n, _ in dialogue.hear(piece)] == order


def test_an_answer_that_nobody_waits_for_is_passed_over() -> None:
    dialogue = Dialogue(SOCKET)
    first, _ = dialogue.ask(calls.ping())
    second, _ = dialogue.ask(calls.ping())
    dialogue.abandon(first)
    heard = dialogue.hear(answer(first) + answer(99) + answer(second) + answer(second))
    assert [number for number, _ in heard] == [second]


def test_an_error_without_an_id_concerns_all_that_is_open() -> None:
    dialogue = Dialogue(SOCKET)
    numbers = [dialogue.ask(calls.ping())[0] for _ in range(3)]
    too_large = refusal(ErrorCode.INVALID_REQUEST, "A message may have at most 10 bytes.")
    heard = dialogue.hear(encode_error(Encoding.MSGPACK, None, too_large))
    assert [number for number, _ in heard] == numbers
    with pytest.raises(DaemonError, match="at most 10 bytes"):
        accepted(heard[0][1])


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b'{"jsonrpc":"2.0","id":1}\n', id="json"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="http"),
        pytest.param(frame(Encoding.MSGPACK, b"\xc1"), id="no-messagepack"),
        pytest.param(frame(Encoding.MSGPACK, b"\x93\x01\x02\x03"), id="no-map"),
    ],
)
def test_a_peer_that_speaks_something_else_is_told_apart(garbage: bytes) -> None:
    with pytest.raises(ConnectionLost, match=r"buddyd\.sock does not speak the protocol"):
        Dialogue(SOCKET).hear(garbage)


def test_an_error_carries_what_the_daemon_said() -> None:
    dialogue = Dialogue(SOCKET)
    number, _ = dialogue.ask(calls.ping())
    error = refusal(ErrorCode.INVALID_PARAMS, "It is wrong.", reason="Expected", path="$.limit")
    [(_, response)] = dialogue.hear(encode_error(Encoding.MSGPACK, number, error))
    with pytest.raises(DaemonError) as raised:
        accepted(response)
    assert (raised.value.code, raised.value.message) == (-32602, "It is wrong.")
    assert (raised.value.path, raised.value.reason) == ("$.limit", "Expected")


def test_an_answer_that_does_not_fit_is_no_answer() -> None:
    dialogue = Dialogue(SOCKET)
    number, _ = dialogue.ask(calls.get_agents_status())
    [(_, response)] = dialogue.hear(answer(number))
    with pytest.raises(Exception, match="get_agents_status"):
        typed(SOCKET, calls.get_agents_status(), accepted(response))


def lost(*, sent: bool = True) -> ConnectionLost:
    return ConnectionLost(SOCKET, sent=sent)


def test_unavailable_is_waited_for_as_long_as_the_limit_allows() -> None:
    attempts = Attempts(calls.ping(), deadline=10.0)
    assert attempts.pause(Unavailable("later", 2.0), now=0.0) == 2.0
    assert attempts.pause(Unavailable("later", 2.0), now=7.0) == 2.0
    with pytest.raises(Unavailable):
        attempts.pause(Unavailable("later", 2.0), now=8.5)


def test_a_daemon_that_says_at_once_is_not_asked_in_a_busy_loop() -> None:
    assert Attempts(calls.ping(), deadline=10.0).pause(Unavailable("now", 0.0), now=0.0) > 0
    assert Attempts(calls.ping(), deadline=10.0).pause(Unavailable("now", -5.0), now=0.0) > 0


def test_a_lost_connection_is_replaced_at_once_and_then_more_slowly_three_times() -> None:
    attempts = Attempts(calls.ping(), deadline=10.0, chance=lambda: 0.5)
    assert [attempts.pause(lost(), now=0.0) for _ in range(3)] == [0.0, 0.025, 0.05]
    with pytest.raises(ConnectionLost):
        attempts.pause(lost(), now=0.1)


def test_a_backup_that_may_have_begun_is_not_begun_again() -> None:
    with pytest.raises(ConnectionLost):
        Attempts(calls.backup("/b"), deadline=10.0).pause(lost(), now=0.0)
    assert Attempts(calls.backup("/b"), deadline=10.0).pause(lost(sent=False), now=0.0) == 0.0


def test_unavailable_without_a_time_is_tried_again_after_a_second() -> None:
    dialogue = Dialogue(SOCKET)
    for error, seconds in ((unavailable(0.25), 0.25), (refusal(-32000, "Not now."), 1.0)):
        number, _ = dialogue.ask(calls.ping())
        [(_, response)] = dialogue.hear(encode_error(Encoding.MSGPACK, number, error))
        with pytest.raises(Unavailable) as raised:
            accepted(response)
        assert raised.value.retry_after_seconds == seconds


def test_a_daemon_that_was_there_is_waited_for_longer_each_time() -> None:
    attempts = Attempts(calls.ping(), deadline=100.0, known=True, chance=lambda: 0.5)
    pauses = [attempts.pause(NotRunning(SOCKET), now=0.0) for _ in range(8)]
    assert pauses == [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_one_that_was_lost_is_one_that_was_there() -> None:
    attempts = Attempts(calls.ping(), deadline=10.0)
    with pytest.raises(NotRunning):
        attempts.pause(NotRunning(SOCKET), now=0.0)
    attempts.pause(lost(), now=0.0)
    assert attempts.pause(NotRunning(SOCKET), now=0.0) > 0
    with pytest.raises(NotRunning):
        attempts.pause(NotRunning(SOCKET), now=10.0)


def test_pauses_are_spread_over_all_of_their_bound_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(first=1.0, longest=8.0)
    drawn = []
    for _ in range(200):
        backoff.reset()
        drawn.append(backoff.pause())
    assert min(drawn) < 0.2
    assert 0.8 < max(drawn) < 1.0
