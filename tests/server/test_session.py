"""One connection, from its first byte to its last answer."""

from functools import partial

import anyio
import anyio.lowlevel
import pytest
import structlog
import structlog.testing

from buddyd.domain.answers import Aggregation
from buddyd.domain.execution import Execution
from buddyd.errors import InvalidParams, Unavailable
from buddyd.protocol.framing import Encoding
from buddyd.protocol.messages import METHODS, Ping, RecordExecutions, Role
from buddyd.server import pending as pending_module
from buddyd.server import places as places_module
from buddyd.server import sender as sender_module
from buddyd.server import session as module
from buddyd.server.places import Places
from buddyd.server.sender import Unsent
from buddyd.server.session import Session, Traffic
from tests.server.conversation import LIMIT, PONG, Script, session, until

pytestmark = pytest.mark.anyio

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK
PINGED = {"version": "1", "protocol": 1, "uptime_seconds": 1.0}
BIG = Aggregation(timestamp="x" * 50_000, hours_written=0, commits=0)
HUGE = Aggregation(timestamp="x" * 500_000, hours_written=0, commits=0)


def ping(id_: object) -> dict[str, object]:
    return {"id": id_, "method": "ping"}


# Requests and answers


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_request_is_answered_in_the_encoding_it_came_in(encoding: Encoding) -> None:
    async with session(Script(), encoding=encoding) as (client, _):
        await client.say({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}})
        assert await client.hear() == {"jsonrpc": "2.0", "id": 1, "result": PINGED}


@pytest.mark.parametrize("encoding", Encoding)
async def test_requests_are_pipelined_and_answered_as_they_are_done(encoding: Encoding) -> None:
    script = Script(outcome=None)
    async with session(script, encoding=encoding) as (client, _):
        await client.say(ping(1), ping(2), ping(3))
        await until(lambda: len(script.delivers) == 3)
        for deliver in reversed(script.delivers):
            deliver(PONG)
        assert [(await client.hear())["id"] for _ in range(3)] == [3, 2, 1]


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("id_", [0, -1, 2**63 - 1, "", "é\n", 1.5, 2.0, None])
async def test_an_answer_bears_the_id_as_it_was_sent(encoding: Encoding, id_: object) -> None:
    async with session(Script(), encoding=encoding) as (client, _):
        await client.say(ping(id_))
        answer = await client.hear()
        assert answer["id"] == id_
        assert type(answer["id"]) is type(id_)


async def test_notifications_get_no_answer_whatever_becomes_of_them() -> None:
    script = Script()
    async with session(script) as (client, _):
        await client.say({"method": "ping"}, {"method": "nonsense"}, {"method": "backup"}, ping(1))
        assert (await client.hear())["id"] == 1
        script.outcome = Unavailable("later")
        await client.say({"method": "ping"})
        await client.stream.send_eof()
        assert await client.rest() == []
    assert script.asked == [Ping()] * 3


async def test_the_same_outcome_is_told_once() -> None:
    script = Script(outcome=None)
    async with session(script) as (client, _):
        await client.say(ping(1))
        await until(lambda: bool(script.delivers))
        script.delivers[0](PONG)
        script.delivers[0](ValueError())
        await client.stream.send_eof()
        assert [answer["id"] for answer in await client.rest()] == [1]


# Errors


@pytest.mark.parametrize("encoding", Encoding)
async def test_errors_keep_the_connection(encoding: Encoding) -> None:
    bad = b'{"id":1\n' if encoding is JSON else b"\0\0\0\x01\xc1"
    async with session(Script(), encoding=encoding) as (client, _):
        # The first byte tells the encoding; only then can anything be wrong in it.
        await client.say(ping(0))
        assert (await client.hear())["id"] == 0
        for data, id_, code in [
            (bad, None, -32700),
            (client.encoded([ping(1)]), None, -32600),
            (client.encoded({"id": 2}), 2, -32600),
            (client.encoded({"id": 3, "method": "pong"}), 3, -32601),
            (client.encoded({"id": 4, "method": "ping", "params": {"a": 1}}), 4, -32602),
        ]:
            await client.stream.send(data)
            answer = await client.hear()
            assert (answer["id"], answer["error"]["code"]) == (id_, code)
            assert answer["error"]["message"].endswith(".")
        await client.say(ping(5))
        assert (await client.hear())["id"] == 5


async def test_each_error_says_what_to_act_on() -> None:
    script = Script()
    async with session(script, roles=frozenset({Role.RECORD})) as (client, _):

        async def error(method: str, params: object) -> tuple[str, dict[str, object]]:
            await client.say({"id": 1, "method": method, "params": params})
            found = (await client.hear())["error"]
            return found["message"], found["data"]

        assert await error("nonsense", {}) == (
            "There is no method `nonsense`.",
            {"method": "nonsense"},
        )
        assert await error("report_agent", {"agent_id": "a", "queue_depth": -1}) == (
            "The parameter $.queue_depth is wrong: expected a whole number, at least 0.",
            {"reason": "Expected a whole number, at least 0", "path": "$.queue_depth"},
        )
        sentence, data = await error("get_all", {})
        assert data == {"role": "query"}
        assert "may not use `get_all`" in sentence
        script.raises = InvalidParams("The time is far ahead", "$.started_at")
        start = {"task_id": "t", "agent_id": "a", "tool_name": "x"}
        assert await error("start_execution", start) == (
            "The parameter $.started_at is wrong: the time is far ahead.",
            {"reason": "The time is far ahead", "path": "$.started_at"},
        )
        script.raises = Unavailable("The collector actor is restarting.", 0.5)
        assert await error("start_execution", start) == (
            "The collector actor is restarting. Try again in 0.5 s.",
            {"reason": "The collector actor is restarting.", "retry_after_seconds": 0.5},
        )


@pytest.mark.parametrize("method", METHODS)
async def test_who_has_no_role_may_use_nothing(method: str) -> None:
    script = Script()
    async with session(script, roles=frozenset()) as (client, _):
        await client.say({"id": 1, "method": method})
        error = (await client.hear())["error"]
        assert (error["code"], error["data"]) == (-32001, {"role": METHODS[method].role.value})
    assert script.asked == []


async def test_a_fault_of_the_daemon_is_told_without_its_particulars() -> None:
    async with session(Script(ZeroDivisionError("secret"))) as (client, _):
        with structlog.testing.capture_logs() as logs:
            await client.say(ping(1))
            error = (await client.hear())["error"]
        assert (error["code"], error["data"]) == (-32603, {"reason": "ZeroDivisionError"})
        assert "secret" not in str(error)
        assert isinstance(logs[0]["exc_info"], ZeroDivisionError)


async def test_an_answer_that_cannot_be_encoded_does_not_hurt_who_gives_it() -> None:
    script = Script(Aggregation(timestamp="", hours_written=2**64, commits=0))
    async with session(script, encoding=MSGPACK) as (client, _):
        await client.say(ping(1))
        assert (await client.hear())["error"]["code"] == -32603
        script.outcome = PONG
        await client.say(ping(2))
        assert (await client.hear())["result"] == PINGED


async def test_refused_calls_to_record_are_counted_and_no_others() -> None:
    traffic = Traffic()
    async with session(Script(), traffic=traffic) as (client, _):
        await client.say(
            {"id": 1, "method": "record_execution", "params": {}},
            {"method": "record_executions", "params": {}},
            {"id": 2, "method": "get_executions", "params": {"limit": 0}},
            {"id": 3, "method": "report_agent", "params": {}},
        )
        await client.stream.send_eof()
        assert [answer["id"] for answer in await client.rest()] == [1, 2, 3]
    assert traffic.refusals == 2


async def test_what_is_dispatched_is_typed() -> None:
    script = Script()
    one = {
        "task_id": "t",
        "agent_id": "a",
        "tool_name": "x",
        "duration_seconds": 1,
        "success": True,
    }
    async with session(script) as (client, _):
        await client.say(
            {"id": 1, "method": "record_execution", "params": one},
            {"id": 2, "method": "record_executions", "params": {"executions": [one]}},
        )
        await client.stream.send_eof()
        await client.rest()
    execution = Execution(
        task_id="t", agent_id="a", tool_name="x", duration_seconds=1.0, success=True
    )
    assert script.asked == [execution, RecordExecutions(executions=[execution])]


# Sizes and pace


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_message_that_is_too_large_is_answered_and_ends_the_connection(
    encoding: Encoding,
) -> None:
    async with session(Script(), encoding=encoding) as (client, _):
        await client.say(ping(1), ping("x" * LIMIT), ping(2))
        first, second = await client.rest()
        assert first["id"] == 1
        assert (second["id"], second["error"]["code"]) == (None, -32600)
        assert "at most 4096 bytes" in second["error"]["message"]


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_client_that_has_said_all_gets_all_answers(encoding: Encoding) -> None:
    script = Script(outcome=None)
    async with session(script, encoding=encoding) as (client, _):
        await client.say(ping(1), ping(2), ping(3))
        await client.stream.send_eof()
        await until(lambda: len(script.delivers) == 3)
        await anyio.wait_all_tasks_blocked()
        for deliver in script.delivers:
            deliver(PONG)
        assert [answer["id"] for answer in await client.rest()] == [1, 2, 3]


async def test_the_last_line_needs_no_end() -> None:
    async with session(Script()) as (client, _):
        await client.stream.send(b'{"id":1,"method":"ping"}')
        await client.stream.send_eof()
        assert [answer["id"] for answer in await client.rest()] == [1]


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_message_may_come_byte_by_byte(encoding: Encoding) -> None:
    async with session(Script(), encoding=encoding) as (client, served):
        *most, last = client.encoded(ping(1))
        for come, byte in enumerate(most, 1):
            await client.stream.send(bytes([byte]))
            await until(partial(_has_come, served, come))
        await client.stream.send(bytes([last]))
        assert (await client.hear())["id"] == 1


def _has_come(served: Session, count: int) -> bool:
    return served._framer.pending == count


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_message_that_takes_too_long_ends_the_connection_though_bytes_keep_coming(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGE_SECONDS", 0.1)
    async with session(Script(), encoding=encoding) as (client, _):
        await client.say(ping(1))
        await client.hear()
        message = client.encoded(ping("x" * 2000))
        sent = 0

        async def trickle() -> None:
            nonlocal sent
            for byte in message:
                await client.stream.send(bytes([byte]))
                sent += 1
                await anyio.sleep(0.005)

        with pytest.raises(anyio.BrokenResourceError):
            await trickle()
        assert 2 < sent < len(message)


async def test_between_messages_there_is_all_the_time_in_the_world(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MESSAGE_SECONDS", 0.02)
    async with session(Script()) as (client, _):
        for number in range(3):
            await client.say(ping(number))
            assert (await client.hear())["id"] == number
            await anyio.sleep(0.05)
        # An empty line is no message that has begun.
        await client.stream.send(b"\n")
        await anyio.sleep(0.05)
        await client.say(ping(9))
        assert (await client.hear())["id"] == 9


async def test_a_client_may_have_so_many_requests_open_then_it_is_not_read_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 5)
    script = Script(outcome=None)
    async with session(script) as (client, _):
        await client.say(*map(ping, range(12)))
        await until(lambda: len(script.asked) == 5)
        await anyio.wait_all_tasks_blocked()
        assert len(script.asked) == 5
        script.delivers[0](PONG)
        await until(lambda: len(script.asked) == 6)
        await anyio.wait_all_tasks_blocked()
        assert len(script.asked) == 6
        script.outcome = PONG
        for deliver in script.delivers:
            deliver(PONG)
        assert len([await client.hear() for _ in range(12)]) == 12


async def test_a_client_that_does_not_read_is_not_answered_more_and_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_UNSENT_BYTES", 200_000)
    monkeypatch.setattr(sender_module, "WRITE_SECONDS", 0.2)
    script = Script(BIG)
    async with session(script) as (client, served):
        held: list[int] = []

        async def ask_and_ask() -> None:
            while True:
                await client.say(*map(ping, range(50)))
                held.append(served._sender.unsent_bytes)

        with pytest.raises(anyio.BrokenResourceError):
            await ask_and_ask()
        # What is held, and what the kernel took of it: a few times the bound, at any rate no
        # more than for the requests that fit into one reading.
        assert max(held) < 200_000 + 2 * len(BIG.timestamp)
        assert len(script.asked) < 60


async def test_a_client_that_reads_slowly_gets_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_UNSENT_BYTES", 100_000)
    async with session(Script(BIG)) as (client, _), anyio.create_task_group() as tasks:
        tasks.start_soon(client.say, *map(ping, range(100)))
        for number in range(100):
            await anyio.lowlevel.checkpoint()
            assert (await client.hear())["id"] == number


async def test_what_clients_do_not_read_is_bounded_for_all_of_them_together() -> None:
    unsent = Unsent(1_000_000)
    async with (
        session(Script(HUGE), unsent=unsent) as (idle, _),
        session(Script(HUGE), unsent=unsent) as (other, _),
        session(Script(), unsent=unsent) as (small, _),
    ):
        await idle.say(ping(1), ping(2))
        await until(lambda: not unsent.has_room(500_000))
        # A large answer is for later; small ones come at once.
        await other.say(ping(3))
        assert (await other.hear())["error"]["data"] == {
            "reason": "Too much waits for clients that do not read it.",
            "retry_after_seconds": 1.0,
        }
        await small.say(ping(4))
        assert (await small.hear())["id"] == 4
        # Who reads makes room for everybody.
        assert [(await idle.hear())["id"] for _ in range(2)] == [1, 2]
        await until(lambda: unsent.bytes == 0)
        await other.say(ping(5))
        assert "result" in await other.hear()


async def test_answers_to_a_client_that_has_gone_do_not_count_as_waiting() -> None:
    script, unsent = Script(None), Unsent(1_000_000)
    async with session(script, unsent=unsent) as (client, _):
        await client.say(ping(1), ping(2))
        await until(lambda: len(script.delivers) == 2)
    # They came with the end of the session, and after it.
    for deliver in script.delivers:
        deliver(HUGE)
    assert unsent.bytes == 0


async def test_of_who_does_not_read_no_more_is_taken_while_too_much_waits() -> None:
    script, unsent = Script(), Unsent(0)
    async with session(script, unsent=unsent) as (client, served):
        served._sender.send(b"x" * 1_000_000)
        await client.say(ping(1))
        await anyio.wait_all_tasks_blocked()
        assert script.asked == []
    assert unsent.bytes == 0


# Time limits and the end


async def test_an_answer_that_takes_too_long_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_module, "ANSWER_SECONDS", 0.02)
    script = Script(outcome=None)
    async with session(script) as (client, _):
        await client.say(ping(1), {"method": "ping"})
        error = (await client.hear())["error"]
        assert (error["code"], error["data"]) == (
            -32000,
            {"reason": "There was no answer within 0.02 s.", "retry_after_seconds": 5.0},
        )
        # The answer comes all the same; nobody waits for it now.
        script.delivers[0](PONG)
        script.outcome = PONG
        await client.say(ping(2))
        assert (await client.hear())["id"] == 2


async def test_administration_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_module, "ANSWER_SECONDS", 0.01)
    script = Script(outcome=None)
    async with session(script) as (client, _):
        await client.say({"id": 1, "method": "cleanup_old_data"})
        await anyio.sleep(0.05)
        script.delivers[0](PONG)
        assert (await client.hear())["result"] == PINGED


async def test_what_comes_behind_it_does_not_take_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(outcome=None)
    async with session(script) as (client, _):
        await client.say({"id": 1, "method": "cleanup_old_data"})
        await until(lambda: len(script.delivers) == 1)
        monkeypatch.setattr(pending_module, "ANSWER_SECONDS", 0.01)
        await client.say(ping(2))
        answer = await client.hear()
        assert answer["id"] == 2
        assert answer["error"]["data"]["reason"] == "There was no answer within 0.01 s."


async def test_a_session_that_is_drained_answers_what_it_received_and_ends() -> None:
    script = Script(outcome=None)
    async with session(script) as (client, served):
        await client.say(ping(1), ping(2))
        await until(lambda: len(script.delivers) == 2)
        # Half of a message, which must not be taken for a whole one.
        await client.stream.send(b'{"id":3,"me')
        await until(lambda: served._framer.pending > 0)
        served.drain()
        await anyio.wait_all_tasks_blocked()
        for deliver in script.delivers:
            deliver(PONG)
        assert [answer["id"] for answer in await client.rest()] == [1, 2]


async def test_a_session_that_is_drained_calls_off_what_takes_its_time() -> None:
    script = Script()
    script.waits = True
    async with session(script) as (client, served):
        await client.say({"id": 1, "method": "backup", "params": {"path": "/copy"}})
        await until(lambda: len(script.asked) == 1)
        # What comes behind it is told the same.
        await client.say({"id": 2, "method": "cleanup_old_data"})
        served.drain()
        for number in (1, 2):
            answer = await client.hear()
            assert answer["id"] == number
            assert answer["error"]["code"] == -32000
            assert "stopping" in answer["error"]["data"]["reason"]
        assert await client.rest() == []


async def test_an_idle_session_that_is_drained_ends_at_once() -> None:
    async with session(Script()) as (client, served):
        await client.say(ping(1))
        await client.hear()
        served.drain()
        assert await client.rest() == []


@pytest.mark.parametrize("spoken", [False, True])
async def test_a_session_that_is_drained_hears_what_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, *, spoken: bool
) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 5.0)
    monkeypatch.setattr(module, "FIRST_SECONDS", 5.0)
    async with session(Script()) as (client, served):
        if spoken:
            await client.say(ping(1))
            await client.hear()
        served.drain()
        await client.say(ping(2))
        assert (await client.hear())["id"] == 2


async def test_a_client_that_says_nothing_holds_up_a_stop_for_moments_only() -> None:
    async with session(Script()) as (client, served):
        began = anyio.current_time()
        served.drain()
        assert await client.rest() == []
        assert anyio.current_time() - began < 5


async def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    script = Script(outcome=None)
    async with session(script) as (client, _):
        await client.say(*map(ping, range(20)))
        await until(lambda: len(script.delivers) == 20)
        await client.stream.aclose()
    # The session has ended; what is delivered now goes nowhere.
    for deliver in script.delivers:
        deliver(PONG)


# Large messages


def large(id_: int) -> dict[str, object]:
    return {"id": id_, "method": "x" * 500}


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Places:
    """There are two places for messages of more than 400 bytes."""
    monkeypatch.setattr(module, "LARGE_BYTES", 400)
    return Places(2)


async def test_a_large_message_gives_up_its_place_whatever_becomes_of_it(
    places: Places,
) -> None:
    async with session(Script(), large=places) as (client, _):
        wrong: dict[str, object] = {"id": 1, "method": "ping", "x": "x" * 500}
        for request in (large(1), wrong, {"method": "x" * 500}, large(2)) * 3:
            await client.say(request)
        for _ in range(9):
            assert "error" in await client.hear()
    assert places.free == 2


async def test_half_a_large_message_gives_up_its_place_when_its_client_goes(
    places: Places,
) -> None:
    async with session(Script(), large=places) as (client, _):
        await client.stream.send(b'{"id":"' + b"x" * 1000)
        await until(lambda: places.free == 1)
    assert places.free == 2


async def test_a_large_request_that_is_never_taken_on_gives_up_its_place(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_module, "ANSWER_SECONDS", 0.05)
    script = Script()
    script.waits = True
    async with session(script, large=places) as (client, _):
        await client.say({"id": "x" * 500, "method": "ping"})
        await until(lambda: places.free == 1)
    assert places.free == 2


async def test_large_messages_wait_for_a_place_and_small_ones_do_not(
    places: Places,
) -> None:
    script = Script(outcome=None)
    async with (
        session(script, large=places) as (busy, _),
        session(Script(), large=places) as (
            other,
            _,
        ),
    ):
        await busy.say(*({"id": f"{n}" * 500, "method": "ping"} for n in range(2)))
        await until(lambda: len(script.delivers) == 2)
        await other.say(ping(1))
        assert (await other.hear())["id"] == 1
        await other.say({"id": "x" * 500, "method": "ping"})
        await until(lambda: places.wanted)
        script.delivers[0](PONG)
        assert (await other.hear())["id"] == "x" * 500


async def test_a_client_with_a_place_may_be_slow_until_somebody_waits_for_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "PATIENCE_SECONDS", 0.05)
    async with (
        session(Script(), large=places) as (slow, _),
        session(Script(), large=places) as (slower, _),
        session(Script(), large=places) as (other, _),
    ):
        for client in (slow, slower):
            await client.stream.send(b'{"method":"ping","id":"' + b"x" * 1000)
        await until(lambda: places.free == 0)
        await anyio.sleep(0.1)
        await slow.stream.send(b'"}\n')
        assert (await slow.hear())["id"] == "x" * 1000
        await slow.stream.send(b'{"method":"ping","id":"' + b"x" * 1000)
        await until(lambda: places.free == 0)
        await other.say({"id": "y" * 500, "method": "ping"})
        assert (await other.hear())["id"] == "y" * 500
        # Who had been slow before is the first to go.
        assert await slower.rest() == []


LONG = Aggregation(timestamp="x" * 10**6, hours_written=0, commits=0)
"""An answer of more than a socket holds."""


@pytest.fixture
def _an_unread_answer_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNSENT_BYTES", 1)


@pytest.mark.usefixtures("_an_unread_answer_is_too_much")
async def test_a_client_that_reads_nothing_gets_no_place(places: Places) -> None:
    async with session(Script(LONG), large=places) as (deaf, _):
        await deaf.say(ping(1))
        await deaf.stream.send(b'{"method":"ping","id":"' + b"x" * 1000)
        await anyio.wait_all_tasks_blocked()
        assert places.free == 2
        await deaf.stream.send(b'"}\n')
        assert [(await deaf.hear())["id"] for _ in range(2)] == [1, "x" * 1000]


@pytest.mark.usefixtures("_an_unread_answer_is_too_much")
async def test_a_client_that_stops_reading_keeps_no_place(places: Places) -> None:
    script = Script(outcome=None)
    async with session(script, large=places) as (deaf, _):
        await deaf.say(ping(1))
        await deaf.stream.send(b'{"method":"ping","id":"' + b"x" * 1000)
        await until(lambda: places.free == 1)
        script.delivers[0](LONG)
        await deaf.stream.send(b'"}\n')
        await until(lambda: len(script.delivers) == 2)
        script.delivers[1](PONG)
        assert places.free == 2


async def test_a_connection_that_says_nothing_ends_without_a_word() -> None:
    async with session(Script()) as (client, _):
        await client.stream.send_eof()
        assert await client.rest() == []


def test_the_limits_are_those_of_the_reference() -> None:
    assert module.MOST_PENDING == 128
    assert module.MOST_UNSENT_BYTES == 2**20
    assert (module.LARGE_BYTES, module.MOST_LARGE) == (65_536, 8)
    slow = (places_module.SLOW_BYTES_PER_SECOND, places_module.PATIENCE_SECONDS)
    assert slow == (2**20, 1.5)
    assert module.MESSAGE_SECONDS == 30.0
    assert sender_module.WRITE_SECONDS == pending_module.ANSWER_SECONDS == 30.0
