"""Segments: entries that follow each other in the journal, and what they add up to.

It costs a projection as much to add a sum of many executions as to add a single one. So it takes
in a segment at a time, and what several projections need of it is worked out once. Cutting the
journal at other places gives the same state.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, filterfalse, groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple

from msgspec import Struct

from buddyd.domain.journal import ExecutionRecorded, JournalEntry
from buddyd.domain.windows import GRACE_MINUTES, HOUR, day_floor, hour_of, left_before, minute_of

Groups = Mapping[str, Sequence[ExecutionRecorded]]
"""Executions by a name, each group in the order of recording."""

_agent = attrgetter("agent")
_tool = attrgetter("tool")
recorded_at = attrgetter("recorded_at")
finished_at = attrgetter("finished_at")
success = attrgetter("success")
duration = attrgetter("duration")
_cost = attrgetter("cost")
_estimate = attrgetter("estimate")
_tokens = attrgetter("tokens")
_effort = attrgetter("effort")
_browser = attrgetter("browser")


class Ends(Struct, frozen=True, gc=False):
    """When the first and the last of a group of executions ended, Unix seconds."""

    first: float
    last: float


class Sum(Struct, frozen=True, gc=False):
    """What the executions of one minute under one name come to."""

    minute: int
    name: str
    executions: int
    successes: int
    duration: int
    """Microseconds."""
    cost: int
    """Billionths of a dollar, as is the estimate."""
    estimate: int
    tokens: int


class Kinds(NamedTuple):
    """How many executions of one minute were of which kind."""

    minute: int
    executions: int
    low: int
    """Of low effort; what is neither low nor high is medium."""
    high: int
    browser: int
    """Those that used a browser."""


class Segment:
    """Entries that follow each other, at least one; `segments` makes it.

    All were recorded in one hour: what is forgotten by the hour is so for all of them or for none.
    """

    def __init__(self, entries: Sequence[JournalEntry]) -> None:
        self.entries = entries
        self.first_seq = entries[0].seq
        self.last_seq = entries[-1].seq
        self.hour = hour_of(entries[0].recorded_at)
        self.left_before = left_before(self.hour)
        """What was last before this (Unix seconds) is forgotten."""
        self.executions = [entry for entry in entries if type(entry) is ExecutionRecorded]
        self.by_tool: Groups = _grouped(self.executions, _tool)
        """The executions of each tool, and of each agent."""
        self.failed: Groups = _grouped(filterfalse(success, self.executions), _tool)
        """Those of each tool that failed, where some did."""
        self.by_agent: Groups = _grouped(self.executions, _agent)
        self.tool_ends = {name: _ends(group) for name, group in self.by_tool.items()}
        """When the executions of each tool, and of each agent, ended."""
        self.agent_ends = {name: _ends(group) for name, group in self.by_agent.items()}
        self.tool_sums = list(_sums(self.by_tool, self.tool_ends))
        """What the executions of each tool, and of each agent, come to by minute."""
        self.agent_sums = list(_sums(self.by_agent, self.agent_ends))

    @property
    def has_events(self) -> bool:
        """Whether anything but executions is among the entries."""
        return len(self.executions) != len(self.entries)

    def kinds(self) -> Iterator[Kinds]:
        """How many executions were of which kind, by minute."""
        if self.executions:
            for minute, part in _by_minute(self.executions, _ends(self.executions)):
                yield _kinds(minute, part)

    def timely(
        self, executions: Sequence[ExecutionRecorded], ends: Ends
    ) -> Sequence[ExecutionRecorded]:
        """Those of some of them, which end at `ends`, that are timely."""
        if minute_of(ends.first) >= day_floor((self.hour + 1) * HOUR):
            # As nearly always.
            return executions
        return list(filter(is_timely, executions))

    def after(self, seq: int) -> "Segment | None":
        """What follows entry number `seq`."""
        if seq < self.first_seq:
            return self
        rest = [entry for entry in self.entries if entry.seq > seq]
        return Segment(rest) if rest else None


def segments(entries: Sequence[JournalEntry], most: int) -> Iterator[Segment]:
    """The entries in segments of up to `most`."""
    for rest in _by_hour(entries):
        for begin in range(0, len(rest), most):
            yield Segment(rest[begin : begin + most])


def recorded_minutes(segment: Segment, last: int) -> Iterable[tuple[int, Segment]]:
    """A segment in pieces, each with the minute in which it was recorded; `last` was before it.

    A clock that is put back a little does not turn the minutes back.
    """
    times = list(map(recorded_at, segment.entries))
    first = _turned(last, minute_of(times[0]))
    if _turned(first, minute_of(max(times))) == _turned(first, minute_of(min(times))) == first:
        # As nearly always.
        return ((first, segment),)
    minutes = accumulate(map(minute_of, times), _turned, initial=last)
    next(minutes)
    runs = groupby(zip(minutes, segment.entries, strict=True), itemgetter(0))
    return ((minute, Segment([entry for _, entry in run])) for minute, run in runs)


def _turned(minute: int, newer: int) -> int:
    return newer if newer > minute or newer < minute - GRACE_MINUTES else minute


def _by_hour(entries: Sequence[JournalEntry]) -> Iterable[Sequence[JournalEntry]]:
    times = list(map(recorded_at, entries))
    if times and hour_of(min(times)) == hour_of(max(times)):
        # As nearly always.
        return (entries,)
    runs = groupby(entries, lambda entry: hour_of(entry.recorded_at))
    return (list(run) for _, run in runs)


def is_timely(execution: ExecutionRecorded) -> bool:
    """Whether it was recorded within a day of its end; else it counts in no answer about a day."""
    return minute_of(execution.finished_at) >= day_floor(execution.recorded_at)


def failures_in_a_row(before: int, executions: Sequence[ExecutionRecorded]) -> int:
    """How many failed one after the other up to the last one, where `before` had before these."""
    for count, execution in enumerate(reversed(executions)):
        if execution.success:
            return count
    return before + len(executions)


def _grouped(
    executions: Iterable[ExecutionRecorded], name_of: Callable[[ExecutionRecorded], str]
) -> dict[str, list[ExecutionRecorded]]:
    groups: dict[str, list[ExecutionRecorded]] = {}
    for execution in executions:
        name = name_of(execution)
        group = groups.get(name)
        if group is None:
            group = groups[name] = []
        group.append(execution)
    return groups


def _ends(group: Sequence[ExecutionRecorded]) -> Ends:
    if len(group) == 1:
        end = group[0].finished_at
        return Ends(end, end)
    times = list(map(finished_at, group))
    return Ends(min(times), max(times))


def _sums(groups: Groups, ends: Mapping[str, Ends]) -> Iterator[Sum]:
    for name, group in groups.items():
        if len(group) == 1:
            yield _sum_of_one(name, group[0])
            continue
        for minute, part in _by_minute(group, ends[name]):
            yield _sum(minute, name, part)


def _sum_of_one(name: str, one: ExecutionRecorded) -> Sum:
    minute, successes = minute_of(one.finished_at), int(one.success)
    return Sum(minute, name, 1, successes, one.duration, one.cost, one.estimate, one.tokens)


def _by_minute(
    group: Sequence[ExecutionRecorded], ends: Ends
) -> Iterable[tuple[int, Sequence[ExecutionRecorded]]]:
    first = minute_of(ends.first)
    if first == minute_of(ends.last):
        # As nearly always, where they are recorded as they finish.
        return ((first, group),)
    parts: dict[int, list[ExecutionRecorded]] = {}
    for execution in group:
        parts.setdefault(minute_of(execution.finished_at), []).append(execution)
    return parts.items()


def _kinds(minute: int, executions: Sequence[ExecutionRecorded]) -> Kinds:
    efforts = list(map(_effort, executions))
    browsers = sum(map(_browser, executions))
    return Kinds(minute, len(efforts), efforts.count("LOW"), efforts.count("HIGH"), browsers)


def _sum(minute: int, name: str, group: Sequence[ExecutionRecorded]) -> Sum:
    return Sum(
        minute,
        name,
        len(group),
        sum(map(success, group)),
        sum(map(duration, group)),
        sum(map(_cost, group)),
        sum(map(_estimate, group)),
        sum(map(_tokens, group)),
    )
