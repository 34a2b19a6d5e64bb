"""How busy the agents were: busy time by window, and how much each ran at once."""

from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import pairwise
from operator import lt

import msgspec
from msgspec import Struct, field

from buddyd.domain.journal import MICROSECONDS
from buddyd.domain.windows import HOUR

SERIES_SECONDS = 30 * 86_400
DAY = 86_400 * MICROSECONDS
REMEMBERED_DAYS = 30
REMEMBERED_RUNS = 64
# Two executions that follow each other may overlap by as much as clocks and timers are off.
TOLERANCE = 10_000
"""Microseconds."""

UNTOUCHED = 2**62
"""No window has so high a number."""

Run = tuple[int, int]
"""When an execution began and when it ended, microseconds since the epoch."""

_decode = msgspec.msgpack.Decoder(dict[str, int], strict=False).decode


class Row:
    """The busy time of one agent: microseconds in each window from `first` on."""

    __slots__ = ("first", "touched", "values")

    def __init__(self, first: int) -> None:
        self.first = first
        self.values = array("q")
        self.touched = UNTOUCHED
        """The earliest window that was added to since this was set."""

    def add(self, begin: int, until: int, amount: int) -> None:
        """Add busy time to each window from `begin` to before `until`."""
        self.touched = min(self.touched, begin)
        self._reach(begin, until)
        values, first = self.values, self.first
        if until - begin == 1:
            values[begin - first] += amount
        else:
            part = slice(begin - first, until - first)
            values[part] = array("q", [value + amount for value in values[part]])

    def _reach(self, begin: int, until: int) -> None:
        """Make room for these windows."""
        if not self.values:
            self.first = begin
        if begin < self.first:
            self.values[:0] = array("q", [0]) * (self.first - begin)
            self.first = begin
        missing = until - self.first - len(self.values)
        if missing > 0:
            self.values.extend([0] * missing)

    def get(self, window: int) -> int:
        """The busy time in a window."""
        index = window - self.first
        return self.values[index] if 0 <= index < len(self.values) else 0

    def first_busy(self, window: int) -> int:
        """The first window from `window` on that was busy; past the last one where none was."""
        index = min(len(self.values), max(0, window - self.first))
        while index < len(self.values) and self.values[index] == 0:
            index += 1
        return self.first + index

    def drop_before(self, window: int) -> None:
        """Forget the windows before `window`, and the idle ones that would then come first."""
        first = self.first_busy(window)
        del self.values[: first - self.first]
        self.first = first


class BusySeries:
    """Busy time by agent and window of `width` seconds; an execution counts where it ran."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.length = SERIES_SECONDS // width
        """How many closed windows a series can have."""
        self.rows: dict[str, Row] = {}
        self.floor = -(10**12)
        self._changed: set[int] = set()
        self._stored: set[int] = set()

    def window_of(self, time: float) -> int:
        """The number of the window that `time` (Unix seconds) falls into."""
        return int(time // self.width)

    def hour_of_day(self, window: int) -> int:
        """The UTC hour of the day in which a window begins."""
        return window * self.width // HOUR % 24

    def add(self, agent: str, runs: Iterable[Run]) -> None:
        """Count executions."""
        width = self.width * MICROSECONDS
        busy: dict[int, int] = {}
        # How many more fill a whole window from this one on. A run may span thousands of them.
        more: dict[int, int] = {}
        for start, end in runs:
            first, last = start // width, (end - 1) // width
            if first >= last:
                busy[first] = busy.get(first, 0) + end - start
                continue
            busy[first] = busy.get(first, 0) + (first + 1) * width - start
            busy[last] = busy.get(last, 0) + end - last * width
            more[first + 1] = more.get(first + 1, 0) + 1
            more[last] = more.get(last, 0) - 1
        for window, time in busy.items():
            self._add(agent, window, window + 1, time)
        filling = 0
        for begin, until in pairwise(sorted(more)):
            filling += more[begin]
            self._add(agent, begin, until, filling * width)

    def _add(self, agent: str, begin: int, until: int, time: int) -> None:
        """Add busy time to each window from `begin` to before `until`."""
        begin = max(begin, self.floor)
        # An agent that was never busy has no series, neither now nor after a restart.
        if not time or begin >= until:
            return
        row = self.rows.get(agent)
        if row is None:
            row = self.rows[agent] = Row(begin)
        row.add(begin, until, time)
        self._changed.update(range(begin, until))

    def move(self, floor: int) -> None:
        """Keep the windows from `floor` on."""
        if floor <= self.floor:
            return
        self.floor = floor
        self._changed.update(window for window in self._stored if window < floor)
        for agent, row in list(self.rows.items()):
            row.drop_before(floor)
            if not row.values:
                del self.rows[agent]

    def utilisation(self, agent: str, end: int, begin: int | None = None) -> list[float]:
        """Busy seconds per second in the windows from `begin` to before `end`.

        By default they begin with the first busy one; there are none before it.
        """
        row = self.rows.get(agent)
        if row is None or end <= row.first:
            return []
        first = 0 if begin is None else begin - row.first
        last = end - row.first
        width = self.width * MICROSECONDS
        values = [value / width for value in row.values[first:last]]
        values.extend([0.0] * (last - first - len(values)))
        return values

    def changes(self) -> Iterator[tuple[str | int, bytes | None]]:
        """The state of every window that changed, and which ones are gone."""
        for window in self._changed:
            busy = {name: time for name, row in self.rows.items() if (time := row.get(window))}
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
            row.add(int(key), int(key) + 1, amount)


class Concurrency(Struct):
    """How many executions of an agent ran at once, at the most, by day."""

    starts: list[int] = field(default_factory=list)
    """Microseconds, as are the ends; of those that came last, each list sorted for itself."""
    ends: list[int] = field(default_factory=list)
    peaks: dict[int, int] = field(default_factory=dict)

    def add(self, runs: Iterable[Run]) -> None:
        """Take in executions, in the order of recording."""
        starts, ends, peaks = self.starts, self.ends, self.peaks
        for begin, end in runs:
            start = begin + TOLERANCE
            if end <= start:
                continue
            insort(starts, start)
            insort(ends, end)
            if len(ends) > REMEMBERED_RUNS:
                del starts[0], ends[0]
            day = end // DAY
            peak = peaks.get(day) or self._begin(day)
            if len(ends) > peak and ends[-1 - peak] > start:
                # More than `peak` end after its start.
                peaks[day] = self._peak(start, end, peak)

    def _begin(self, day: int) -> int:
        for old in [old for old in self.peaks if old < day - REMEMBERED_DAYS]:
            del self.peaks[old]
        self.peaks[day] = 1
        return 1

    def _peak(self, start: int, end: int, peak: int) -> int:
        """The most that run at once between `start` and `end`, where that is more than `peak`."""
        first, last = bisect_right(self.ends, start), bisect_right(self.ends, end)
        ends = self.ends[first:last]
        # More than `peak` run just before an end where, of those that are remembered, so many
        # more have begun by then than have ended.
        while any(map(lt, self.starts[first + peak :], ends)):
            peak += 1
        return peak

    @property
    def most(self) -> int:
        """The most executions seen at once, at least 1."""
        return max(self.peaks.values(), default=1)
