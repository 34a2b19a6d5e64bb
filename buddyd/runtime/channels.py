"""Mailboxes: bounded channels of envelopes, each with a promise of one answer."""

from collections.abc import Callable
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
    """

    def __init__(self, owner: str, capacity: int) -> None:
        self.owner = owner
        self.capacity = capacity
        self._refusal: Unavailable | None = Unavailable(f"The {owner} actor is starting.", 0.2)
        self._end = anyio.Event()
        # None is no message: it wakes who waits for one.
        self._send, self._receive = anyio.create_memory_object_stream[Envelope[M] | None](capacity)

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
        return self._send.statistics().current_buffer_used

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
        self._send.close()

    async def put(self, envelope: Envelope[M]) -> None:
        """Hand a message in, waiting for room."""
        if self._refusal is not None:
            envelope.answer(self._refusal)
            return
        try:
            await self._send.send(envelope)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            envelope.answer(self._refusal)

    def offer(self, envelope: Envelope[M]) -> bool:
        """Hand a message in if there is room now; say whether it was taken."""
        if self._refusal is not None:
            return False
        try:
            self._send.send_nowait(envelope)
        except (anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            return False
        return True

    async def take(self) -> list[Envelope[M]]:
        """Wait for a message, take everything that waits; empty after `finish`, and on `wake`."""
        try:
            first = await self._receive.receive()
        except anyio.EndOfStream:
            return []
        return [*_real(first), *self.waiting()]

    def wake(self) -> None:
        """Let `take` wait no longer."""
        if not self.finished and not self.depth:
            self._send.send_nowait(None)

    def close(self) -> None:
        """Answer what is left and let go of the channel."""
        self.finish()
        self.refuse(Unavailable("The daemon is stopping.", 2.0))
        self._receive.close()

    def waiting(self) -> list[Envelope[M]]:
        """Take everything that waits now, which may be nothing."""
        found: list[Envelope[M]] = []
        while True:
            try:
                found += _real(self._receive.receive_nowait())
            except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
                return found


def _real(envelope: Envelope[M] | None) -> tuple[Envelope[M], ...]:
    return () if envelope is None else (envelope,)


async def ask(mailbox: Mailbox[M], message: M) -> object:
    """Put a message and wait for its answer; raises what the actor answered with, if it did."""
    answered = anyio.Event()
    outcomes: list[object] = []

    def deliver(outcome: object) -> None:
        outcomes.append(outcome)
        answered.set()

    await mailbox.put(Envelope(message, deliver))
    await answered.wait()
    if isinstance(outcomes[0], BaseException):
        raise outcomes[0]
    return outcomes[0]
