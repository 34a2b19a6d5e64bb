"""What a connection is told without having asked, among the answers to what it asks."""

import anyio
import pytest

from buddyd.server import pending, sender
from buddyd.server import session as module
from buddyd.server.outlet import MOST_UNSENT_NOTIFIED, Outlet
from tests.server.conversation import PONG, Conversation, Script, session, until

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


async def test_there_is_room_again_when_an_answer_takes_the_news_with_it() -> None:
    script, calls = Script(outcome=None), 0

    def count() -> None:
        nonlocal calls
        calls += 1

    async with session(script) as (client, _):
        await client.say({"id": 1, "method": "ping"})
        await until(lambda: script.outlet is not None)
        assert script.outlet is not None
        script.outlet.on_room = count
        # In one step, so that nothing else has sent the news before the answer does.
        told = fill(script.outlet)
        script.delivers.pop()(PONG)
        assert script.outlet.room
        assert calls == 1
        heard = [await client.hear() for _ in range(told + 1)]
        assert heard[-1]["id"] == 1


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
    monkeypatch.setattr(sender, "WRITE_SECONDS", 0.1)
    ended = anyio.Event()
    script = Script()
    async with session(script) as (client, _):
        outlet = await opened(client, script)
        outlet.on_end = ended.set
        outlet.on_room = lambda: outlet.room and outlet.send(LARGE_NEWS)
        fill(outlet)
        await ended.wait()


async def test_one_that_has_nothing_to_read_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(module, "MESSAGE_SECONDS", 0.02)
    monkeypatch.setattr(pending, "ANSWER_SECONDS", 0.02)
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


async def test_a_client_that_has_said_all_is_told_no_more_however_much_there_is() -> None:
    script = Script()
    async with session(script) as (client, _):
        outlet = await opened(client, script)
        outlet.on_room = lambda: outlet.send(NEWS)
        outlet.send(NEWS)
        assert await client.hear() == {"method": "news"}
        await client.stream.send_eof()
        await client.rest()


async def test_a_session_that_is_drained_ends_though_nobody_reads_the_news() -> None:
    script = Script()
    async with session(script) as (client, served):
        outlet = await opened(client, script)
        while outlet.room:
            fill(outlet)
            await anyio.wait_all_tasks_blocked()
        served.drain()
        with pytest.raises(anyio.BrokenResourceError):
            await say_on_and_on(client)


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


async def say_on_and_on(client: Conversation) -> None:
    """Ends when the daemon has hung up, which is all there is to notice without reading."""
    while True:
        await client.say({"method": "ping"})
        await anyio.sleep(0.001)


def script_answer() -> object:
    return Script().outcome
