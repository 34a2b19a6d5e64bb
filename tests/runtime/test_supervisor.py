"""Supervision: an actor that crashes is restarted alone, and nobody waits for an answer forever."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import product

import anyio
import pytest

from buddyd.errors import ActorGaveUp, StorageBroken, StorageRefused, Unavailable
from buddyd.runtime.actor import Actor
from buddyd.runtime.channels import Envelope, Mailbox, ask
from buddyd.runtime.supervisor import MOVES, RestartPolicy, State, Supervisor

pytestmark = pytest.mark.anyio

QUICK = RestartPolicy(first_delay=0.001, longest_delay=0.002)
SLOW = RestartPolicy(first_delay=3600.0, longest_delay=3600.0)

Turn = Callable[["Clerk", list[Envelope[str]]], Awaitable[float | None]]


class Clerk(Actor[str]):
    """Echoes its messages; some of them tell it what to do."""

    def __init__(self, name: str = "clerk", diary: list[str] | None = None) -> None:
        self.name = name
        self.diary: list[str] = [] if diary is None else diary
        self.mailbox: Mailbox[str] = Mailbox(name, 4)
        self.starts = 0
        self.turns = 0
        self.kept: list[Envelope[str]] = []
        self.faults_at_start: list[Exception] = []
        self.fault_at_stop: Exception | None = None
        self.next_turn: float | None = None
        self.busy = anyio.Event()

    async def start(self) -> None:
        self.starts += 1
        if self.faults_at_start:
            raise self.faults_at_start.pop(0)
        self.diary.append(f"{self.name} starts")

    async def turn(self, envelopes: list[Envelope[str]]) -> float | None:
        self.turns += 1
        for envelope in envelopes:
            match envelope.message:
                case "crash":
                    raise ValueError("oops")
                case "the disk is broken":
                    raise StorageBroken("The disk is broken.")
                case "hang":
                    self.busy.set()
                    await anyio.sleep_forever()
                case "keep":
                    self.kept.append(envelope)
                case message:
                    envelope.answer(message)
        return self.next_turn

    async def stop(self) -> None:
        self.diary.append(f"{self.name} stops")
        if self.fault_at_stop is not None:
            raise self.fault_at_stop


@asynccontextmanager
async def supervised(*clerks: Clerk, policy: RestartPolicy = QUICK) -> AsyncIterator[Supervisor]:
    """The clerks at work; they are stopped at the end."""
    supervisor = Supervisor(policy)
    for clerk in clerks:
        supervisor.add(clerk, clerk.mailbox)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await supervisor.start(tasks)
            try:
                yield supervisor
            finally:
                await supervisor.stop(5.0)


async def refusal(clerk: Clerk, message: str) -> Unavailable:
    """How the daemon excuses itself to who sends `message`."""
    with pytest.raises(Unavailable) as caught:
        await ask(clerk.mailbox, message)
    return caught.value


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks bring about."""
    while not condition():  # noqa: ASYNC110 - it is nobody's business to tell tests
        await anyio.sleep(0.001)


# Life


async def test_actors_start_in_order_and_stop_in_reverse() -> None:
    diary: list[str] = []
    async with supervised(Clerk("first", diary), Clerk("second", diary)) as supervisor:
        assert diary == ["first starts", "second starts"]
        assert [child.state for child in supervisor.children] == [State.RUNNING] * 2
    assert diary[2:] == ["second stops", "first stops"]
    assert [child.state for child in supervisor.children] == [State.STOPPED] * 2


async def test_messages_are_answered() -> None:
    clerk = Clerk()
    async with supervised(clerk):
        assert await ask(clerk.mailbox, "hello") == "hello"


async def test_a_turn_comes_when_it_was_asked_for_without_a_message() -> None:
    clerk = Clerk()
    clerk.next_turn = 0.001
    async with supervised(clerk):
        await until(lambda: clerk.turns >= 3)


async def test_without_messages_and_wishes_there_are_no_turns() -> None:
    clerk = Clerk()
    async with supervised(clerk):
        await anyio.wait_all_tasks_blocked()
        before = clerk.turns
        await anyio.sleep(0.02)
        assert clerk.turns == before


async def test_an_actor_that_always_wants_another_turn_still_gets_its_messages() -> None:
    clerk, neighbour = Clerk(), Clerk("neighbour")
    clerk.next_turn = 0.0
    async with supervised(clerk, neighbour):
        assert await ask(clerk.mailbox, "hello") == "hello"
        assert await ask(neighbour.mailbox, "hello") == "hello"


# Crashes


async def test_a_crashed_actor_is_restarted_alone() -> None:
    clerk, neighbour = Clerk(), Clerk("neighbour")
    async with supervised(clerk, neighbour) as supervisor:
        error = await refusal(clerk, "crash")
        assert error.reason == "The clerk actor is restarting after an error."
        assert error.retry_after_seconds == pytest.approx(0.101)
        child = supervisor.children[0]
        assert child.last_error == "ValueError: oops"
        await until(lambda: child.state is State.RUNNING)
        assert await ask(clerk.mailbox, "hello") == "hello"
        assert (clerk.starts, neighbour.starts) == (2, 1)
        assert [c.restarts for c in supervisor.children] == [1, 0]


async def test_while_it_rests_callers_are_told_when_to_come_again() -> None:
    clerk = Clerk()
    policy = RestartPolicy(first_delay=7.0, longest_delay=7.0)
    async with supervised(clerk, policy=policy) as supervisor:
        await refusal(clerk, "crash")
        assert supervisor.children[0].state is State.CRASHED
        assert (await refusal(clerk, "hello")).retry_after_seconds == pytest.approx(7.1)


async def test_a_crash_answers_all_that_was_handed_in_and_not_answered_yet() -> None:
    clerk = Clerk()
    outcomes: dict[str, list[object]] = {"hello": [], "crash": [], "never read": []}
    async with supervised(clerk):
        for message, heard in outcomes.items():
            await clerk.mailbox.put(Envelope(message, heard.append))
        await until(lambda: all(outcomes.values()))
    assert outcomes["hello"] == ["hello"]
    assert isinstance(outcomes["crash"][0], Unavailable)
    assert isinstance(outcomes["never read"][0], Unavailable)
    assert [len(heard) for heard in outcomes.values()] == [1, 1, 1]


async def test_a_crash_answers_also_what_an_earlier_turn_put_off() -> None:
    clerk = Clerk()
    heard: list[object] = []
    async with supervised(clerk):
        await clerk.mailbox.put(Envelope("keep", heard.append))
        assert await ask(clerk.mailbox, "hello") == "hello"
        assert heard == []
        await refusal(clerk, "crash")
        assert [type(outcome) for outcome in heard] == [Unavailable]


async def test_a_stop_answers_also_what_was_put_off() -> None:
    clerk = Clerk()
    heard: list[object] = []
    async with supervised(clerk):
        await clerk.mailbox.put(Envelope("keep", heard.append))
        await until(lambda: bool(clerk.kept))
    assert [str(outcome) for outcome in heard] == ["The daemon is stopping."]


async def test_the_rest_doubles_with_each_crash_up_to_the_longest() -> None:
    policy = RestartPolicy(first_delay=0.1, longest_delay=5.0)
    assert [policy.delay(n) for n in range(1, 9)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    )


async def test_a_fault_at_the_start_counts_as_a_crash() -> None:
    clerk = Clerk()
    clerk.faults_at_start = [OSError("not yet"), OSError("not yet")]
    async with supervised(clerk) as supervisor:
        assert await ask(clerk.mailbox, "hello") == "hello"
        assert clerk.starts == 3
        assert supervisor.children[0].restarts == 2


async def test_too_many_crashes_end_with_the_actor_and_the_cause() -> None:
    clerk = Clerk()
    policy = RestartPolicy(most_restarts=2, first_delay=0.0)
    async with supervised(clerk, policy=policy) as supervisor:
        for _ in range(3):
            await refusal(clerk, "crash")
            await anyio.wait_all_tasks_blocked()
        await supervisor.failed.wait()
        assert isinstance(supervisor.failure, ActorGaveUp)
        assert str(supervisor.failure) == (
            "The clerk actor crashed 3 times within 60 s; the last time with ValueError: oops"
        )
        assert await refusal(clerk, "hello")


async def test_as_many_crashes_as_are_allowed_are_survived_by_each_actor() -> None:
    clerk, neighbour = Clerk(), Clerk("neighbour")
    policy = RestartPolicy(most_restarts=2, first_delay=0.0)
    async with supervised(clerk, neighbour, policy=policy) as supervisor:
        for each in (clerk, neighbour) * 2:
            await refusal(each, "crash")
            await until(lambda: all(c.state is State.RUNNING for c in supervisor.children))
        assert await ask(clerk.mailbox, "hello") == "hello"
        assert await ask(neighbour.mailbox, "hello") == "hello"
        assert supervisor.failure is None


async def test_an_actor_that_never_starts_is_given_up_and_the_start_goes_on() -> None:
    before, clerk, after = Clerk("before"), Clerk(), Clerk("after")
    clerk.faults_at_start = [OSError(f"fault {number}") for number in range(1, 10)]
    policy = RestartPolicy(most_restarts=2, first_delay=0.0)
    async with supervised(before, clerk, after, policy=policy) as supervisor:
        assert supervisor.failed.is_set()
        assert isinstance(supervisor.failure, ActorGaveUp)
        assert str(supervisor.failure) == (
            "The clerk actor crashed 3 times within 60 s; the last time with OSError: fault 3"
        )
        assert (before.starts, clerk.starts, after.starts) == (1, 3, 1)
        assert supervisor.children[1].last_error == str(supervisor.failure)
        assert (await refusal(clerk, "hello")).reason == "The daemon is stopping."
        assert await ask(before.mailbox, "hello") == "hello"
    assert [child.state for child in supervisor.children] == [State.STOPPED] * 3


async def test_a_fatal_error_at_the_start_is_not_tried_again() -> None:
    clerk = Clerk()
    clerk.faults_at_start = [StorageBroken("The disk is broken.")]
    async with supervised(clerk) as supervisor:
        assert str(supervisor.failure) == "The disk is broken."
        assert (clerk.starts, supervisor.children[0].restarts) == (1, 0)


async def test_the_daemon_ends_for_the_first_of_two_reasons() -> None:
    clerk, neighbour = Clerk(), Clerk("neighbour")
    policy = RestartPolicy(most_restarts=0)
    async with supervised(clerk, neighbour, policy=policy) as supervisor:
        await refusal(neighbour, "crash")
        await supervisor.failed.wait()
        await refusal(clerk, "the disk is broken")
        assert "The neighbour actor crashed 1 times" in str(supervisor.failure)


async def test_crashes_that_lie_far_apart_are_forgiven() -> None:
    clerk = Clerk()
    policy = RestartPolicy(most_restarts=1, within_seconds=0.01, first_delay=0.0)
    async with supervised(clerk, policy=policy) as supervisor:
        for _ in range(4):
            await refusal(clerk, "crash")
            await until(lambda: supervisor.children[0].state is State.RUNNING)
            await anyio.sleep(0.02)
        assert supervisor.failure is None
        assert supervisor.children[0].restarts == 4


async def test_a_fatal_error_is_not_survived() -> None:
    clerk = Clerk()
    async with supervised(clerk) as supervisor:
        await refusal(clerk, "the disk is broken")
        await supervisor.failed.wait()
        assert isinstance(supervisor.failure, StorageBroken)
        assert clerk.starts == 1
        # What ends the daemon is the first reason, not what follows from it.
        supervisor.escalate(ActorGaveUp("later"))
        assert isinstance(supervisor.failure, StorageBroken)


async def test_a_turn_that_hangs_is_cancelled_and_counts_as_a_crash() -> None:
    clerk = Clerk()
    clerk.turn_limit = 0.02
    async with supervised(clerk) as supervisor:
        await refusal(clerk, "hang")
        assert supervisor.children[0].last_error == "TimeoutError: It made no progress for 0.02 s."
        await until(lambda: supervisor.children[0].state is State.RUNNING)
        assert await ask(clerk.mailbox, "hello") == "hello"


async def test_who_is_at_one_turn_for_long_can_be_told() -> None:
    clerk, neighbour = Clerk(), Clerk("neighbour")
    async with supervised(clerk, neighbour) as supervisor:
        await clerk.mailbox.put(Envelope("hang"))
        await clerk.busy.wait()
        assert supervisor.stalled(60.0) == []
        assert supervisor.stalled(0.0) == ["clerk"]
        await supervisor.stop(0.01)


# Stopping


async def test_an_orderly_stop_handles_what_waits() -> None:
    clerk = Clerk()
    heard: list[object] = []
    async with supervised(clerk):
        await anyio.wait_all_tasks_blocked()
        for message in ("a", "b"):
            await clerk.mailbox.put(Envelope(message, heard.append))
    assert heard == ["a", "b"]
    assert (await refusal(clerk, "c")).reason == "The daemon is stopping."


async def test_a_consumer_sees_all_that_a_producer_sends_while_it_stops() -> None:
    consumer = Clerk("consumer")
    heard: list[object] = []

    class Producer(Clerk):
        async def stop(self) -> None:
            await consumer.mailbox.put(Envelope("the last word", heard.append))

    async with supervised(consumer, Producer("producer")):
        pass
    assert heard == ["the last word"]


async def test_a_stop_does_not_wait_for_the_end_of_a_rest() -> None:
    clerk = Clerk()
    async with supervised(clerk, policy=SLOW) as supervisor:
        await refusal(clerk, "crash")
        assert supervisor.children[0].state is State.CRASHED
    assert supervisor.children[0].state is State.STOPPED
    assert clerk.diary[-1] == "clerk stops"


async def test_an_actor_that_hangs_while_it_stops_is_cancelled_and_its_callers_are_told() -> None:
    clerk, neighbour = Clerk(), Clerk("neighbour")
    heard: list[object] = []
    async with supervised(neighbour, clerk) as supervisor:
        await clerk.mailbox.put(Envelope("hang", heard.append))
        await clerk.busy.wait()
        await supervisor.stop(0.02)
        assert [child.state for child in supervisor.children] == [State.STOPPED] * 2
    assert [str(outcome) for outcome in heard] == ["The daemon is stopping."]
    assert neighbour.diary[-1] == "neighbour stops"


async def test_a_fault_at_the_stop_is_reported_and_the_others_stop_all_the_same() -> None:
    clerk, neighbour = Clerk(), Clerk("neighbour")
    clerk.fault_at_stop = StorageRefused("The disk is full.")
    async with supervised(neighbour, clerk) as supervisor:
        pass
    assert "StorageRefused: The disk is full." in str(supervisor.failure)
    assert neighbour.diary[-1] == "neighbour stops"


async def test_actors_whose_task_group_is_cancelled_can_still_be_stopped() -> None:
    clerk = Clerk()
    supervisor = Supervisor(QUICK)
    supervisor.add(clerk, clerk.mailbox)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            await supervisor.start(tasks)
            tasks.cancel_scope.cancel()
        await supervisor.stop(0.1)
    assert supervisor.children[0].state is State.STOPPED


async def test_what_was_never_started_needs_no_stop() -> None:
    supervisor = Supervisor(QUICK)
    clerk = Clerk()
    supervisor.add(clerk, clerk.mailbox)
    with anyio.fail_after(5):
        await supervisor.stop(0.1)
    clerk.mailbox.close()


# The table of states


def test_nothing_comes_after_the_end() -> None:
    assert MOVES[State.STOPPED] == frozenset()
    assert all(State.STOPPED in MOVES[state] for state in State if state is not State.STOPPED)


async def test_a_move_that_is_not_in_the_table_is_a_fault() -> None:
    clerk = Clerk()
    async with supervised(clerk) as supervisor:
        child = supervisor.children[0]
        illegal = [(now, then) for now, then in product(State, State) if then not in MOVES[now]]
        for now, then in illegal:
            child.state = now
            with pytest.raises(RuntimeError, match=f"cannot go from {now} to {then}"):
                child._move(then)
        child.state = State.RUNNING
