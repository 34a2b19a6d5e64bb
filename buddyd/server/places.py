"""The places for large messages, of which a server has few: the memory that they take is bounded.

A client may send a large message as slowly as it likes while nobody waits for its place. Once
somebody does, a client that has been slow for too long loses it, and its connection with it.
"""

import time
from collections.abc import Awaitable, Callable

import anyio

READ_BYTES = 262_144
"""What is read at once of a large message: more than a socket holds, so that a client which has
sent all it could is not taken for a slow one where it is the daemon that is busy."""
SLOW_BYTES_PER_SECOND = 1_048_576
"""Who sends less than this is slow."""
PATIENCE_SECONDS = 1.5
"""How long in all a client may be slow with one message, where others wait."""


class Places:
    """Places that all connections share; who comes first is served first."""

    def __init__(self, count: int) -> None:
        self._free = anyio.Semaphore(count)
        self._coming: set[Place] = set()

    @property
    def free(self) -> int:
        """How many nobody has."""
        return self._free.value

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for one."""
        return self._free.statistics().tasks_waiting > 0

    def release(self) -> None:
        """Let the next one have a place."""
        self._free.release()

    async def take(self, place: "Place") -> None:
        """Wait for one; who has one and is slow has to hurry meanwhile."""
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            for other in self._coming:
                other.hurry()
            await self._free.acquire()
        self._coming.add(place)

    def has_come(self, place: "Place") -> None:
        """Nobody waits for the client of this one any more."""
        self._coming.discard(place)


class Place:
    """The place of the message that is coming over one connection, where that is large."""

    def __init__(self, places: Places) -> None:
        self.is_held = False
        self._places = places
        self._patience = PATIENCE_SECONDS
        self._begun_at = 0.0
        self._receiving = anyio.CancelScope()

    async def take(self) -> None:
        """Wait for one's turn."""
        await self._places.take(self)
        self.is_held = True
        self._patience = PATIENCE_SECONDS

    def hand_over(self) -> bool:
        """The message is whole, its place the request's: says whether `release` is due for it."""
        was_held, self.is_held = self.is_held, False
        self._places.has_come(self)
        return was_held

    def give_up(self) -> None:
        """Nothing comes of the message."""
        if self.hand_over():
            self._places.release()

    async def receive(self, read: Callable[[int], Awaitable[bytes]]) -> bytes:
        """The next bytes of the message; raises TimeoutError where it is another one's turn."""
        self._begun_at = time.monotonic()
        limit = self._patience if self._places.wanted else None
        with anyio.fail_after(limit) as self._receiving:
            data = await read(READ_BYTES)
        took = time.monotonic() - self._begun_at
        self._patience -= max(0.0, took - len(data) / SLOW_BYTES_PER_SECOND)
        return data

    def hurry(self) -> None:
        """Somebody has begun to wait."""
        self._receiving.deadline = self._begun_at + self._patience
