"""The contract between an actor and what keeps it alive."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from buddyd.runtime.channels import Envelope

M = TypeVar("M")


class Actor(ABC, Generic[M]):
    """A thing with state of its own that handles its messages one turn at a time.

    The supervisor calls `start` once before the first turn and once more after every crash, then
    `turn` again and again, and `stop` once at an orderly end. They never overlap.

    - `start` builds the state from nothing: whatever an earlier life left behind does not count.
    - `turn` gets everything that waited and answers each envelope that expects an answer, now or
      in a later turn. Any exception that leaves it is a crash: what was handed in and not yet
      answered is answered with `Unavailable`, and the actor starts anew.
    - A turn that takes longer than `turn_limit` seconds is cancelled, and counts as a crash.
    - A `FatalError` is not survived: it ends the daemon.
    - `stop` comes when no message will come any more; it may still write.
    """

    name: str
    turn_limit: float = 30.0

    @abstractmethod
    async def start(self) -> None:
        """Build the state."""

    @abstractmethod
    async def turn(self, envelopes: list[Envelope[M]]) -> float | None:
        """Handle messages; the list is empty when the time that was asked for has come.

        Returns after how many seconds at most the next turn is wanted; None: with a message.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Put away what should outlive the process."""
