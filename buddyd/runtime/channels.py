"""Mailboxes: bounded channels of envelopes, each with a promise of one answer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Generic, TypeVar

import anyio

from buddyd.errors import Unavailable

M = TypeVar("M")

Deliver = Callable[[object], None]
"""What takes the answer: a value, or the exception that stands for it. It must not raise."""


class Envelope(Generic[M]):
    """A message, and who waits for its answer. Answering twice has no effect."""

    __slots__ = ("_deliver", "message")

    def __init__(self, message: M, deliver: Deliver | None = None) -> None:
        self.message = message
        self._deliver = deliver

    @property
    def unanswered(self) -> bool:
        """Whether somebody still waits for the answer."""
        return self._deliver is not None

    def answer(self, outcome: object) -> None:
        """Deliver a value, or an exception, to whoever asked."""
        deliver, self._deliver = self._deliver, None
        if deliver is not None:
            deliver(outcome)


class Mailbox(Generic[M]):
    """What waits for one actor.

    It is closed to begin with: until `open`, and after `refuse`, every message is answered at
    once with the reason. A message that nobody waits for is dropped then.

    This is no memory stream of anyio, because its actor can be woken without a message, as it is
    for news that it shares with others.
    """

    def __init__(self, owner: str, capacity: int) -> None:
        self.owner = owner
        self.capacity = capacity
        self._refusal: Unavailable | None = Unavailable(f"The {owner} actor is starting.", 0.2)
        self._end = anyio.Event()
        self._inside: deque[Envelope[M]] = deque()
        # Those for whom there is no room yet, each with what its sender waits for.
        self._at_the_door: deque[tuple[Envelope[M], anyio.Event]] = deque()
        self._taker: asyncio.Future[None] | None = None
        self._woken = False

    @property
    def finished(self) -> bool:
        """Whether no message will come any more."""
        return self._end.is_set()

    async def until_finished(self) -> None:
        """Wait for `finish`."""
        await self._end.wait()

    @property
    def depth(self) -> int:
        """How many messages wait."""
        return len(self._inside)

    def open(self) -> None:
        """Let messages wait from now on."""
        if not self.finished:
            self._refusal = None

    def refuse(self, reason: Unavailable) -> None:
        """Answer what waits, and what comes from now on, with `reason`."""
        self._refusal = reason
        for envelope in self.waiting():
            envelope.answer(reason)

    def finish(self) -> None:
        """Refuse what comes from now on; what waits can still be taken."""
        self._end.set()
        self._refusal = Unavailable("The daemon is stopping.", 2.0)
        for envelope in self._let_in():
            envelope.answer(self._refusal)
        self.wake()

    async def put(self, envelope: Envelope[M]) -> None:
        """Hand a message in, waiting for room."""
        if self._refusal is not None:
            envelope.answer(self._refusal)
        elif len(self._inside) < self.capacity:
            self._inside.append(envelope)
            self.wake()
        else:
            await self._wait_at_the_door(envelope)

    async def take(self) -> list[Envelope[M]]:
        """Wait for a message, take everything that waits; empty after `finish`, and on `wake`."""
        if self._woken or self.finished:
            # Others have their turn as well, also where there is always something.
            await asyncio.sleep(0)
        else:
            self._taker = asyncio.get_running_loop().create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        self._woken = False
        return self.waiting()

    def wake(self) -> None:
        """Let `take` wait no longer."""
        self._woken = True
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def close(self) -> None:
        """Answer what is left and let go of the channel."""
        self.finish()
        self.refuse(Unavailable("The daemon is stopping.", 2.0))

    def waiting(self) -> list[Envelope[M]]:
        """Take everything that waits now, which may be nothing."""
        found = [*self._inside, *self._let_in()]
        self._inside.clear()
        return found

    def _let_in(self) -> list[Envelope[M]]:
        let_in = []
        while self._at_the_door:
            envelope, event = self._at_the_door.popleft()
            let_in.append(envelope)
            event.set()
        return let_in

    async def _wait_at_the_door(self, envelope: Envelope[M]) -> None:
        place = (envelope, anyio.Event())
        self._at_the_door.append(place)
        try:
            await place[1].wait()
        finally:
            if place in self._at_the_door:
                self._at_the_door.remove(place)


async def ask(mailbox: Mailbox[M], message: M) -> object:
    """Put a message and wait for its answer; raises what the actor answered with, if it did."""
    return await outcome(lambda deliver: mailbox.put(Envelope(message, deliver)))


async def ask_each(asked: Mapping[str, tuple[Mailbox[M], M]], deliver: Deliver) -> None:
    """Put a message for each; their answers are delivered together, by name, once all have come.

    Where some are exceptions, one of those is delivered instead. Waits for room alone.
    """
    answers: dict[str, object] = {}

    def take(name: str, answer: object) -> None:
        answers[name] = answer
        if len(answers) == len(asked):
            raised = (each for each in answers.values() if isinstance(each, BaseException))
            deliver(next(raised, answers))

    for name, (mailbox, message) in asked.items():
        await mailbox.put(Envelope(message, partial(take, name)))


async def outcome(send: Callable[[Deliver], Awaitable[None]]) -> object:
    """Wait for what is delivered for what `send` sends; raises it where it is an exception."""
    answered = anyio.Event()
    outcomes: list[object] = []

    def deliver(outcome: object) -> None:
        outcomes.append(outcome)
        answered.set()

    await send(deliver)
    await answered.wait()
    if isinstance(outcomes[0], BaseException):
        raise outcomes[0]
    return outcomes[0]
