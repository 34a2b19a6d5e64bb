"""The socket's file, the accept loop, and the connections there are."""

import os
import select
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from buddyd.errors import AlreadyRunning, ConfigurationError
from buddyd.protocol.framing import Encoding
from buddyd.protocol.messages import Role
from buddyd.server.listener import Policy, Server, SocketUnusable, listening_socket
from buddyd.server.peers import Peer
from buddyd.server.session import SessionSettings, Traffic
from tests.server.conversation import LIMIT, PONG, Conversation, Script, until

PING = {"id": 1, "method": "ping"}


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


async def anybody(_: Peer) -> frozenset[Role]:
    return frozenset(Role)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


# The file


def test_clients_can_connect_and_afterwards_the_file_is_gone(path: Path) -> None:
    with listening_socket(path), connected(path):
        assert path.is_socket()
    assert not os.path.lexists(path)


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_owner_and_group_may_open_it_from_the_start(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with listening_socket(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_what_a_dead_daemon_left_is_taken_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with listening_socket(path), connected(path):
        pass


def test_two_daemons_cannot_listen_at_one_path(path: Path) -> None:
    with listening_socket(path):
        with pytest.raises(AlreadyRunning, match="Another buddyd listens"), listening_socket(path):
            pass
        with connected(path):
            assert path.is_socket()
    with listening_socket(path):
        pass


def test_the_socket_of_another_program_is_left_to_it(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(AlreadyRunning, match="Another program"), listening_socket(path):
            pass
        with connected(path):
            pass


def test_a_program_that_is_too_busy_to_accept_is_alive_too(path: Path) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(path))
        other.listen(0)
        stack.enter_context(connected(path))
        with pytest.raises(AlreadyRunning), listening_socket(path):
            pass


def test_a_path_has_as_many_bytes_as_the_kernel_takes_and_no_more(tmp_path: Path) -> None:
    room = 107 - len(os.fsencode(tmp_path)) - 1
    with listening_socket(tmp_path / ("s" * room)) as listener:
        assert len(listener.getsockname()) == 107
    too_long = tmp_path / ("s" * (room - 1) + "é")
    with (
        pytest.raises(ConfigurationError, match="108 bytes; at most 107"),
        listening_socket(too_long),
    ):
        pass
    assert {each.suffix for each in tmp_path.iterdir()} == {".lock"}


def test_a_file_that_is_no_socket_is_refused_and_not_touched(tmp_path: Path) -> None:
    file, folder, link = tmp_path / "file", tmp_path / "folder", tmp_path / "link"
    file.write_text("mine")
    folder.mkdir()
    link.symlink_to(tmp_path / "nowhere")
    for taken in (file, folder, link):
        with pytest.raises(ConfigurationError, match="not touched"), listening_socket(taken):
            pass
    assert file.read_text() == "mine"
    assert folder.is_dir()
    assert link.is_symlink()


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    where = tmp_path / "nowhere" / "s"
    with pytest.raises(SocketUnusable, match="No such file") as caught, listening_socket(where):
        pass
    assert caught.value.exit_code == 74


# Connections


class Served:
    """A server at a path, and a way to reach it."""

    def __init__(self, path: Path, server: Server, traffic: Traffic) -> None:
        self.path = path
        self.server = server
        self.traffic = traffic

    async def connect(self, encoding: Encoding = Encoding.JSON) -> Conversation:
        return Conversation(await anyio.connect_unix(self.path), encoding)


@asynccontextmanager
async def serving(
    path: Path, script: Script, policy: Policy = anybody, most: int = 10
) -> AsyncIterator[Served]:
    traffic = Traffic()
    server = Server(SessionSettings(script, LIMIT, traffic), policy, most)
    with listening_socket(path) as listener, anyio.fail_after(20):
        async with anyio.create_task_group() as sessions, anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener], sessions)
            yield Served(path, server, traffic)
            # Who hangs up in the very moment of the stop makes asyncio complain of its own future.
            await anyio.wait_all_tasks_blocked()
            await server.stop(0.1)
            sessions.cancel_scope.cancel()


@pytest.mark.anyio
async def test_connections_are_served_side_by_side_each_in_its_encoding(path: Path) -> None:
    async with serving(path, Script()) as served:
        first, second = await served.connect(), await served.connect(Encoding.MSGPACK)
        async with first.stream, second.stream:
            for client in (first, second, first):
                await client.say(PING)
                assert (await client.hear())["result"]["protocol"] == 1
            assert served.traffic.connections == 2
        await until(lambda: served.traffic.connections == 0)


@pytest.mark.anyio
async def test_the_policy_is_told_who_connects_and_is_asked_anew_each_time(path: Path) -> None:
    peers: list[Peer] = []

    async def nobody(peer: Peer) -> frozenset[Role]:
        peers.append(peer)
        return frozenset()

    async with serving(path, Script(), nobody) as served:
        client = await served.connect()
        async with client.stream:
            await client.say(PING)
            assert (await client.hear())["error"]["code"] == -32001
        served.server.policy = anybody
        client = await served.connect()
        async with client.stream:
            await client.say(PING)
            assert "result" in await client.hear()
    assert peers == [Peer(os.getpid(), os.geteuid(), os.getegid())]


@pytest.mark.anyio
async def test_who_has_to_be_looked_up_keeps_nobody_else_waiting_and_counts(path: Path) -> None:
    known = anyio.Event()

    async def slow(peer: Peer) -> frozenset[Role]:
        await known.wait()
        return await anybody(peer)

    async with serving(path, Script(), slow, most=2) as served:
        slowly = await served.connect()
        await until(lambda: served.server._unknown == 1)
        served.server.policy = anybody
        quickly = await served.connect()
        async with slowly.stream, quickly.stream:
            await slowly.say(PING)
            await quickly.say(PING)
            assert "result" in await quickly.hear()
            too_many = await served.connect()
            async with too_many.stream:
                await too_many.say(PING)
                assert "too many" in (await too_many.hear())["error"]["message"]
            known.set()
            assert "result" in await slowly.hear()


@pytest.mark.anyio
async def test_a_stop_does_not_wait_for_who_is_looked_up(path: Path) -> None:
    async def hangs(_: Peer) -> frozenset[Role]:
        return await anyio.sleep_forever()

    async with serving(path, Script(), hangs) as served:
        client = await served.connect()
        await until(lambda: served.server._unknown == 1)
        await served.server.stop(60)
        await client.stream.aclose()


@pytest.mark.anyio
async def test_a_fault_in_one_connection_leaves_the_others(path: Path) -> None:
    async def fault(_: Peer) -> frozenset[Role]:
        raise ZeroDivisionError

    async with serving(path, Script()) as served:
        good = await served.connect()
        async with good.stream:
            await good.say(PING)
            await good.hear()
            served.server.policy = fault
            bad = await served.connect()
            async with bad.stream:
                assert await bad.rest() == []
            await good.say(PING)
            assert "result" in await good.hear()


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", Encoding)
async def test_connections_over_the_limit_are_told_so(path: Path, encoding: Encoding) -> None:
    async with serving(path, Script(), most=1) as served:
        first = await served.connect()
        async with first.stream:
            await first.say(PING)
            await first.hear()
            over = await served.connect(encoding)
            async with over.stream:
                await over.say(PING, {"id": 2, "method": "backup", "params": {"path": "/x"}})
                await over.stream.send_eof()
                errors = [answer["error"] for answer in await over.rest()]
                assert [error["code"] for error in errors] == [-32000, -32000]
                assert errors[0]["message"] == ("There are too many connections. Try again in 5 s.")
            assert served.traffic.connections == 1
        await until(lambda: served.traffic.connections == 0)
        again = await served.connect()
        async with again.stream:
            await again.say(PING)
            assert "result" in await again.hear()


@pytest.mark.anyio
async def test_a_stop_answers_what_was_received_and_takes_nothing_new(path: Path) -> None:
    script = Script(outcome=None)
    async with serving(path, script) as served:
        client, idle = await served.connect(), await served.connect()
        async with client.stream, idle.stream, anyio.create_task_group() as tasks:
            await client.say(PING)
            await until(lambda: len(script.delivers) == 1)
            tasks.start_soon(served.server.stop, 10.0)
            assert await idle.rest() == []
            script.delivers[0](PONG)
            assert [answer["id"] for answer in await client.rest()] == [1]
        with pytest.raises(OSError, match="Connection refused"):
            await served.connect()


@pytest.mark.anyio
async def test_a_stop_does_not_wait_for_ever(path: Path) -> None:
    script = Script(outcome=None)
    async with serving(path, script) as served:
        client = await served.connect()
        async with client.stream:
            await client.say(PING)
            await until(lambda: len(script.delivers) == 1)
            await served.server.stop(0.01)
            assert served.traffic.connections == 1


EXHAUSTED = """
    import resource, socket, sys
    from pathlib import Path
    import anyio
    from buddyd.protocol.messages import Role
    from buddyd.server.listener import Server, listening_socket
    from buddyd.server.session import SessionSettings, Traffic
    from tests.server.conversation import LIMIT, Script

    async def anybody(_):
        return frozenset(Role)

    async def main():
        resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
        settings = SessionSettings(Script(), LIMIT, Traffic())
        server = Server(settings, anybody, 1000)
        with listening_socket(Path(sys.argv[1])) as listener:
            print("listening", flush=True)
            async with anyio.create_task_group() as tasks:
                await server.serve([listener], tasks)

    anyio.run(main)
"""


@pytest.fixture
def exhaustible(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A server in a process of its own that may have thirty files open."""
    command = [sys.executable, "-u", "-c", textwrap.dedent(EXHAUSTED), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        wait_for(process, "listening")
        yield process
        process.kill()


def wait_for(process: "subprocess.Popen[str]", text: str) -> None:
    """Read what the process says up to a line with `text`."""
    assert process.stdout is not None
    while True:
        ready, _, _ = select.select([process.stdout], [], [], 20)
        line = process.stdout.readline() if ready else ""
        assert line, f"it did not say {text!r}"
        if text in line:
            return


def test_running_out_of_file_descriptors_is_survived(
    path: Path, exhaustible: "subprocess.Popen[str]"
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(path)) for _ in range(60)]
        wait_for(exhaustible, "no file descriptor is left")
        # Who is in is still served.
        clients[0].sendall(b'{"id":1,"method":"ping"}\n')
        assert b'"result"' in clients[0].recv(1000)
    with connected(path) as client:
        client.settimeout(20)
        client.sendall(b'{"id":1,"method":"ping"}\n')
        assert b'"result"' in client.recv(1000)
    assert exhaustible.poll() is None
