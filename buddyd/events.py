"""The events of the log that others build on: each has an id that stays.

An event is known by its text. `journalctl MESSAGE_ID=…` finds it whatever else its line says, and
`journalctl -x` explains it from the catalog, `systemd/buddyd.catalog`.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

MESSAGE_IDS = {
    "started": "753ecc3b63db4986bb7397c4071d0c6d",
    "stopped": "319e621631754bc49cce6472e76aa681",
    "giving up": "252d9798d6ce43f6a6861f9f66573880",
    "configuration reloaded": "2c10de0f9cb343d294dea9f8a69d2121",
    "configuration not reloaded, the old one stays": "8f70fb9d52b04df2800c57dcf6cdc241",
    "actor crashed": "313b427db2934384a1f0136f98883f00",
    "actor restarted": "a126e6276f7040c684b1dea97e100fdc",
    "actors make no progress": "4a6ba68e957645f0b0c60ac033c77526",
    "storage refuses writes": "3a3443e0b8074a33baa58911b4dff73f",
    "the database is damaged": "6af6f713f0fe431486e02a210a272862",
    "database recovered": "38d8beb3bb15499e93e0efd32a1e8f52",
    "tool became LOW": "0db47899b851468a98762b8c9b6b53f8",
    "cost anomaly": "d3a13deeda7549869843d204cb1279fc",
    "budget warning": "76bca49b39e94b2fb3ccca68acf6a3c4",
    "alarming finding": "5c1c9d0f5c6b4b0a9d0e7be2a4f3c871",
}
"""A 128-bit id for each event, as sd-id128(3) writes it."""

MOST_LINES = 20
PERIOD_SECONDS = 10.0
"""Within this time, an event is said at most `MOST_LINES` times."""
MOST_EVENTS = 1000
"""Events that are counted at once; beyond them, the counting begins anew."""


class _Count(Struct):
    """How often an event was said in its period, and how often it was not."""

    ends_at: float
    said: int = 0
    held_back: int = 0


class RateLimit:
    """Lets an event pass so many times in a period; the next that passes tells what was not said.

    Threads may share it. `clock` tells seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, _Count] = {}
        self._lock = threading.Lock()

    def passes(self, event: dict[str, Any]) -> bool:
        """Whether `event` may be said; it is given `held_back` where others were not."""
        with self._lock:
            count = self._count(_name(event))
            if count.said >= MOST_LINES:
                count.held_back += 1
                return False
            count.said += 1
            if count.held_back:
                event["held_back"], count.held_back = count.held_back, 0
            return True

    def _count(self, name: str) -> _Count:
        now = self._clock()
        count = self._counts.get(name)
        if count is None:
            if len(self._counts) >= MOST_EVENTS:
                self._counts.clear()
            count = self._counts[name] = _Count(now + PERIOD_SECONDS)
        elif now >= count.ends_at:
            count.ends_at, count.said = now + PERIOD_SECONDS, 0
        return count


def message_id(event: dict[str, Any]) -> str | None:
    """The id of an event of the daemon's own; what libraries say has none, whatever its text."""
    return None if "logger" in event else MESSAGE_IDS.get(str(event.get("event")))


def _name(event: dict[str, Any]) -> str:
    # The text of a library's line may hold anything, and be another one every time.
    return f"logger {event['logger']}" if "logger" in event else str(event.get("event"))
