"""The daemon's clock: the host's, except that it does not believe a wild jump forward at once.

When time goes on, windows empty and old records are deleted, and nothing brings them back. So one
wrong reading (a bad time server, a dying battery, a typing error) must not be enough. A jump back
hurts nothing: the windows wait until the time comes round again.
"""

import time
from collections.abc import Callable

import structlog
from msgspec import Struct

log = structlog.get_logger()

MOST_FORWARD_SECONDS = 3600.0
"""A step forward up to this is believed at once: a step back after it still finds its windows."""
PROBATION_SECONDS = 600.0
"""How long a larger one has to stay before it is believed."""


class _Claim(Struct, frozen=True):
    """What the host's clock says, if it is to be believed."""

    offset: float
    since: float


def since_boot() -> float:
    """Seconds that have passed, suspended ones included; nobody can set them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Tells the time in Unix seconds. A jump forward counts once it has stayed for a while."""

    def __init__(
        self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = since_boot
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._offset = wall() - elapsed()
        self._claim: _Claim | None = None

    def __call__(self) -> float:
        """The time."""
        elapsed = self._elapsed()
        self._consider(self._wall() - elapsed, elapsed)
        return elapsed + self._offset

    def in_doubt(self) -> bool:
        """Whether the host's clock says something else that may yet turn out to be right."""
        return self._claim is not None

    def _consider(self, offset: float, elapsed: float) -> None:
        if offset - self._offset <= MOST_FORWARD_SECONDS:
            self._believe(offset)
        elif self._claim is None or abs(offset - self._claim.offset) > MOST_FORWARD_SECONDS:
            self._claim = _Claim(offset, elapsed)
            ahead = round(offset - self._offset)
            log.warning("the host's clock jumped forward, waiting whether it stays", seconds=ahead)
        elif elapsed - self._claim.since >= PROBATION_SECONDS:
            log.warning("the host's clock has stayed, its time counts from now on")
            self._believe(offset)

    def _believe(self, offset: float) -> None:
        self._offset = offset
        self._claim = None
