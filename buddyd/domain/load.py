"""How busy the agents were: busy time by window, and how much each ran at once."""

from array import array
from bisect import insort
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
        if window < self.first:
            self.values[:0] = array("q", [0]) * (self.first - window)
            self.first = window
        missing = window - self.first + 1 - len(self.values)
        if missing > 0:
            self.values.extend([0] * missing)
        self.values[window - self.first] += amount

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
        windows = range(max(self.floor, start // width), -(-end // width))
        if start == end or not windows:
            # An agent that was never busy has no series, neither now nor after a restart.
            return
        row = self.rows.get(agent)
        if row is None:
            row = self.rows[agent] = Row(windows[0])
        for window in windows:
            row.add(window, min(end, (window + 1) * width) - max(start, window * width))
            row.version += window < self._current
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
        self.peaks[day] = max(self.peaks.get(day, 1), self._depth(start, end))
        for old in [old for old in self.peaks if old < day - REMEMBERED_DAYS]:
            del self.peaks[old]
        insort(self.recent, (end, start))
        del self.recent[:-REMEMBERED_INTERVALS]

    @property
    def most(self) -> int:
        """The most executions seen at once, at least 1."""
        return max(self.peaks.values(), default=1)

    def _depth(self, start: int, end: int) -> int:
        """How many run at once at the most while the one from `start` to `end` does."""
        changes = []
        for other_end, other_start in self.recent:
            if other_end > start and other_start < end:
                changes += [(max(start, other_start), 1), (other_end, -1)]
        depth = most = 1
        for _, change in sorted(changes):
            depth += change
            most = max(most, depth)
        return most
