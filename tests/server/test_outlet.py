"""What a connection is told without having asked, among the answers to what it asks."""

import anyio
import pytest

from buddyd.server import session as module
from buddyd.server.outlet import MOST_UNSENT_NOTIFIED, Outlet
from tests.server.conversation import Conversation, Script, session, until

pytestmark = pytest.mark.anyio

NEWS = b'{"method":"news"}\n'
LARGE_NEWS = b'{"method":"%s"}\n' % (b"x" * 8000)


async def opened(client: Conversation, script: Script) -> Outlet:
    """The outlet of a connection that has asked something."""
    await client.say({"id": 1, "method": "ping"})
    assert (await client.hear())["id"] == 1
    assert script.outlet is not None
    return script.outlet


def fill(outlet: Outlet) -> int:
    """Tell as much as there is room for; how many."""
    count = 0
    while outlet.room:
        outlet.send(LARGE_NEWS)
        count += 1
    return count


async def test_news_come_between_answers_in_the_order_in_which_they_were_sent() -> None:
    script = Script()
    async with session(script) as (client, _):
        outlet = await opened(client, script)
        outlet.send(NEWS)
        await client.say({"id": 2, "method": "ping"})
        await until(lambda: len(script.asked) == 2)
        outlet.send(NEWS)
        heard = [await client.hear() for _ in range(3)]
    assert [each.get("id") for each in heard] == [None, 2, None]


async def test_there_is_room_until_enough_waits_and_again_when_it_was_read() -> None:
    script, calls = Script(), 0

    def count() -> None:
        nonlocal calls
        calls += 1

    async with session(script) as (client, _):
        outlet = await opened(client, script)
        outlet.on_room = count
        told = 0
        # What the kernel takes is sent; what it does not, waits here, and is bounded.
        while outlet.room:
            told += fill(outlet)
            await anyio.wait_all_tasks_blocked()
        assert calls >= 1
        assert client_is_behind(outlet)
        calls_before = calls
        for _ in range(told):
            await client.hear()
        await until(lambda: outlet.room)
        assert calls > calls_before


def client_is_behind(outlet: Outlet) -> bool:
    return outlet._unsent() >= MOST_UNSENT_NOTIFIED


async def test_requests_are_answered_while_news_wait() -> None:
    """News alone never stop the reading of requests."""
    script = Script()
    async with session(script) as (client, _):
        outlet = await opened(client, script)
        while outlet.room:
            fill(outlet)
            await anyio.wait_all_tasks_blocked()
        await client.say({"id": 2, "method": "ping"})
        await until(lambda: len(script.asked) == 2)
        while (await client.hear()).get("id") != 2:
            pass


async def test_a_client_that_does_not_read_its_news_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.1)
    ended = anyio.Event()
    script = Script()
    async with session(script) as (client, _):
        outlet = await opened(client, script)
        outlet.on_end = ended.set
        outlet.on_room = lambda: outlet.room and outlet.send(LARGE_NEWS)
        fill(outlet)
        await ended.wait()


async def test_one_that_has_nothing_to_read_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("WRITE_SECONDS", "MESSAGE_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(module, limit, 0.02)
    script = Script()
    async with session(script) as (client, _):
        outlet = await opened(client, script)
        await anyio.sleep(0.1)
        outlet.send(NEWS)
        assert await client.hear() == {"method": "news"}


async def test_the_end_is_told_once_and_nothing_is_sent_after_it() -> None:
    ends = []
    script = Script()
    async with session(script) as (client, _):
        outlet = await opened(client, script)
        outlet.on_end = lambda: ends.append("end")
        outlet.send(NEWS)
        await client.stream.send_eof()
        await until(lambda: bool(ends))
        outlet.send(NEWS)
        assert await client.rest() == [{"method": "news"}]
    assert ends == ["end"]
    assert not outlet.room


async def test_a_session_that_is_drained_ends_though_nobody_reads_the_news() -> None:
    script = Script()
    async with session(script) as (client, served):
        outlet = await opened(client, script)
        while outlet.room:
            fill(outlet)
            await anyio.wait_all_tasks_blocked()
        served.drain()
        heard = await client.rest()
    assert heard == [{"method": "x" * 8000}] * len(heard)


async def test_a_session_that_is_drained_still_answers() -> None:
    script = Script()
    async with session(script) as (client, served):
        outlet = await opened(client, script)
        script.outcome = None
        await client.say({"id": 2, "method": "ping"})
        await until(lambda: len(script.delivers) == 2)
        outlet.send(NEWS)
        served.drain()
        outlet.send(NEWS)
        script.delivers[1](script_answer())
        heard = await client.rest()
    assert [each.get("id") for each in heard] == [None, 2]


def script_answer() -> object:
    return Script().outcome
