"""A timer that is cheap to set anew, where that is done with every message."""

import asyncio
import math
import time
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
        # By the clock that asyncio's loop has, too.
        self._at = math.inf

    def ring_within(self, seconds: float) -> None:
        """See to it that the function is called within so many seconds."""
        at = time.monotonic() + seconds
        if self._at <= at + SLACK_SECONDS:
            return
        self.stop()
        self._at = at
        self._handle = asyncio.get_running_loop().call_later(seconds, self._rings)

    def stop(self) -> None:
        """Do not call it."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle, self._at = None, math.inf

    def _rings(self) -> None:
        self._handle, self._at = None, math.inf
        self._ring()
