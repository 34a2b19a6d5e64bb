"""What only the blocking client is asked for."""

import ast
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from msgspec import msgpack

import buddyd.client
from buddyd.client import Client, ConnectionLost, NotRunning, TimedOut, calls
from buddyd.domain.answers import Receipt
from tests.support.peer import Asked, Ledger, Odd, Peer, Reply, running
from tests.support.samples import AGENTS, PONG, execution


def test_threads_share_a_client() -> None:
    ledger = Ledger()
    with running(ledger) as peer, Client(peer.socket) as client:

        def record(number: int) -> Receipt:
            return client.record_execution(execution(task_id=f"task-{number}"))

        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(record, range(200)))
        assert all(receipt.accepted == 1 for receipt in receipts)
        assert len(ledger.records) == 200
        assert peer.connections == 1


def test_a_call_does_not_wait_for_the_answer_to_that_of_another_thread() -> None:
    """The peer answers the second request; the first stays open, over the same connection."""

    def script(asked: Asked) -> Reply:
        return Odd.SILENCE if asked.method == "ping" else AGENTS

    with running(script) as peer, Client(peer.socket) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.call, calls.ping(), within=2)
        while not peer.asked:
            time.sleep(0.001)
        assert client.get_agents_status() == AGENTS
        assert not waiting.done()
        assert isinstance(waiting.exception(10), TimedOut)
        assert peer.connections == 1


def test_who_listens_for_the_others_hands_that_on_when_its_own_time_is_up() -> None:
    go_on = threading.Event()

    def script(request: Asked) -> Reply:
        if request.method == "ping":
            return Odd.SILENCE
        go_on.wait(10)
        return AGENTS

    with running(script) as peer, Client(peer.socket) as client, ThreadPoolExecutor(2) as pool:
        impatient = pool.submit(client.call, calls.ping(), within=0.3)
        while not peer.asked:
            time.sleep(0.001)
        patient = pool.submit(client.get_agents_status)
        assert isinstance(impatient.exception(10), TimedOut)
        go_on.set()
        assert patient.result(10) == AGENTS
        assert peer.connections == 1


def test_a_forked_child_has_a_connection_of_its_own() -> None:
    """Both go on asking; a child that is gone takes nothing of its parent's with it."""
    program = """
import os, sys
from buddyd.client import Client
client = Client(sys.argv[1])
client.ping()
child = os.fork()
for _ in range(20):
    client.ping()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.ping()
"""
    with running(lambda _: PONG) as peer:
        subprocess.run([sys.executable, "-c", program, str(peer.socket)], check=True, timeout=30)
        assert peer.connections == 2
        assert len(peer.asked) == 42


def test_a_daemon_that_restarts_in_the_middle_of_a_call_is_waited_for() -> None:
    ledger = Ledger()
    restarts: list[threading.Thread] = []

    def restart() -> None:
        peer.hang_up()
        peer.stop()
        peer.socket.unlink()
        time.sleep(0.3)
        peer.start()

    def script(asked: Asked) -> Reply:
        reply = ledger(asked)
        if not restarts:
            restarts.append(threading.Thread(target=restart))
            restarts[0].start()
            restarts[0].join(10)
        return reply

    with running(script) as peer, Client(peer.socket) as client:
        receipt = client.record_execution(execution())
    assert (receipt.accepted, receipt.duplicates) == (0, 1)
    assert len(ledger.records) == 1


def test_a_daemon_that_is_gone_for_good_is_waited_for_once() -> None:
    with running(lambda _: PONG) as peer, Client(peer.socket, timeout=0.3) as client:
        client.ping()
        peer.hang_up()
        peer.stop()
        with pytest.raises(NotRunning):
            client.ping()
        began = time.monotonic()
        with pytest.raises(NotRunning):
            client.call(calls.ping(), within=60)
        assert time.monotonic() - began < 30


def test_a_thread_waits_for_another_no_longer_than_its_limit() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hold(_: Asked) -> Reply:
        asked.set()
        go_on.wait(10)
        return PONG

    with running(hold) as peer, Client(peer.socket) as client:
        first = threading.Thread(target=client.ping)
        first.start()
        assert asked.wait(10)
        began = time.monotonic()
        with pytest.raises(TimedOut):
            client.call(calls.ping(), within=0.05)
        assert time.monotonic() - began < 5
        go_on.set()
        first.join(10)
        assert not first.is_alive()


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one() -> None:
    late = threading.Event()

    def script(asked: Asked) -> Reply:
        if asked.method == "ping":
            late.wait(10)
            return PONG
        return AGENTS

    with running(script) as peer, Client(peer.socket) as client:
        with pytest.raises(TimedOut):
            client.call(calls.ping(), within=0.05)
        late.set()
        assert client.get_agents_status() == AGENTS


def test_a_closed_client_connects_again_when_it_is_asked() -> None:
    with running(lambda _: PONG) as peer:
        client = Client(peer.socket)
        client.ping()
        client.close()
        assert client.ping() == PONG
        client.close()
        assert peer.connections == 2


def test_an_answer_as_it_came_keeps_what_this_version_does_not_know() -> None:
    body = {"jsonrpc": "2.0", "id": 1, "result": {"version": "9", "mood": "sunny"}}
    payload = msgpack.encode(body)
    reply = len(payload).to_bytes(4) + payload
    with running(lambda _: reply) as peer, Client(peer.socket) as client:
        assert client.call_plain(calls.ping()) == {"version": "9", "mood": "sunny"}


def test_a_full_queue_of_connections_is_waited_for_no_longer_than_the_limit() -> None:
    with (
        running(lambda _: PONG) as peer,
        crowded(peer),
        Client(peer.socket, timeout=0.1) as client,
        pytest.raises(TimedOut),
    ):
        client.ping()


def test_a_place_in_the_queue_of_connections_is_waited_for() -> None:
    with running(lambda _: PONG) as peer, crowded(peer) as listener, Client(peer.socket) as client:
        relief = threading.Timer(0.2, hang_up_on, [listener, 5])
        relief.start()
        # A connection that is closed unheard is lost, again and again: it was made all the same.
        with pytest.raises(ConnectionLost):
            client.ping()
        relief.join(10)


def hang_up_on(listener: socket.socket, callers: int) -> None:
    for _ in range(callers):
        connection, _address = listener.accept()
        connection.close()


@contextmanager
def crowded(peer: Peer) -> Iterator[socket.socket]:
    """A listener in the place of `peer`, with no place for one more connection."""
    peer.stop()
    peer.socket.unlink()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(peer.socket))
        listener.listen(0)
        first.connect(str(peer.socket))
        yield listener


def test_the_import_of_the_blocking_side_brings_little() -> None:
    """What takes longest, msgspec, comes with the first call."""
    program = (
        "import sys, socket, threading, pathlib; before = set(sys.modules);"
        "from buddyd.client import Client, TimedOut, DaemonError, Unreachable; Client('/nowhere');"
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith('buddyd')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    brought = set(ast.literal_eval(result.stdout))
    assert not brought & {"msgspec", "logging", "inspect", "json", "random", "hashlib"}
    assert len(brought) < 15


def test_the_blocking_side_loads_nothing_of_the_asynchronous_one() -> None:
    program = (
        "import sys; from buddyd.client import Client, NotRunning, Execution\n"
        "try: Client('/nowhere').ping()\n"
        "except NotRunning: pass\n"
        "print({'anyio', 'asyncio', 'structlog', 'click', 'rich', 'aiosqlite'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stdout == b"set()\n"


def test_the_asynchronous_client_is_there_when_it_is_named() -> None:
    assert buddyd.client.AsyncClient.__module__ == "buddyd.client.aio"
    with pytest.raises(AttributeError, match="AsynClient"):
        buddyd.client.AsynClient  # noqa: B018
