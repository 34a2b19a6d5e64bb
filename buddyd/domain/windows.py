"""Sliding windows: exact sums over the last buckets of time, each added once and taken out once.

Time is cut into buckets (minutes or hours since the epoch). What falls into one is summed by key,
in integers. A window keeps the totals of all buckets from its floor on; moving the floor takes
out what expires, so a query reads totals and never a record.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Protocol

import msgspec

from buddyd.domain.names import split

MINUTE = 60
HOUR = 3600
DAY = 86_400
HOUR_MINUTES = 60
DAY_MINUTES = 1440
MONTH_HOURS = 720
# Buckets that have left a window are kept this long, so that a clock that is put back finds them.
GRACE_MINUTES = 120
GRACE_HOURS = 2


def minute_of(time: float) -> int:
    """The number of the UTC minute that `time` (Unix seconds) falls into."""
    return int(time // MINUTE)


def hour_of(time: float) -> int:
    """The number of the UTC hour that `time` (Unix seconds) falls into."""
    return int(time // HOUR)


def day_of(time: float) -> int:
    """The number of the UTC day that `time` (Unix seconds) falls into."""
    return int(time // DAY)


def day_floor(now: float) -> int:
    """The first minute of the 24-hour window: the current minute and the 1,439 before it."""
    return minute_of(now) - DAY_MINUTES + 1


def month_floor(now: float) -> int:
    """The first hour of the 30-day window: the current hour and the 719 before it."""
    return hour_of(now) - MONTH_HOURS + 1


def left_before(hour: int) -> int:
    """What was last before this (Unix seconds) has left the 30-day window, and its grace."""
    return (hour - MONTH_HOURS + 1 - GRACE_HOURS) * HOUR


def midnight_minute(now: float, zone: tzinfo) -> int:
    """The minute in which today began in `zone`."""
    today = datetime.fromtimestamp(now, zone).replace(
        hour=0, minute=0, second=0, microsecond=0, fold=0
    )
    return minute_of(today.timestamp())


def rfc3339(time: float) -> str:
    """Unix seconds as an RFC 3339 UTC string that ends in `Z`."""
    return datetime.fromtimestamp(time, UTC).isoformat().removesuffix("+00:00") + "Z"


def in_words(time: float) -> str:
    """Unix seconds as a sentence tells them, to the minute: `2026-01-31 12:00 UTC`."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"


class Part(Protocol):
    """A piece of state that can be written down piece by piece and read back."""

    def changes(self) -> Iterator[tuple[str | int, bytes | None]]:
        """What changed since the last call, by key; None where nothing is left."""

    def restore(self, key: str | int, state: bytes) -> None:
        """Take back one piece that `changes` gave."""


Cell = list[int]
"""Sums under one key; the first one counts, and a key whose count is 0 is gone."""
Addition = tuple[str, Sequence[int]]
"""A key, and what is to be added under it."""

_decode = msgspec.msgpack.Decoder(dict[str, Cell], strict=False).decode


def _encode(bucket: dict[str, Cell]) -> bytes:
    try:
        return msgspec.msgpack.encode(bucket)
    except OverflowError:
        # MessagePack ends at 64 bits; digits do not, and the decoder takes both.
        wide = {key: [str(value) for value in cell] for key, cell in bucket.items()}
        return msgspec.msgpack.encode(wide)


class Buckets:
    """Sums by bucket and key, without totals.

    What changed since the last `changes` is held open; the rest is packed, which takes a tenth
    of the memory.
    """

    def __init__(self) -> None:
        self._open: dict[int, dict[str, Cell]] = {}
        self._packed: dict[int, bytes] = {}
        self._dropped: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        """The buckets that hold something, in no order."""
        yield from self._open
        yield from (number for number in self._packed if number not in self._open)

    def __len__(self) -> int:
        """How many buckets hold something."""
        return len(self._packed) + sum(number not in self._packed for number in self._open)

    def add(self, number: int, key: str, values: Sequence[int]) -> None:
        """Add `values` under `key` in bucket `number`."""
        _increase(self._open.get(number) or self._opened(number), key, values)

    def get(self, number: int) -> dict[str, Cell]:
        """The sums of one bucket by key."""
        if number in self._open:
            return self._open[number]
        packed = self._packed.get(number)
        return {} if packed is None else _decode(packed)

    def _opened(self, number: int) -> dict[str, Cell]:
        bucket = self._open[number] = self.get(number)
        return bucket

    def drop_before(self, number: int) -> None:
        """Forget all buckets before `number`."""
        for old in [bucket for bucket in self if bucket < number]:
            self._open.pop(old, None)
            self._packed.pop(old, None)
            self._dropped.add(old)

    @property
    def changed(self) -> Iterator[int]:
        """The buckets that something was added to since the last `changes`."""
        return iter(self._open)

    def changes(self) -> Iterator[tuple[str | int, bytes | None]]:
        """The state of every bucket that changed, packing it."""
        for number in self._dropped:
            if number not in self._open:
                yield number, None
        self._dropped.clear()
        for number, bucket in self._open.items():
            packed = self._packed[number] = _encode(bucket)
            yield number, packed
        self._open.clear()

    def restore(self, key: str | int, state: bytes) -> None:
        """Take back one bucket."""
        self._packed[int(key)] = state


class Window(Buckets):
    """Buckets with the totals by key of all that are not before the floor."""

    def __init__(self, grace: int) -> None:
        super().__init__()
        self.grace = grace
        self.floor = -(10**12)
        self.totals: dict[str, Cell] = {}

    def add(self, number: int, key: str, values: Sequence[int]) -> None:
        """Add `values` under `key`; what lies further back than the grace is passed over."""
        if number >= self.floor:
            _increase(self.totals, key, values)
        elif number < self.floor - self.grace:
            return
        _increase(self._open.get(number) or self._opened(number), key, values)

    def add_all(self, number: int, added: Collection[Addition]) -> None:
        """Add what there is under each key; a key may come more than once."""
        if number >= self.floor:
            _increase_all(self.totals, added)
        elif number < self.floor - self.grace:
            return
        _increase_all(self._open.get(number) or self._opened(number), added)

    def move(self, floor: int) -> bool:
        """Let the totals begin at bucket `floor`, which may move either way; True if it did."""
        before, self.floor = self.floor, floor
        if floor == before:
            return False
        low, high, change = (before, floor, -1) if floor > before else (floor, before, 1)
        for number in [number for number in self if low <= number < high]:
            self._count(self.get(number), change)
        self.drop_before(floor - self.grace)
        return True

    def _count(self, bucket: Mapping[str, Cell], change: int) -> None:
        """Put a bucket among the totals (1), or take it out of them (-1)."""
        for key, cell in bucket.items():
            _increase(self.totals, key, [change * value for value in cell])

    def adopt(self, other: "Window") -> None:
        """Add all buckets of another window."""
        for number in other:
            for key, cell in other.get(number).items():
                self.add(number, key, cell)

    def restore(self, key: str | int, state: bytes) -> None:
        """Take back one bucket, and count it."""
        super().restore(key, state)
        if int(key) >= self.floor:
            for name, cell in _decode(state).items():
                _increase(self.totals, name, cell)


class PairWindow(Window):
    """A window whose keys are two names, joined; it finds all that is under the first of them."""

    def __init__(self, grace: int) -> None:
        super().__init__(grace)
        # The totals by first and second name; None until asked for.
        self._pairs: dict[str, dict[str, Cell]] | None = None

    def add(self, number: int, key: str, values: Sequence[int]) -> None:
        """Add `values` under a pair."""
        is_new = key not in self.totals
        super().add(number, key, values)
        if is_new and self._pairs is not None and key in self.totals:
            self._note((key,), self._pairs)

    def add_all(self, number: int, added: Collection[Addition]) -> None:
        """Add what there is under each pair."""
        pairs = self._pairs
        new = [] if pairs is None else [key for key, _ in added if key not in self.totals]
        super().add_all(number, added)
        if pairs is not None and number >= self.floor:
            self._note(new, pairs)

    def under(self, first: str) -> Mapping[str, Cell]:
        """The totals by second name, in no order; to look at, until the window changes."""
        if self._pairs is None:
            self._pairs = {}
            self._note(self.totals, self._pairs)
        return self._pairs.get(first, {})

    def _count(self, bucket: Mapping[str, Cell], change: int) -> None:
        super()._count(bucket, change)
        if self._pairs is None:
            return
        if change > 0:
            self._note(bucket, self._pairs)
        else:
            self._strike([key for key in bucket if key not in self.totals], self._pairs)

    def _strike(self, keys: Iterable[str], pairs: dict[str, dict[str, Cell]]) -> None:
        for key in keys:
            first, second = split(key)
            del pairs[first][second]
            if not pairs[first]:
                del pairs[first]

    def _note(self, keys: Iterable[str], pairs: dict[str, dict[str, Cell]]) -> None:
        for key in keys:
            first, second = split(key)
            pairs.setdefault(first, {})[second] = self.totals[key]


def _increase(sums: dict[str, Cell], key: str, values: Sequence[int]) -> None:
    cell = sums.get(key)
    if cell is None:
        sums[key] = list(values)
        return
    position = 0
    for value in values:
        cell[position] += value
        position += 1  # noqa: SIM113 - a quarter faster, and all that is counted comes here
    if not cell[0]:
        del sums[key]


def _increase_all(sums: dict[str, Cell], added: Iterable[Addition]) -> None:
    for key, values in added:
        _increase(sums, key, values)
