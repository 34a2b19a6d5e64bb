"""A connection's reads and writes, cancelled at the worst of moments."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from buddyd.server.connection import Connection

pytestmark = pytest.mark.anyio


def ends() -> tuple[socket.socket, Connection]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return left, Connection(right)


async def complaints_about(happen: Callable[[socket.socket], object]) -> list[dict[str, Any]]:
    """What asyncio complains of where a read is cancelled in the turn in which `happen` ends it."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    client, connection = ends()
    trigger, triggered = socket.socketpair()
    async with connection:
        with client, trigger, triggered, anyio.CancelScope() as reading:
            # The selector tells of both in one turn, of the trigger first.
            loop.add_reader(triggered, reading.cancel)
            loop.call_later(0.01, lambda: (trigger.send(b"x"), happen(client)))
            await connection.receive()
        loop.remove_reader(triggered)
    await anyio.wait_all_tasks_blocked()
    loop.set_exception_handler(None)
    return complaints


async def test_bytes_that_come_as_the_read_is_cancelled_are_no_fault() -> None:
    assert await complaints_about(lambda client: client.send(b"late")) == []


async def test_an_end_that_comes_as_the_read_is_cancelled_is_no_fault() -> None:
    assert await complaints_about(lambda client: client.shutdown(socket.SHUT_RDWR)) == []


async def test_what_was_sent_arrives_and_the_end_is_told() -> None:
    client, connection = ends()
    async with connection:
        with client:
            await connection.send(b"x" * 1000)
            assert len(client.recv(2000)) == 1000
            client.sendall(b"answer")
            assert await connection.receive(3) == b"ans"
            assert await connection.receive() == b"wer"
            await connection.send_eof()
            assert client.recv(1) == b""
        with pytest.raises(anyio.EndOfStream):
            await connection.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await connection.send(b"x")


async def test_a_send_waits_for_a_slow_reader() -> None:
    client, connection = ends()
    heard = 0
    async with connection, anyio.create_task_group() as tasks:
        tasks.start_soon(connection.send, b"x" * 2_000_000)
        await anyio.wait_all_tasks_blocked()
        with client:
            while heard < 2_000_000:
                heard += len(await anyio.to_thread.run_sync(client.recv, 65_536))


async def test_who_waits_for_a_connection_is_told_when_it_is_closed() -> None:
    client, connection = ends()
    with client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_expect_closed, connection)
            await anyio.wait_all_tasks_blocked()
            await connection.aclose()
            await connection.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await connection.receive()


async def _expect_closed(connection: Connection) -> None:
    with pytest.raises(anyio.ClosedResourceError):
        await connection.receive()
