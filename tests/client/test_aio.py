"""What only the asynchronous client is asked for."""

import subprocess
import sys
import threading

import anyio
import pytest

from buddyd.client import AsyncClient, TimedOut, Unreachable, calls
from buddyd.domain.answers import Receipt
from tests.support.peer import Asked, Ledger, Odd, Reply, running
from tests.support.samples import AGENTS, PONG, execution

pytestmark = pytest.mark.anyio


async def test_many_tasks_call_over_one_connection() -> None:
    ledger = Ledger()
    receipts: list[Receipt] = []
    with running(ledger) as peer:
        async with AsyncClient(peer.socket) as client, anyio.create_task_group() as tasks:

            async def record(number: int) -> None:
                receipts.append(
                    await client.record_execution(execution(task_id=f"task-{number}" * 20))
                )

            for number in range(300):
                tasks.start_soon(record, number)
        assert peer.connections == 1
    assert sum(receipt.accepted for receipt in receipts) == 300
    assert len(ledger.records) == 300


async def test_a_call_does_not_wait_for_the_answer_to_another() -> None:
    """The peer answers the second request; the first stays open."""

    def script(asked: Asked) -> Reply:
        return Odd.SILENCE if asked.method == "ping" else AGENTS

    with running(script) as peer:
        async with AsyncClient(peer.socket) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(client.ping)
            with anyio.fail_after(5):
                assert await client.get_agents_status() == AGENTS
            tasks.cancel_scope.cancel()
        assert peer.connections == 1


async def test_a_call_that_is_given_up_disturbs_no_other() -> None:
    go_on = threading.Event()

    def script(asked: Asked) -> Reply:
        if asked.method == "ping":
            go_on.wait(10)
            return PONG
        return AGENTS

    with running(script) as peer:
        async with AsyncClient(peer.socket) as client:
            # To be given up while it connects would cost the connection.
            await client.get_agents_status()
            with pytest.raises(TimedOut):
                await client.call(calls.ping(), within=0.05)
            with anyio.move_on_after(0.05) as scope:
                await client.get_agents_status()
            assert scope.cancelled_caught
            go_on.set()
            assert await client.get_agents_status() == AGENTS
        assert peer.connections == 1


async def test_a_call_given_up_while_it_was_sent_costs_the_connection_and_no_call() -> None:
    """Half a frame is out, behind which nothing could be read: who waits there asks again."""
    full = threading.Event()
    heard: list[Asked] = []

    def script(asked: Asked) -> Reply:
        heard.append(asked)
        if len(heard) == 1:
            full.wait(10)
            return Odd.SILENCE
        return PONG

    with running(script) as peer:
        async with AsyncClient(peer.socket) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(client.ping)
            await anyio.wait_all_tasks_blocked()
            large = [execution(task_id="x" * 250) for _ in range(10_000)]
            with pytest.raises(TimedOut):
                await client.call(calls.record_executions(large), within=0.3)
            with anyio.fail_after(5):
                assert await client.ping() == PONG
            tasks.cancel_scope.deadline = anyio.current_time() + 5
        assert not tasks.cancel_scope.cancelled_caught
        full.set()
    assert [asked.method for asked in heard] == ["ping"] * 3


async def test_an_error_of_the_caller_comes_out_as_it_is() -> None:
    async def fail(client: AsyncClient) -> None:
        async with client:
            await client.ping()
            raise ZeroDivisionError

    with running(lambda _: PONG) as peer, pytest.raises(ZeroDivisionError):
        await fail(AsyncClient(peer.socket))


async def test_all_that_waited_on_a_lost_connection_ask_again() -> None:
    with running(lambda _: Odd.HANG_UP) as peer:
        async with AsyncClient(peer.socket) as client:
            problems: list[Exception] = []

            async def ping() -> None:
                try:
                    await client.ping()
                except Unreachable as error:
                    problems.append(error)

            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(ping)
            assert len(problems) == 5


async def test_it_must_be_entered() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await AsyncClient("/nowhere").ping()


def test_a_forked_child_is_told_to_open_its_own() -> None:
    """Its parent's tasks are not there to listen; the parent goes on as before."""
    program = """
import os, sys, asyncio
from buddyd.client import AsyncClient

async def main():
    async with AsyncClient(sys.argv[1]) as client:
        await client.ping()
        child = os.fork()
        if child == 0:
            try:
                await client.ping()
            except RuntimeError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        await client.ping()

asyncio.run(main())
"""
    with running(lambda _: PONG) as peer:
        subprocess.run([sys.executable, "-c", program, str(peer.socket)], check=True, timeout=30)
        assert peer.connections == 1
