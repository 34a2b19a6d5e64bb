"""Segments: entries that follow each other in the journal, and what they add up to.

It costs a projection as much to add a sum of many executions as to add a single one. So it takes
in a segment at a time, and what several projections need of it is worked out once. Cutting the
journal at other places gives the same state.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from buddyd.domain.journal import ExecutionRecorded, JournalEntry
from buddyd.domain.windows import hour_of, minute_of

Groups = Mapping[str, Sequence[ExecutionRecorded]]
"""Executions by a name, each group in the order of recording."""

recorded_at = attrgetter("recorded_at")
finished_at = attrgetter("finished_at")
success = attrgetter("success")
_duration = attrgetter("duration")
_cost = attrgetter("cost")
_estimate = attrgetter("estimate")
_tokens = attrgetter("tokens")


class Sum(NamedTuple):
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


class Segment:
    """Entries that follow each other, at least one; `segments` makes it.

    All were recorded in one hour: what is forgotten by the hour is so for all of them or for none.
    """

    def __init__(self, entries: Sequence[JournalEntry]) -> None:
        self.entries = entries
        self.first_seq = entries[0].seq
        self.last_seq = entries[-1].seq
        self.hour = hour_of(entries[0].recorded_at)

    def after(self, seq: int) -> "Segment | None":
        """What follows entry number `seq`."""
        if seq < self.first_seq:
            return self
        rest = [entry for entry in self.entries if entry.seq > seq]
        return Segment(rest) if rest else None

    @cached_property
    def executions(self) -> Sequence[ExecutionRecorded]:
        """The executions among the entries."""
        return [entry for entry in self.entries if type(entry) is ExecutionRecorded]

    @property
    def has_events(self) -> bool:
        """Whether anything but executions is among the entries."""
        return len(self.executions) != len(self.entries)

    @cached_property
    def by_tool(self) -> Groups:
        """The executions of each tool."""
        groups: dict[str, list[ExecutionRecorded]] = {}
        for execution in self.executions:
            group = groups.get(execution.tool)
            if group is None:
                group = groups[execution.tool] = []
            group.append(execution)
        return groups

    @cached_property
    def by_agent(self) -> Groups:
        """The executions of each agent."""
        groups: dict[str, list[ExecutionRecorded]] = {}
        for execution in self.executions:
            group = groups.get(execution.agent)
            if group is None:
                group = groups[execution.agent] = []
            group.append(execution)
        return groups

    @cached_property
    def tool_sums(self) -> Sequence[Sum]:
        """What the executions of each tool come to, by minute."""
        return list(_sums(self.by_tool))

    @cached_property
    def agent_sums(self) -> Sequence[Sum]:
        """What the executions of each agent come to, by minute."""
        return list(_sums(self.by_agent))


def segments(entries: Sequence[JournalEntry], most: int) -> Iterator[Segment]:
    """The entries in segments of up to `most`."""
    for _, of_an_hour in groupby(entries, lambda entry: hour_of(entry.recorded_at)):
        rest = list(of_an_hour)
        for begin in range(0, len(rest), most):
            yield Segment(rest[begin : begin + most])


def failures_in_a_row(before: int, executions: Sequence[ExecutionRecorded]) -> int:
    """How many failed one after the other up to the last one, where `before` had before these."""
    for count, execution in enumerate(reversed(executions)):
        if execution.success:
            return count
    return before + len(executions)


def _sums(groups: Groups) -> Iterator[Sum]:
    for name, group in groups.items():
        times = list(map(finished_at, group))
        first = minute_of(min(times))
        if first == minute_of(max(times)):
            yield _sum(first, name, group)
            continue
        for minute, part in _by_minute(group).items():
            yield _sum(minute, name, part)


def _by_minute(group: Iterable[ExecutionRecorded]) -> dict[int, list[ExecutionRecorded]]:
    parts: dict[int, list[ExecutionRecorded]] = {}
    for execution in group:
        parts.setdefault(minute_of(execution.finished_at), []).append(execution)
    return parts


def _sum(minute: int, name: str, group: Sequence[ExecutionRecorded]) -> Sum:
    return Sum(
        minute,
        name,
        len(group),
        sum(map(success, group)),
        sum(map(_duration, group)),
        sum(map(_cost, group)),
        sum(map(_estimate, group)),
        sum(map(_tokens, group)),
    )
