"""The channel from the collector to the projections: one sender, and readers at their own pace."""

from collections import deque
from collections.abc import Collection

from buddyd.domain.journal import JournalEntry
from buddyd.domain.segment import Segment, segments
from buddyd.storage.appending import Appended

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
        # What follows the segments: entries, and commits whose entries nobody has wanted yet.
        self._uncut: list[JournalEntry] = []
        self._commits: deque[Appended] = deque()
        # The last entry that was cut, the last one of all, and the last one each reader knows.
        self._cut_seq = 0
        self._last_seq = 0
        self._known = dict.fromkeys(readers, 0)

    def add(self, appended: Appended) -> None:
        """Take in what was committed next, which is something."""
        if appended.first_seq != self._last_seq + 1:
            # Something in between was committed and not told.
            self._begin(appended.first_seq)
        self._commits.append(appended)
        self._last_seq = appended.last_seq
        self._forget()

    def after(self, reader: str, seq: int) -> list[Segment] | None:
        """Some of what follows entry number `seq`, which `reader` knows, and from there on.

        None where it is not known.
        """
        self._known[reader] = seq
        self._forget()
        while self._cut_seq <= seq and self._cut_seq < self._last_seq:
            self._cut()
        if not self._segments or self._segments[0].first_seq > seq + 1:
            return None
        return [segment for segment in self._segments if segment.last_seq > seq] or None

    def _cut(self) -> None:
        """Cut off as much as is folded at once."""
        while len(self._uncut) < SEGMENT_ENTRIES and self._commits:
            self._uncut += self._commits.popleft().entries()
        self._segments.extend(segments(self._uncut[:SEGMENT_ENTRIES], SEGMENT_ENTRIES))
        del self._uncut[:SEGMENT_ENTRIES]
        self._cut_seq = self._segments[-1].last_seq

    def _forget(self) -> None:
        """Let go of what everybody knows, and of what is too much to keep."""
        too_far = self._last_seq - self._most
        least = max(min(self._known.values()), too_far)
        while self._segments and self._segments[0].last_seq <= least:
            self._segments.popleft()
        while self._commits and self._commits[0].last_seq <= too_far:
            self._begin(self._commits[0].last_seq + 1)

    def _begin(self, seq: int) -> None:
        """Know nothing of what is before entry `seq`, and of what was cut."""
        self._segments.clear()
        self._uncut.clear()
        while self._commits and self._commits[0].first_seq < seq:
            self._commits.popleft()
        self._cut_seq = seq - 1
