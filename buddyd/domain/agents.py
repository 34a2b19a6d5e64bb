"""The agents: who was heard of when, what they run, and how they are."""

from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from buddyd.domain.answers import AgentsStatus, AgentState, AgentStatus, ReportedState
from buddyd.domain.journal import (
    MICROSECONDS,
    AgentEntry,
    AgentReported,
    ExecutionRecorded,
    ExecutionStarted,
    ratio,
)
from buddyd.domain.projection import Projection, Table
from buddyd.domain.segment import Segment, failures_in_a_row, is_timely, recorded_at
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import (
    GRACE_MINUTES,
    HOUR,
    MINUTE,
    Window,
    day_floor,
    hour_of,
    midnight_minute,
    rfc3339,
)

# An agent whose last three executions failed is in trouble.
FAILURES_OF_AN_ERROR = 3
MOST_OPEN_TASKS = 1000
"""An agent with more open tasks than this forgets the one that was opened first."""
FORGET_AFTER_HOURS = 30 * 24
# A clock that is put back past midnight, or a zone further west, makes yesterday today.
YESTERDAY_MINUTES = 25 * 60


class OpenTask(Struct, array_like=True):
    """A task that was started and has no recorded execution yet."""

    started_at: float
    tool: str


class Agent(Struct):
    """What is known about one agent beside its counts."""

    last_heard: float
    """Receipt of the last thing it sent, Unix seconds."""
    last_finished: float | None = None
    last_started: float | None = None
    last_report: float | None = None
    status: ReportedState | None = None
    queue_depth: int = 0
    concurrency: int | None = None
    open_tasks: dict[str, OpenTask] = field(default_factory=dict)
    failures_in_a_row: int = 0
    """In the order of recording."""

    @property
    def last_activity(self) -> float:
        """The latest of its executions' ends, its starts and its reports, Unix seconds."""
        times = (self.last_finished, self.last_started, self.last_report)
        return max(time for time in times if time is not None)


class Roster:
    """Every agent that was heard of, and its status. It is part of several projections."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        self.table: Table[Agent] = Table(Agent)
        self._recorded_hour = 0

    def fold(self, segment: Segment) -> None:
        """Take in the entries of the journal that come next."""
        self._recorded_hour = max(self._recorded_hour, segment.hour)
        if segment.has_events:
            for entry in segment.entries:
                if isinstance(entry, AgentEntry):
                    self._take(entry)
        else:
            before = _forgotten_before(segment.hour)
            for name, executions in segment.by_agent.items():
                ends = segment.agent_ends[name]
                agent = self._heard(name, executions[0].recorded_at, before)
                _finish(agent, executions, segment.timely(executions, ends), ends.last)

    def forget(self) -> None:
        """Drop the agents of which nothing was heard for a month.

        By the time of the journal: an entry that is still to be folded may have come earlier.
        """
        before = _forgotten_before(self._recorded_hour)
        for name in [n for n, agent in self.table.rows.items() if agent.last_heard < before]:
            self.table.drop(name)

    def present(self, now: float) -> Iterator[tuple[str, Agent]]:
        """By name, the agents with an execution or a report in the 24-hour window, or a task."""
        since = day_floor(now) * MINUTE
        for name, agent in sorted(self.table.rows.items()):
            if (
                _is_since(agent.last_finished, since)
                or _is_since(agent.last_report, since)
                or self.running(agent, now)
            ):
                yield name, agent

    def running(self, agent: Agent, now: float) -> dict[str, OpenTask]:
        """Its open tasks that have not timed out, in the order in which they were opened."""
        if not agent.open_tasks:
            return {}
        since = now - self._settings.execution_timeout_seconds
        return {task: open_ for task, open_ in agent.open_tasks.items() if open_.started_at > since}

    def status(self, agent: Agent, now: float) -> AgentState:
        """How the agent is: the first rule that applies."""
        silent = now - agent.last_heard
        if agent.last_report is not None and silent >= self._settings.offline_after_seconds:
            return "OFFLINE"
        if agent.status is not None:
            return agent.status
        if agent.queue_depth > 0 or self.running(agent, now):
            return "BUSY"
        return "ERROR" if agent.failures_in_a_row >= FAILURES_OF_AN_ERROR else "IDLE"

    def _take(self, entry: AgentEntry) -> None:
        before = _forgotten_before(hour_of(entry.recorded_at))
        agent = self._heard(entry.agent, entry.recorded_at, before)
        match entry:
            case ExecutionRecorded():
                timely = (entry,) if is_timely(entry) else ()
                _finish(agent, (entry,), timely, entry.finished_at)
            case ExecutionStarted():
                agent.last_heard = max(agent.last_heard, entry.recorded_at)
                self._open(agent, entry)
            case AgentReported():
                agent.last_heard = max(agent.last_heard, entry.recorded_at)
                _report(agent, entry)

    def _heard(self, name: str, at: float, before: int) -> Agent:
        """The agent, which begins anew where it was last heard of before `before`."""
        agent = self.table.touch(name)
        if agent is None or agent.last_heard < before:
            agent = self.table.put(name, Agent(last_heard=at))
        return agent

    def _open(self, agent: Agent, entry: ExecutionStarted) -> None:
        running = self.running(agent, entry.recorded_at)
        running.pop(entry.task_id, None)
        running[entry.task_id] = OpenTask(entry.started_at, entry.tool)
        if len(running) > MOST_OPEN_TASKS:
            del running[next(iter(running))]
        agent.open_tasks = running
        agent.last_started = max(agent.last_started or entry.started_at, entry.started_at)


def _forgotten_before(hour: int) -> int:
    """Who was last heard of before this (Unix seconds) is forgotten in that hour."""
    return (hour - FORGET_AFTER_HOURS) * HOUR


def _is_since(time: float | None, since: int) -> bool:
    return time is not None and time >= since


def _finish(
    agent: Agent,
    executions: Sequence[ExecutionRecorded],
    timely: Sequence[ExecutionRecorded],
    latest: float,
) -> None:
    agent.last_heard = max(agent.last_heard, *map(recorded_at, executions))
    before = agent.last_finished
    agent.last_finished = latest if before is None else max(before, latest)
    agent.failures_in_a_row = failures_in_a_row(agent.failures_in_a_row, timely)
    if agent.open_tasks:
        for execution in executions:
            agent.open_tasks.pop(execution.task_id, None)


def _report(agent: Agent, entry: AgentReported) -> None:
    agent.last_report = max(agent.last_report or entry.recorded_at, entry.recorded_at)
    agent.status = entry.status
    if entry.queue_depth is not None:
        agent.queue_depth = entry.queue_depth
    if entry.concurrency is not None:
        agent.concurrency = entry.concurrency


class Agents(Projection):
    """The answer to `get_agents_status`."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        self._roster = Roster(settings)
        # Executions, successes, microseconds; and for today, which can be longer than a day
        # has hours, executions alone.
        self._day = Window(GRACE_MINUTES)
        self._today = Window(YESTERDAY_MINUTES + GRACE_MINUTES)
        self.parts = {"roster": self._roster.table, "day": self._day, "today": self._today}

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        self._roster.fold(segment)
        for agent in segment.agent_sums:
            sums = (agent.executions, agent.successes, agent.duration)
            self._day.add(agent.minute, agent.name, sums)
            self._today.add(agent.minute, agent.name, (agent.executions,))

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        self._day.move(day_floor(now))
        self._today.move(midnight_minute(now, self._settings.zone))
        self._roster.forget()

    def answer(self, now: float) -> AgentsStatus:
        """How the agents are at `now`."""
        self.advance(now)
        agents = [self._describe(name, agent, now) for name, agent in self._roster.present(now)]
        return AgentsStatus(timestamp=rfc3339(now), total_agents=len(agents), agents=agents)

    def __len__(self) -> int:
        """How many agents are known."""
        return len(self._roster.table.rows)

    def _describe(self, name: str, agent: Agent, now: float) -> AgentStatus:
        count, successes, duration = self._day.totals.get(name, (0, 0, 0))
        return AgentStatus(
            agent_id=name,
            status=self._roster.status(agent, now),
            current_task_id=next(reversed(self._roster.running(agent, now)), None),
            tasks_completed_today=self._today.totals.get(name, (0,))[0],
            executions_24h=count,
            avg_response_time=ratio(duration, count * MICROSECONDS),
            success_rate=ratio(successes, count),
            queue_depth=agent.queue_depth,
            last_activity=rfc3339(agent.last_activity),
        )
