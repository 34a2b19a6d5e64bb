"""No client, good or bad, can stop the others."""

import contextlib
import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from buddyd.protocol.framing import Encoding
from buddyd.server.listener import REFUSED_SECONDS
from tests.support.outside import Client, ObservedDaemon, percentile, until
from tests.support.process import execution

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK
DEEP = 1_000_000
MEGABYTE = 2**20
USUAL_SECONDS = 0.5
"""What a good client usually waits at most while others do their worst, on a slow machine."""
LONGEST_SECONDS = 5.0
"""What it ever waits."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObservedDaemon]:
    with ObservedDaemon(tmp_path_factory.mktemp("clients")) as daemon:
        yield daemon


@pytest.fixture
def daemon(shared: ObservedDaemon) -> Iterator[ObservedDaemon]:
    """A daemon that, whatever a test does to it, still serves, and has logged no fault."""
    with Client(shared.socket) as good:
        assert "result" in good.ask("record_execution", **execution())
        yield shared
        assert "result" in good.ask("record_execution", **execution())
    assert "result" in shared.call("get_all")
    faults = [e for e in shared.events() if e["level"] in {"error", "critical"}]
    assert faults == []


@contextlib.contextmanager
def good_client(daemon: ObservedDaemon) -> Iterator[list[float]]:
    """Somebody who records and asks all the while; what each call took is told afterwards."""
    took: list[float] = []
    over = threading.Event()

    def live() -> None:
        with Client(daemon.socket) as client:
            while not over.wait(0.005):
                for method, params in ("record_execution", execution()), ("ping", {}):
                    begin = time.monotonic()
                    assert "result" in client.ask(method, **params)
                    took.append(time.monotonic() - begin)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()
    assert percentile(took, 0.5) < USUAL_SECONDS
    assert max(took) < LONGEST_SECONDS


def json_ping(member: bytes) -> bytes:
    return b'{"id":7,"method":"ping",' + member + b"}\n"


def json_report(number: bytes) -> bytes:
    params = b'{"agent_id":"a","queue_depth":' + number + b"}"
    return b'{"id":7,"method":"report_agent","params":' + params + b"}\n"


def json_record(number: bytes) -> bytes:
    given = b'"task_id":"t","agent_id":"a","tool_name":"t","success":true'
    params = b"{" + given + b',"duration_seconds":' + number + b"}"
    return b'{"id":7,"method":"record_execution","params":' + params + b"}\n"


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4) + message


PACKED = b"\xa2id\x07\xa6method\xa4ping"

WRONG_LINES = {
    "garbage": (b"{\x00\xff\xfe garbage\n", -32700),
    "an opened brace": (b"{\n", -32700),
    "half a message": (b'{"id":7,"method":"pi\n', -32700),
    "no UTF-8": (b'{"id":7,"method":"\xff\xfe"}\n', -32700),
    "no UTF-8 in a name": (b'{"id":7,"\xff":1}\n', -32700),
    "half a surrogate pair": (b'{"id":"\\ud800","method":"ping"}\n', -32700),
    "lists in params": (json_ping(b'"params":' + b"[" * DEEP + b"]" * DEEP), -32700),
    "maps in params": (json_ping(b'"params":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP), -32700),
    "lists without an end": (json_ping(b'"params":' + b"[" * DEEP), -32700),
    "lists in the id": (b'{"method":"ping","id":' + b"[" * DEEP + b"]" * DEEP + b"}\n", -32700),
    "a batch": (b'[{"id":1,"method":"ping"}]\n', -32600),
    "an unknown member": (json_ping(b'"' + b"x" * MEGABYTE + b'":1'), -32600),
    "an id that no float holds": (b'{"id":1e400,"method":"ping"}\n', -32600),
    "an id of many digits": (b'{"id":' + b"9" * 5_000 + b',"method":"ping"}\n', -32600),
    "a method of a megabyte": (b'{"id":7,"method":"' + b"x" * MEGABYTE + b'"}\n', -32601),
    "a number that no float holds": (json_record(b"1e400"), -32602),
    "digits that no float holds": (json_record(b"9" * MEGABYTE), -32602),
    "an integer of many digits": (json_report(b"9" * 5_000), -32602),
    "a fraction of an integer": (json_report(b"0.5"), -32602),
    "not a number": (json_record(b"NaN"), -32700),
    "infinity": (json_record(b"Infinity"), -32700),
    "a terminal's escapes": (
        b'{"id":7,"method":"report_agent","params":{"agent_id":"\\u001b[2J\\nforged"}}\n',
        -32602,
    ),
}
WRONG_FRAMES = {
    "nothing": (framed(b""), -32700),
    "garbage": (framed(b"\xc1\x00\xff"), -32700),
    "half a message": (framed(b"\x82" + PACKED[:7]), -32700),
    "more than a message": (framed(b"\x82" + PACKED + b"\x00"), -32700),
    "lists in params": (framed(b"\x83" + PACKED + b"\xa6params" + b"\x91" * DEEP), -32700),
    "lists in the id": (framed(b"\x82\xa6method\xa4ping\xa2id" + b"\x91" * DEEP), -32700),
    "a list of four billion": (framed(b"\x83" + PACKED + b"\xa6params\xdd" + b"\xff" * 4), -32700),
    "a map of four billion": (framed(b"\xdf" + b"\xff" * 4), -32700),
    "a list": (framed(b"\x91\x01"), -32600),
    "an extension": (framed(b"\x82\xa6method\xa4ping\xa2id\xc7\x01\x05\x00"), -32600),
}


@pytest.mark.parametrize(
    ("encoding", "message", "code"),
    [
        pytest.param(encoding, message, code, id=f"{encoding.value}: {name}")
        for encoding, table in ((JSON, WRONG_LINES), (MSGPACK, WRONG_FRAMES))
        for name, (message, code) in table.items()
    ],
)
def test_what_is_wrong_is_answered_briefly_and_the_connection_goes_on(
    daemon: ObservedDaemon, encoding: Encoding, message: bytes, code: int
) -> None:
    with Client(daemon.socket, encoding) as client:
        client.raw.sendall(message)
        answer = client.hear()
        assert answer["error"]["code"] == code
        assert len(json.dumps(answer)) < 1_000
        assert "result" in client.ask("ping")


@pytest.mark.parametrize(
    ("encoding", "message"),
    [(JSON, b'{"id":"' + b"x" * 9 * MEGABYTE), (MSGPACK, (2**30 - 1).to_bytes(4))],
)
def test_a_message_that_is_too_large_is_answered_and_ends_the_connection(
    daemon: ObservedDaemon, encoding: Encoding, message: bytes
) -> None:
    with Client(daemon.socket, encoding) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.raw.sendall(message)
        assert client.hear()["error"]["code"] == -32600
        with contextlib.suppress(ConnectionResetError):
            assert client.hear() is None


@pytest.mark.parametrize("message", [b"{", b'{"id":1,"meth', b"\x00", b"\x00\x00\x10\x00half"])
def test_clients_that_die_in_the_middle_of_a_message_leave_nothing_behind(
    daemon: ObservedDaemon, message: bytes
) -> None:
    before = daemon.figures().descriptors
    for _ in range(100):
        with Client(daemon.socket) as client:
            client.raw.sendall(message)
    until(lambda: daemon.figures().descriptors <= before, "their descriptors to be closed")


def test_clients_that_die_in_the_middle_of_an_answer_leave_nothing_behind(
    daemon: ObservedDaemon,
) -> None:
    daemon.call("record_executions", executions=[execution()] * 2_000)
    before = daemon.figures().descriptors
    with good_client(daemon):
        for _ in range(30):
            with Client(daemon.socket) as client:
                client.raw.sendall(client.request("get_executions", limit=2_000) * 3)
                client.raw.recv(10)
    until(lambda: daemon.figures().descriptors <= before, "their descriptors to be closed")


def test_ten_thousand_connections_leave_nothing_behind(daemon: ObservedDaemon) -> None:
    def come_and_go(count: int) -> None:
        for index in range(count):
            with Client(daemon.socket, MSGPACK if index % 2 else JSON) as client:
                if index % 4 < 2:
                    assert "result" in client.ask("ping")

    come_and_go(1_000)
    before = daemon.figures()
    with good_client(daemon):
        come_and_go(10_000)
    until(lambda: daemon.figures().descriptors <= before.descriptors, "descriptors to be closed")
    after = daemon.figures()
    assert after.threads <= before.threads
    assert after.memory_bytes - before.memory_bytes < 4 * MEGABYTE
    # This one's own, and the good client's of every test.
    until(
        lambda: daemon.call("get_daemon_status")["result"]["connections"] <= 2,
        "the connections to be forgotten",
    )


def test_hundreds_of_idle_clients_hurt_nobody(daemon: ObservedDaemon) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(Client(daemon.socket)) for _ in range(500)]
        with good_client(daemon):
            for client in idle:
                assert "result" in client.ask("ping")


def test_clients_that_never_read_hurt_nobody_and_take_bounded_memory(
    daemon: ObservedDaemon,
) -> None:
    before = daemon.figures().memory_bytes
    with ExitStack() as stack, good_client(daemon):
        deaf = [stack.enter_context(Client(daemon.socket)) for _ in range(20)]
        for client in deaf:
            client.raw.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                client.raw.sendall(client.request("get_executions", limit=1_000) * 50_000)
        assert daemon.figures().memory_bytes - before < len(deaf) * 8 * MEGABYTE


def test_a_client_that_sends_byte_by_byte_is_served_and_hurts_nobody(
    daemon: ObservedDaemon,
) -> None:
    with Client(daemon.socket) as slow, good_client(daemon):
        for byte in slow.request("ping"):
            slow.raw.sendall(bytes([byte]))
            time.sleep(0.01)
        assert "result" in slow.hear()


def test_clients_that_break_off_hard_are_no_fault(daemon: ObservedDaemon) -> None:
    for _ in range(100):
        with Client(daemon.socket) as client:
            client.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.raw.sendall(client.request("get_all") * 5)


@pytest.mark.parametrize("output", ["json", "console"])
def test_names_cannot_forge_a_line_of_the_log(tmp_path: Path, output: str) -> None:
    config = tmp_path / "buddyd.toml"
    config.write_text(f'[log]\nlevel = "debug"\nformat = "{output}"\n')
    evil = 'x\n{"event": "forged", "level": "error"}\n\x1b[2J\x9b31m\u202e'
    with ObservedDaemon(tmp_path, "--config", str(config)) as daemon:
        for params in (
            {"method": evil},
            {"method": "backup", "params": {"path": str(tmp_path / evil)}},
            {"method": "report_agent", "params": {"agent_id": evil}},
            {"method": "report_agent", "params": {"agent_id": "a", evil: 1}},
            {"method": "record_execution", "params": execution(execution_id=evil[:60])},
        ):
            with Client(daemon.socket) as client:
                client.raw.sendall(client.encoded({"id": 1, **params}))
                assert client.hear()["id"] == 1
        lines = daemon.log.read_text().split("\n")
    assert any("backup written" in line for line in lines)
    assert not any(line.startswith('{"event": "forged"') for line in lines)
    assert not any(char in line for line in lines for char in "\x1b\x9b\u202e\r")


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[ObservedDaemon]:
    """A daemon that may have five connections, and has them."""
    config = tmp_path / "buddyd.toml"
    config.write_text("[limits]\nmax_connections = 5\n")
    with ObservedDaemon(tmp_path, "--config", str(config)) as daemon, ExitStack() as stack:
        inside = [stack.enter_context(Client(daemon.socket)) for _ in range(5)]
        assert all("result" in client.ask("ping") for client in inside)
        yield daemon
        assert all("result" in client.ask("ping") for client in inside)


def test_more_connections_than_allowed_get_an_error_in_their_encoding(
    crowded: ObservedDaemon,
) -> None:
    with ExitStack() as stack:
        over = []
        for encoding in list(Encoding) * 100:
            client = stack.enter_context(Client(crowded.socket, encoding))
            # At once: who says nothing for two seconds is sent away without a word.
            client.raw.sendall(client.request("ping"))
            over.append(client)
        answers = [client.hear() for client in over]
    assert [answer["id"] for answer in answers] == [1] * 200
    assert {answer["error"]["code"] for answer in answers} == {-32000}


def test_a_connection_over_the_limit_is_told_so_by_a_daemon_that_stood_still(
    crowded: ObservedDaemon,
) -> None:
    with Client(crowded.socket) as over:
        crowded.wait_for("connection refused")
        os.kill(crowded.pid, signal.SIGSTOP)
        over.raw.sendall(over.request("ping"))
        # Longer than it waits for what such a client says.
        time.sleep(REFUSED_SECONDS + 0.2)
        os.kill(crowded.pid, signal.SIGCONT)
        assert over.hear()["error"]["code"] == -32000


def test_a_place_that_becomes_free_is_given_to_the_next(tmp_path: Path) -> None:
    config = tmp_path / "buddyd.toml"
    config.write_text("[limits]\nmax_connections = 1\n")
    with ObservedDaemon(tmp_path, "--config", str(config)) as daemon:
        with Client(daemon.socket) as first, Client(daemon.socket) as second:
            assert "result" in first.ask("ping")
            assert second.ask("ping")["error"]["data"]["retry_after_seconds"] == 5.0
        until(lambda: "result" in daemon.call("ping"), "a free place")


def test_unfinished_messages_take_bounded_memory_and_small_ones_pass_by(
    daemon: ObservedDaemon,
) -> None:
    before = daemon.figures().memory_bytes
    with ExitStack() as stack, good_client(daemon):
        for _ in range(60):
            client = stack.enter_context(Client(daemon.socket, MSGPACK))
            client.raw.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                client.raw.sendall((8 * MEGABYTE).to_bytes(4) + bytes(8 * MEGABYTE - 1))
        # Eight of them have come nearly whole; the others wait for their turn.
        assert daemon.figures().memory_bytes - before < 8 * 2 * 8 * MEGABYTE


@contextlib.contextmanager
def tricklers(daemon: ObservedDaemon, count: int) -> Iterator[None]:
    """Clients that have begun a large message, and send a byte of it now and then."""
    over = threading.Event()

    def trickle(client: Client) -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.02):
                client.raw.sendall(b"x")

    with ExitStack() as stack:
        clients = [stack.enter_context(Client(daemon.socket)) for _ in range(count)]
        threads = [threading.Thread(target=trickle, args=(client,)) for client in clients]
        for client in clients:
            client.raw.sendall(b'{"id":"' + b"x" * 100_000)
        # The bytes have come before the answer to what was asked after them.
        daemon.call("ping")
        for thread in threads:
            thread.start()
        yield
        over.set()
        for thread in threads:
            thread.join()


def test_clients_that_trickle_large_messages_do_not_keep_others_from_sending_theirs(
    daemon: ObservedDaemon,
) -> None:
    """They would for thirty seconds, which is what a message may take."""
    batch = [execution(task_id="x" * 256) for _ in range(6_000)]
    with tricklers(daemon, 8), Client(daemon.socket) as honest:
        request = honest.request("record_executions", executions=batch)
        assert len(request) > 2_000_000
        begin = time.monotonic()
        honest.raw.sendall(request)
        assert honest.hear()["result"]["accepted"] == 6_000
        assert time.monotonic() - begin < LONGEST_SECONDS


def test_large_messages_are_served_in_turn(daemon: ObservedDaemon) -> None:
    batch = [execution(task_id="x" * 256)] * 400
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(daemon.socket)) for _ in range(20)]
        threads = [
            threading.Thread(target=client.raw.sendall, args=(request,))
            for client in clients
            for request in [client.request("record_executions", executions=batch) * 3]
        ]
        for thread in threads:
            thread.start()
        for client in clients:
            for _ in range(3):
                assert client.hear()["result"]["accepted"] == 400
        for thread in threads:
            thread.join()
