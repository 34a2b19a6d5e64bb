"""A timer that is cheap to set anew, where that is done with every message."""

import asyncio
from collections.abc import Callable

SLACK_SECONDS = 0.001
"""By how much it may ring late."""


class Timer:
    """Calls a function, at the time asked for or before it.

    Asked again and again for about the same time, or for a later one, it does next to nothing.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def ring_within(self, seconds: float) -> None:
        """See to it that the function is called within so many seconds."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._handle is not None:
            if self._handle.when() <= at + SLACK_SECONDS:
                return
            self._handle.cancel()
        self._handle = loop.call_at(at, self._rings)

    def stop(self) -> None:
        """Do not call it."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _rings(self) -> None:
        self._handle = None
        self._ring()
