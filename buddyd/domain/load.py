"""How busy the agents were: busy time by window, and how much each ran at once."""

from array import array
from bisect import bisect_right, insort
from collections.abc import Iterator

import msgspec
from msgspec import Struct, field

from buddyd.domain.journal import MICROSECONDS
from buddyd.domain.windows import HOUR

DAY_SECONDS = 86_400
REMEMBERED_DAYS = 30
REMEMBERED_INTERVALS = 64
# Two executions that follow each other may overlap by as much as clocks and timers are off.
TOLERANCE = 10_000
"""Microseconds."""

_decode = msgspec.msgpack.Decoder(dict[str, int], strict=False).decode


class Row:
    """The busy time of one agent: microseconds in each window from `first` on."""

    __slots__ = ("first", "values", "version")

    def __init__(self, first: int) -> None:
        self.first = first
        self.values = array("q")
        self.version = 0
        """Counts the changes to windows that were closed."""

    def add(self, window: int, amount: int) -> None:
        """Add busy time to a window."""
        if not self.values:
            self.first = window
        index = window - self.first
        if index < 0:
            self.values[:0] = array("q", [0]) * -index
            self.first, index = window, 0
        elif index >= len(self.values):
            self.values.extend([0] * (index + 1 - len(self.values)))
        self.values[index] += amount

    def get(self, window: int) -> int:
        """The busy time in a window."""
        index = window - self.first
        return self.values[index] if 0 <= index < len(self.values) else 0

    def drop_before(self, window: int) -> None:
        """Forget the windows before `window`, and the idle ones that would then come first."""
        surplus = min(len(self.values), max(0, window - self.first))
        while surplus < len(self.values) and self.values[surplus] == 0:
            surplus += 1
        del self.values[:surplus]
        self.first += surplus


class BusySeries:
    """Busy time by agent and window of `width` seconds; an execution counts where it ran."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: dict[str, Row] = {}
        self.floor = -(10**12)
        self._changed: set[int] = set()
        self._stored: set[int] = set()
        self._current = self.floor

    def window_of(self, time: float) -> int:
        """The number of the window that `time` (Unix seconds) falls into."""
        return int(time // self.width)

    def hour_of_day(self, window: int) -> int:
        """The UTC hour of the day in which a window begins."""
        return window * self.width // HOUR % 24

    def add(self, agent: str, start: int, end: int) -> None:
        """Count an execution that ran from `start` to `end` (microseconds since the epoch)."""
        width = self.width * MICROSECONDS
        first, last = max(self.floor, start // width), (end - 1) // width
        if start == end or last < first:
            # An agent that was never busy has no series, neither now nor after a restart.
            return
        row = self.rows.get(agent)
        if row is None:
            row = self.rows[agent] = Row(first)
        row.version += first < self._current
        for window in range(first, last + 1):
            row.add(window, min(end, (window + 1) * width) - max(start, window * width))
            self._changed.add(window)

    def move(self, floor: int, current: int) -> None:
        """Keep the windows from `floor` on; those before `current` are closed."""
        self._current = current
        if floor <= self.floor:
            return
        self.floor = floor
        self._changed.update(window for window in self._stored if window < floor)
        for agent, row in list(self.rows.items()):
            row.drop_before(floor)
            if not row.values:
                del self.rows[agent]

    def utilisation(self, agent: str, current: int) -> list[float]:
        """Busy seconds per second in the closed windows, from the first busy one on."""
        row = self.rows.get(agent)
        if row is None or current <= row.first:
            return []
        width = self.width * MICROSECONDS
        values = [value / width for value in row.values[: current - row.first]]
        values.extend([0.0] * (current - row.first - len(values)))
        return values

    def changes(self) -> Iterator[tuple[str | int, bytes | None]]:
        """The state of every window that changed, and which ones are gone."""
        for window in self._changed:
            busy = {agent: row.get(window) for agent, row in self.rows.items() if row.get(window)}
            yield window, msgspec.msgpack.encode(busy) if busy else None
        self._stored = {window for window in self._stored | self._changed if window >= self.floor}
        self._changed.clear()

    def restore(self, key: str | int, state: bytes) -> None:
        """Take back one window."""
        self._stored.add(int(key))
        for agent, amount in _decode(state).items():
            row = self.rows.get(agent)
            if row is None:
                row = self.rows[agent] = Row(int(key))
            row.add(int(key), amount)


class Concurrency(Struct):
    """How many executions of an agent ran at once, at the most, by day."""

    recent: list[tuple[int, int]] = field(default_factory=list)
    """End and start of the executions that ended last, microseconds, by end."""
    peaks: dict[int, int] = field(default_factory=dict)

    def add(self, start: int, end: int) -> None:
        """Take in an execution."""
        start += TOLERANCE
        if end <= start:
            return
        day = end // (DAY_SECONDS * MICROSECONDS)
        peak = self.peaks.get(day)
        if peak is None:
            peak = self.peaks[day] = 1
            for old in [old for old in self.peaks if old < day - REMEMBERED_DAYS]:
                del self.peaks[old]
        recent = self.recent
        # A new peak is looked for only where there are enough others to make one.
        not_ended = bisect_right(recent, (start, end))
        if len(recent) - not_ended >= peak:
            others = [other for other in recent[not_ended:] if other[1] < end]
            if len(others) >= peak:
                self.peaks[day] = max(peak, _depth(start, others))
        insort(recent, (end, start))
        if len(recent) > REMEMBERED_INTERVALS:
            del recent[0]

    @property
    def most(self) -> int:
        """The most executions seen at once, at least 1."""
        return max(self.peaks.values(), default=1)


def _depth(start: int, others: list[tuple[int, int]]) -> int:
    """How many run at once at the most while the one that began at `start` does.

    `others` are the end and start of those that overlap with it, by end.
    """
    starts = sorted([other_start for _, other_start in others])
    before = bisect_right(starts, start)
    most, ended = before + 1, 0
    # The most run at once when one of them begins.
    for began, other_start in enumerate(starts[before:], before + 2):
        while others[ended][0] <= other_start:
            ended += 1
        most = max(most, began - ended)
    return most
