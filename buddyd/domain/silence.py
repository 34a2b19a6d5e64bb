"""Findings about agents that fell silent while they had work.

Silence is what does not come, so there is no entry that begins it: it begins when an agent that
sends reports was heard last, and as long after that as makes it offline. Whoever asks meanwhile is
told of it; it is put on record by what the agent sends next.
"""

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from buddyd.domain.findings import CONFIRMED_SECONDS, Case, Casebook
from buddyd.domain.journal import AgentEntry, AgentReported, ExecutionRecorded, ExecutionStarted
from buddyd.domain.names import OTHER
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment, recorded_at
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import GRACE_HOURS, HOUR, MONTH_HOURS

MOST_OPEN_TASKS = 1000
"""Of more, the one that was opened first is forgotten."""
FORGET_SECONDS = 2 * MONTH_HOURS * HOUR + GRACE_HOURS * HOUR
"""An agent of which nothing was heard for so long has no finding left to tell of."""


class Listened(Struct):
    """What is known about an agent that started something or reported."""

    heard: float
    """Receipt of the last thing it sent, Unix seconds."""
    seq: int
    reports: bool = False
    queue_depth: int = 0
    tasks: dict[str, float] = field(default_factory=dict)
    """When its open tasks were started."""


class Silence:
    """Tells of the agents that fell silent."""

    def __init__(self, settings: DomainSettings, book: Casebook) -> None:
        self._offline_after = settings.offline_after_seconds
        self._timeout = settings.execution_timeout_seconds
        self._book = book
        self.agents: Table[Listened] = Table(Listened)
        self._recorded_at = -math.inf

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        self._recorded_at = max(self._recorded_at, segment.entries[-1].recorded_at)
        if segment.has_events:
            for entry in segment.entries:
                if isinstance(entry, AgentEntry):
                    self._take(entry)
            return
        if self.agents.rows:
            for name, executions in segment.by_agent.items():
                if (agent := self.agents.touch(name)) is not None:
                    self._hear(agent, executions)

    def forget(self) -> None:
        """Drop the agents of which nothing is left to tell, by the time of the journal."""
        for name, agent in list(self.agents.rows.items()):
            if agent.heard < self._recorded_at - FORGET_SECONDS:
                self.agents.drop(name)

    def cases(self, now: float) -> Iterator[Case]:
        """The agents that have been silent up to `now`, or were after they were heard last."""
        for name, agent in self.agents.rows.items():
            case = self._case(name, agent, now)
            if case is not None:
                yield case

    def next_moment(self, now: float, heard_from: float) -> float:
        """The earliest time after `now` at which one may have fallen silent, if nothing comes."""
        moments = [
            max(agent.heard, heard_from) + self._offline_after
            for agent in self.agents.rows.values()
            if agent.reports and (agent.queue_depth or agent.tasks)
        ]
        # One that is heard from now on, for the first time or again, is not silent for so long.
        moments.append(now + self._offline_after)
        return min((each for each in moments if each > now), default=math.inf)

    def _hear(self, agent: Listened, executions: Sequence[ExecutionRecorded]) -> None:
        latest = max(map(recorded_at, executions))
        if latest >= agent.heard + self._offline_after:
            for each in executions:
                self._take(each)
            return
        agent.heard, agent.seq = max(agent.heard, latest), executions[-1].seq
        if agent.tasks:
            for each in executions:
                agent.tasks.pop(each.task_id, None)

    def _take(self, entry: AgentEntry) -> None:
        # Names beyond the limit stand for many.
        if entry.agent == OTHER:
            return
        agent = self.agents.touch(entry.agent)
        if agent is None:
            if isinstance(entry, ExecutionRecorded):
                return
            agent = self.agents.put(entry.agent, Listened(entry.recorded_at, entry.seq))
        if entry.recorded_at >= agent.heard + self._offline_after:
            self._put_on_record(agent, entry)
        agent.heard, agent.seq = max(agent.heard, entry.recorded_at), entry.seq
        match entry:
            case ExecutionRecorded():
                agent.tasks.pop(entry.task_id, None)
            case ExecutionStarted():
                self._start(agent, entry)
            case AgentReported():
                agent.reports = True
                if entry.queue_depth is not None:
                    agent.queue_depth = entry.queue_depth

    def _put_on_record(self, agent: Listened, entry: AgentEntry) -> None:
        """It had been silent until this entry came, if it had work."""
        case = self._case(entry.agent, agent, entry.recorded_at)
        if case is not None:
            if case.ended is None:
                case.ended = entry.recorded_at
            self._book.keep(case)

    def _start(self, agent: Listened, entry: ExecutionStarted) -> None:
        since = entry.recorded_at - self._timeout
        agent.tasks.pop(entry.task_id, None)
        agent.tasks = {task: at for task, at in agent.tasks.items() if at > since}
        agent.tasks[entry.task_id] = entry.started_at
        if len(agent.tasks) > MOST_OPEN_TASKS:
            del agent.tasks[next(iter(agent.tasks))]

    def _case(self, name: str, agent: Listened, now: float) -> Case | None:
        """The silence since it was heard last, as it is at `now`."""
        began = agent.heard + self._offline_after
        if now < began or not agent.reports:
            return None
        over = [at + self._timeout for at in agent.tasks.values() if at + self._timeout > began]
        if not (agent.queue_depth or over):
            return None
        ends = agent.heard + max(CONFIRMED_SECONDS, self._offline_after)
        if not agent.queue_depth:
            ends = min(ends, max(over))
        case = Case("silent", "alarm", agent.seq, began, began, agent=name)
        case.waiting = agent.queue_depth + len(over)
        case.ended = ends if ends <= now else None
        return case
