"""Mailboxes: bounded, and every envelope is answered exactly once."""

from collections.abc import Callable

import anyio
import pytest

from buddyd.errors import Unavailable
from buddyd.runtime.channels import Envelope, Mailbox, ask, ask_each

pytestmark = pytest.mark.anyio

RESTARTING = Unavailable("The clerk actor is restarting after an error.", 0.7)


class Asker:
    """Hands messages in and keeps every answer that comes."""

    def __init__(self) -> None:
        self.answers: dict[str, list[object]] = {}

    def envelope(self, message: str) -> Envelope[str]:
        heard = self.answers.setdefault(message, [])
        return Envelope(message, heard.append)

    def reason(self, message: str) -> str:
        """What a message was refused with; the only answer that it got."""
        (outcome,) = self.answers[message]
        assert isinstance(outcome, Unavailable)
        return outcome.reason


@pytest.fixture
def asker() -> Asker:
    return Asker()


async def open_mailbox(capacity: int = 2) -> Mailbox[str]:
    mailbox: Mailbox[str] = Mailbox("clerk", capacity)
    mailbox.open()
    return mailbox


async def test_before_its_actor_has_started_it_refuses_with_the_reason(asker: Asker) -> None:
    mailbox: Mailbox[str] = Mailbox("clerk", 2)
    await mailbox.put(asker.envelope("early"))
    assert asker.reason("early") == "The clerk actor is starting."
    mailbox.close()


async def test_messages_are_taken_together_and_in_order(asker: Asker) -> None:
    mailbox = await open_mailbox(capacity=3)
    for message in ("a", "b", "c"):
        await mailbox.put(asker.envelope(message))
    assert mailbox.depth == 3
    assert [e.message for e in await mailbox.take()] == ["a", "b", "c"]
    assert mailbox.depth == 0
    mailbox.close()


async def test_a_full_one_makes_the_sender_wait(asker: Asker) -> None:
    mailbox = await open_mailbox(capacity=2)
    async with anyio.create_task_group() as senders:
        for message in ("a", "b", "c"):
            senders.start_soon(mailbox.put, asker.envelope(message))
        await anyio.wait_all_tasks_blocked()
        assert mailbox.depth == 2
        assert [e.message for e in await mailbox.take()] == ["a", "b", "c"]
    assert asker.answers == {"a": [], "b": [], "c": []}
    mailbox.close()


async def test_answering_twice_has_no_effect(asker: Asker) -> None:
    envelope = asker.envelope("a")
    assert envelope.unanswered
    envelope.answer(1)
    envelope.answer(2)
    assert asker.answers["a"] == [1]
    assert not envelope.unanswered


async def test_a_crash_answers_what_waits_and_who_waits_for_room(asker: Asker) -> None:
    mailbox = await open_mailbox(capacity=1)
    async with anyio.create_task_group() as senders:
        for message in ("inside", "at the door"):
            senders.start_soon(mailbox.put, asker.envelope(message))
        await anyio.wait_all_tasks_blocked()
        mailbox.refuse(RESTARTING)
    await mailbox.put(asker.envelope("late"))
    assert {asker.reason(m) for m in asker.answers} == {RESTARTING.reason}
    mailbox.open()
    await mailbox.put(asker.envelope("after the restart"))
    assert [e.message for e in await mailbox.take()] == ["after the restart"]
    mailbox.close()


@pytest.mark.parametrize(
    "happens",
    [
        lambda mailbox: mailbox.refuse(RESTARTING),
        lambda mailbox: mailbox.finish(),
        lambda mailbox: mailbox.close(),
    ],
    ids=["crash", "finish", "close"],
)
async def test_a_message_that_is_on_its_way_in_is_answered_or_can_be_taken(
    happens: Callable[[Mailbox[str]], None], asker: Asker
) -> None:
    mailbox = await open_mailbox()
    async with anyio.create_task_group() as senders:
        senders.start_soon(mailbox.put, asker.envelope("a"))
        # One step: `put` has looked at the door and waits for its turn to go in.
        await anyio.lowlevel.checkpoint()
        happens(mailbox)
    left = mailbox.waiting()
    assert len(left) + len(asker.answers["a"]) == 1
    mailbox.close()


async def test_after_finish_what_waits_is_taken_and_what_comes_is_refused(asker: Asker) -> None:
    mailbox = await open_mailbox(capacity=1)
    async with anyio.create_task_group() as senders:
        for message in ("inside", "at the door"):
            senders.start_soon(mailbox.put, asker.envelope(message))
        await anyio.wait_all_tasks_blocked()
        mailbox.finish()
    await mailbox.put(asker.envelope("late"))
    assert asker.reason("at the door") == asker.reason("late") == "The daemon is stopping."
    assert [e.message for e in await mailbox.take()] == ["inside"]
    assert await mailbox.take() == []
    assert mailbox.finished
    mailbox.open()
    await mailbox.put(asker.envelope("still late"))
    assert asker.reason("still late") == "The daemon is stopping."
    mailbox.close()


async def test_close_answers_what_is_left(asker: Asker) -> None:
    mailbox = await open_mailbox()
    await mailbox.put(asker.envelope("left"))
    mailbox.close()
    mailbox.close()
    assert asker.reason("left") == "The daemon is stopping."


async def test_taking_waits_for_a_message_or_the_end() -> None:
    mailbox = await open_mailbox()
    taken: list[list[str]] = []

    async def take() -> None:
        taken.append([e.message for e in await mailbox.take()])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        assert taken == []
        await mailbox.put(Envelope("a"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        tasks.start_soon(mailbox.until_finished)
        await anyio.wait_all_tasks_blocked()
        mailbox.finish()
    assert taken == [["a"], []]
    mailbox.close()


async def test_its_actor_can_be_woken_without_a_message() -> None:
    mailbox = await open_mailbox()
    mailbox.wake()
    assert await mailbox.take() == []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mailbox.take)
        await anyio.wait_all_tasks_blocked()
        mailbox.wake()
    mailbox.close()


async def test_a_sender_that_is_cancelled_at_the_door_leaves_nothing_behind(asker: Asker) -> None:
    mailbox = await open_mailbox(capacity=1)
    await mailbox.put(Envelope("inside"))
    async with anyio.create_task_group() as senders:
        senders.start_soon(mailbox.put, asker.envelope("gone"))
        await anyio.wait_all_tasks_blocked()
        senders.cancel_scope.cancel()
    assert [e.message for e in await mailbox.take()] == ["inside"]
    assert mailbox.waiting() == []
    mailbox.close()


async def test_ask_gives_the_answer_or_raises_it() -> None:
    mailbox = await open_mailbox()

    async def serve() -> None:
        for outcome in (42, ValueError("no")):
            (envelope,) = await mailbox.take()
            envelope.answer(outcome)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        assert await ask(mailbox, "a") == 42
        with pytest.raises(ValueError, match="no"):
            await ask(mailbox, "b")
    mailbox.close()
    with pytest.raises(Unavailable, match="The daemon is stopping"):
        await ask(mailbox, "c")


async def test_answers_of_several_are_delivered_together_when_all_have_come() -> None:
    clerk, porter = await open_mailbox(), await open_mailbox()
    delivered: list[object] = []
    await ask_each({"sum": (clerk, "2 + 2"), "key": (porter, "room 5")}, delivered.append)
    (of_porter,) = await porter.take()
    of_porter.answer("a key")
    assert delivered == []
    (of_clerk,) = await clerk.take()
    of_clerk.answer(4)
    assert delivered == [{"key": "a key", "sum": 4}]


async def test_an_error_of_one_of_several_is_that_of_all() -> None:
    clerk, porter = await open_mailbox(), await open_mailbox()
    porter.refuse(RESTARTING)
    delivered: list[object] = []
    await ask_each({"sum": (clerk, "2 + 2"), "key": (porter, "room 5")}, delivered.append)
    (of_clerk,) = await clerk.take()
    of_clerk.answer(4)
    assert delivered == [RESTARTING]
