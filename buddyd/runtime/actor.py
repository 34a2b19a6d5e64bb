"""The contract between an actor and what keeps it alive."""

from abc import ABC, abstractmethod
from collections.abc import Callable
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
    - A start or a turn that makes no progress for `turn_limit` seconds is cancelled, and counts
      as a crash. One that has honest work for longer says `progressed` while it gets on.
    - A `FatalError` is not survived: it ends the daemon.
    - `stop` comes when no message will come any more; it may still write.
    """

    name: str
    turn_limit: float = 30.0
    on_progress: Callable[[], None] | None = None
    """Who is to be told; the supervisor's."""

    def progressed(self) -> None:
        """Tell that a start or a turn got on a bit: what it may take begins anew."""
        if self.on_progress is not None:
            self.on_progress()

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
