"""Bottlenecks: how long each agent's work of the last day took, and which tools hold it up."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import groupby

from msgspec import Struct

from buddyd.domain.journal import MICROSECONDS, ExecutionRecorded
from buddyd.domain.names import admit, join, split
from buddyd.domain.segment import finished_at
from buddyd.domain.windows import GRACE_HOURS, Cell, PairWindow, hour_of

DAY_HOURS = 24
LATE_HOURS = 2
"""A tool grows where its share of the last hours is larger than that of the day."""
MOST_GROWTH = 2
MOST_FAILING = 2
"""A tool that fails every time counts twice."""
LEAST_SCORE = (3, 10)
"""What makes a bottleneck of a tool: three tenths."""
MOST_BOTTLENECKS = 3
MOST_TOOLS = 50
"""Tools of one agent that are told apart; further ones count as `~other`."""

Pair = tuple[str, str]
"""An agent and a tool."""


class Work(Struct, frozen=True):
    """How long an agent's work took in the last day, and what held it up."""

    mean: float | None
    """Seconds an execution; None where nothing was done."""
    bottlenecks: list[str]


class Workday:
    """The work of every agent in the last day, by tool."""

    def __init__(self) -> None:
        # Executions, failures, microseconds by agent and tool.
        self.day = PairWindow(GRACE_HOURS)
        # Microseconds in the last hours by agent and tool; None until asked for.
        self._late: dict[str, dict[str, int]] | None = None
        self._work: dict[str, Work] = {}

    def add(self, executions: Sequence[ExecutionRecorded], known: Mapping[str, list[str]]) -> None:
        """Take in executions; `known` are the tools of each agent that are told apart."""
        for hour, part in _by_hour(executions):
            sums = [
                ((agent, admit(known[agent], tool, MOST_TOOLS)), cell)
                for (agent, tool), cell in _by_pair(part).items()
            ]
            self.day.add_all(hour, [(join(*pair), cell) for pair, cell in sums])
            if self._late is not None and hour >= self._first_late:
                _count(self._late, sums)
        for agent in known:
            self._work.pop(agent, None)

    def advance(self, now: float) -> None:
        """Let the day end at `now`."""
        if self.day.move(hour_of(now) - DAY_HOURS + 1):
            self._work.clear()
            self._late = None

    def work(self, agent: str) -> Work:
        """What is known of the agent's work."""
        work = self._work.get(agent)
        if work is None:
            work = self._work[agent] = self._learn(agent)
        return work

    def mean(self, agent: str, tool: str) -> float | None:
        """How many seconds the tool takes the agent; None where it was not used."""
        cell = self.day.under(agent).get(tool)
        return None if cell is None else cell[2] / cell[0] / MICROSECONDS

    def _learn(self, agent: str) -> Work:
        tools = self.day.under(agent)
        if not tools:
            return Work(None, [])
        executions, _, durations = zip(*tools.values(), strict=True)
        busy = sum(durations)
        suspects = _suspects(tools, busy)
        late = self._busy_late().get(agent, {}) if suspects else {}
        return Work(busy / sum(executions) / MICROSECONDS, _worst(suspects, busy, late))

    def _busy_late(self) -> dict[str, dict[str, int]]:
        if self._late is None:
            self._late = {}
            # What is ahead of a clock that was put back counts, as it does in the day.
            for hour in [hour for hour in self.day if hour >= self._first_late]:
                _count(self._late, ((split(key), cell) for key, cell in self.day.get(hour).items()))
        return self._late

    @property
    def _first_late(self) -> int:
        return self.day.floor + DAY_HOURS - LATE_HOURS


def _by_hour(
    executions: Sequence[ExecutionRecorded],
) -> Iterable[tuple[int, Iterable[ExecutionRecorded]]]:
    """Those that follow each other in one hour, in the order of recording."""
    times = list(map(finished_at, executions))
    first = hour_of(min(times))
    if first == hour_of(max(times)):
        # As nearly always, where they are recorded as they finish.
        return ((first, executions),)
    return groupby(executions, lambda execution: hour_of(execution.finished_at))


def _by_pair(executions: Iterable[ExecutionRecorded]) -> dict[Pair, Cell]:
    """Executions, failures and microseconds by agent and tool, in the order of recording."""
    sums: dict[Pair, Cell] = {}
    for execution in executions:
        pair = (execution.agent, execution.tool)
        cell = sums.get(pair)
        if cell is None:
            sums[pair] = [1, 0 if execution.success else 1, execution.duration]
        else:
            cell[0] += 1
            cell[1] += not execution.success
            cell[2] += execution.duration
    return sums


def _count(late: dict[str, dict[str, int]], sums: Iterable[tuple[Pair, Cell]]) -> None:
    for (agent, tool), (_, _, duration) in sums:
        tools = late.setdefault(agent, {})
        tools[tool] = tools.get(tool, 0) + duration


def _suspects(tools: Mapping[str, Cell], busy: int) -> dict[str, Cell]:
    """The tools that are worth a closer look, which are few: all others score too little."""
    least, of = LEAST_SCORE
    enough = least * busy // (of * MOST_GROWTH * MOST_FAILING)
    return {name: cell for name, cell in tools.items() if cell[2] >= enough}


def _worst(suspects: Mapping[str, Cell], busy: int, late: Mapping[str, int]) -> list[str]:
    """The tools that take the most of the agent's busy time; growth and failures count on top.

    A tool's score is its share of the busy time of the day, times its growth, times one plus its
    failure rate. Its growth is its share of the last two hours (`late` is the busy time of each
    tool in them) over its share of the day, from 1 to 2: a tool that never fails and takes as much
    as ever counts with its share alone, and one that fails every time or doubles its share counts
    twice. The scores are exact, so that equal ones are equal: those go by name.
    """
    if not busy:
        return []
    least, of = LEAST_SCORE
    busy_late = sum(late.values())
    scores = {}
    for name, (executions, failed, duration) in suspects.items():
        growth, usual = _growth(late.get(name, 0) * busy, duration * busy_late)
        score = duration * (executions + failed) * growth
        whole = executions * busy * usual
        if of * score >= least * whole:
            scores[name] = Fraction(score, whole)
    return sorted(scores, key=lambda name: (-scores[name], name))[:MOST_BOTTLENECKS]


def _growth(late: int, usual: int) -> tuple[int, int]:
    """The growth, as a fraction: what is above the line and what is below it."""
    if late <= usual or not usual:
        return 1, 1
    return min(late, MOST_GROWTH * usual), usual
