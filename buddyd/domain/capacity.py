"""Capacity: what each agent can take on in the next window.

An agent's utilisation is its busy time in a window over the window's length. Its capacity is what
the forecast of the next window leaves free of all that it can run at once.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from buddyd.domain.agents import Agent, Roster
from buddyd.domain.answers import Forecast, PredictiveCapacity, QueueSource
from buddyd.domain.bottlenecks import Workday
from buddyd.domain.execution import LATEST_TIME
from buddyd.domain.journal import MICROSECONDS, ExecutionRecorded, microseconds
from buddyd.domain.load import BusySeries, Concurrency
from buddyd.domain.outlook import Free, Outlook, Outlooks, free, percent_free, unsure
from buddyd.domain.projection import Projection, Table
from buddyd.domain.segment import Segment, duration
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import GRACE_MINUTES, Window, minute_of, rfc3339

RECENT_MINUTES = 10
"""Little's law is applied to what finished in the last ten minutes."""
RECENT = RECENT_MINUTES * 60 * MICROSECONDS


class Load(Struct):
    """What is known of an agent's work beside its sums."""

    concurrency: Concurrency = field(default_factory=Concurrency)
    tools: list[str] = field(default_factory=list)
    """Those that are told apart."""


class Capacity(Projection):
    """The answer to `get_predictive_capacity`."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        self._roster = Roster(settings)
        self._series = BusySeries(settings.capacity_window_seconds)
        self._loads: Table[Load] = Table(Load)
        # Executions, microseconds.
        self._recent = Window(GRACE_MINUTES)
        self._workday = Workday()
        self._outlooks = Outlooks(self._series)
        self.parts = {
            "roster": self._roster.table,
            # A series of another width has another name: it starts anew.
            f"series_{settings.capacity_window_seconds}": self._series,
            "loads": self._loads,
            "recent": self._recent,
            "day": self._workday.day,
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        self._roster.fold(segment)
        if segment.executions:
            self._count(segment)

    def _count(self, segment: Segment) -> None:
        for agent in segment.agent_sums:
            self._recent.add(agent.minute, agent.name, (agent.executions, agent.duration))
        self._cut_off(segment.executions)
        known = {}
        for name, executions in segment.by_agent.items():
            row = self._loads.touch(name) or self._loads.put(name, Load())
            runs = [((end := microseconds(e.finished_at)) - e.duration, end) for e in executions]
            self._series.add(name, runs)
            row.concurrency.add(runs)
            known[name] = row.tools
        self._workday.add(segment.executions, known)

    def _cut_off(self, executions: Sequence[ExecutionRecorded]) -> None:
        """Of what took longer than the window, no more than that lies in it."""
        if max(map(duration, executions)) <= RECENT:
            return
        for execution in executions:
            if execution.duration > RECENT:
                minute = minute_of(execution.finished_at)
                self._recent.add(minute, execution.agent, (0, RECENT - execution.duration))

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        self._roster.forget()
        self._recent.move(minute_of(now) - RECENT_MINUTES + 1)
        self._workday.advance(now)
        current = self._series.window_of(now)
        self._series.move(current - self._series.length)
        self._outlooks.forget()
        for agent in [name for name in self._loads.rows if name not in self._series.rows]:
            self._loads.drop(agent)

    def answer(self, now: float) -> PredictiveCapacity:
        """The forecasts at `now`."""
        self.advance(now)
        return PredictiveCapacity(
            timestamp=rfc3339(now),
            window_seconds=self._series.width,
            forecasts=[
                self._forecast(name, agent, now) for name, agent in self._roster.present(now)
            ],
        )

    def prepare(self, now: float, most: int) -> bool:
        """Go `most` steps along the series, or little more; says whether any are left.

        A query takes those that it needs itself. This spreads the work that a closed window
        brings, and does what it can of it before the window closes.
        """
        self.advance(now)
        current = self._series.window_of(now)
        # In its first half, runs that began before a window still change the one before it.
        is_settled = now % self._series.width >= self._series.width / 2
        for prepare in (self._outlooks.prepare, self._outlooks.prepare_next)[: 1 + is_settled]:
            for name, agent in self._roster.table.rows.items():
                steps = prepare(name, self._parallel(name, agent), current, most)
                if steps:
                    # The day that its work is known of moves as windows close.
                    self._workday.work(name)
                most -= steps
                if most <= 0:
                    return True
        return False

    def _forecast(self, name: str, agent: Agent, now: float) -> Forecast:
        parallel = self._parallel(name, agent)
        in_system = self._in_system(name)
        waiting = _waiting(agent, in_system, parallel)
        work = self._workday.work(name)
        outlook = self._outlooks.get(name, parallel, self._series.window_of(now))
        low, likely, high = self._free(name, parallel, now, outlook)
        if self._roster.status(agent, now) == "OFFLINE":
            low = likely = high = 0
        left = self._left(name, agent, work.mean, now, min(parallel, in_system))
        return Forecast(
            agent_id=name,
            estimated_available_capacity=likely,
            capacity_low=low,
            capacity_high=high,
            current_queue_depth=waiting,
            queue_source=_queue_source(agent),
            predicted_completion_time=_completion(now, left, waiting, work.mean, parallel),
            bottleneck_tools=work.bottlenecks,
            forecast_error=outlook.error if outlook else None,
            interval_coverage=outlook.coverage if outlook else None,
        )

    def _parallel(self, name: str, agent: Agent) -> int:
        """How many tasks it can run at once: as it reported, or as was seen."""
        if agent.concurrency is not None:
            return agent.concurrency
        row = self._loads.get(name)
        return 1 if row is None else row.concurrency.most

    def _free(self, name: str, parallel: int, now: float, outlook: Outlook | None) -> Free:
        """What it can take on in the open window, of which what it has done so far is taken."""
        row, current = self._series.rows.get(name), self._series.window_of(now)
        busy = row.get(current) / MICROSECONDS if row else 0.0
        if outlook is None:
            # No window has closed: it goes on as it has begun.
            so_far = max(60.0, now - current * self._series.width)
            expected = free(unsure(busy / so_far, parallel), parallel)
        else:
            expected = outlook.free
        if not busy:
            return expected
        left = percent_free(busy / self._series.width, parallel)
        low, likely, high = expected
        return min(low, left), min(likely, left), min(high, left)

    def _left(
        self, name: str, agent: Agent, mean: float | None, now: float, at_once: int
    ) -> list[float]:
        """How many seconds more each task that runs should take.

        Where the agent does not say what it runs, `at_once` tasks have just begun.
        """
        if mean is None:
            return []
        if agent.last_started is None:
            return [mean] * at_once
        left = []
        for task in self._roster.running(agent, now).values():
            usual = self._workday.mean(name, task.tool)
            left.append(max(0.0, (mean if usual is None else usual) - (now - task.started_at)))
        return left

    def _in_system(self, name: str) -> int:
        """Little's law: arrival rate times mean duration is the mean number in the system."""
        sums = self._recent.totals.get(name)
        return 0 if sums is None else round(sums[1] / RECENT)


def _waiting(agent: Agent, in_system: int, parallel: int) -> int:
    if agent.last_report is not None:
        return agent.queue_depth
    return max(0, in_system - parallel)


def _completion(
    now: float, left: list[float], waiting: int, mean: float | None, parallel: int
) -> str | None:
    """When what waits and runs should be done; None where nothing does, or can be told."""
    if mean is None or not (waiting or left):
        return None
    done = now + max([*left, (sum(left) + waiting * mean) / parallel])
    return rfc3339(min(done, LATEST_TIME))


def _queue_source(agent: Agent) -> QueueSource:
    if agent.last_report is not None:
        return "reported"
    return "started" if agent.last_started is not None else "estimated"
