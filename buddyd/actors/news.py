"""The channel from the collector to the projections: one sender, and readers at their own pace."""

from collections import deque
from collections.abc import Collection, Sequence

from buddyd.domain.journal import JournalEntry
from buddyd.domain.segment import Segment, segments

SEGMENT_ENTRIES = 1000
"""Entries that are folded at once, before others get a turn."""
MOST_ENTRIES = 64_000
"""Who is further behind reads from the journal."""


class News:
    """What was committed last, for as long as somebody has yet to read it.

    It is cut into segments when it is first read, and all readers share them: entries that came
    one by one are folded together, and what they add up to is worked out once. It may have
    forgotten something, but it never has a gap.
    """

    def __init__(self, readers: Collection[str], most: int = MOST_ENTRIES) -> None:
        self._most = most
        self._segments: deque[Segment] = deque()
        self._uncut: list[JournalEntry] = []
        # The last entry of all, and the last one that each reader knows.
        self._last_seq = 0
        self._known = dict.fromkeys(readers, 0)

    def add(self, entries: Sequence[JournalEntry]) -> None:
        """Take in what was committed next."""
        if entries[0].seq != self._last_seq + 1:
            # Something in between was committed and not told.
            self._clear()
        self._uncut += entries
        self._last_seq = entries[-1].seq
        self._forget()

    def after(self, reader: str, seq: int) -> list[Segment] | None:
        """Some of what follows entry number `seq`, which `reader` knows, and from there on.

        None where it is not known.
        """
        self._known[reader] = seq
        self._forget()
        while self._uncut and self._uncut[0].seq - 1 <= seq:
            self._cut()
        if not self._segments or self._segments[0].first_seq > seq + 1:
            return None
        return [segment for segment in self._segments if segment.last_seq > seq] or None

    def _cut(self) -> None:
        """Cut off as much as is folded at once."""
        self._segments.extend(segments(self._uncut[:SEGMENT_ENTRIES], SEGMENT_ENTRIES))
        del self._uncut[:SEGMENT_ENTRIES]

    def _forget(self) -> None:
        """Let go of what everybody knows, and of what is too much to keep."""
        least = max(min(self._known.values()), self._last_seq - self._most)
        while self._segments and self._segments[0].last_seq <= least:
            self._segments.popleft()
        if excess := max(0, len(self._uncut) - self._most):
            self._segments.clear()
            del self._uncut[:excess]

    def _clear(self) -> None:
        self._segments.clear()
        self._uncut.clear()
