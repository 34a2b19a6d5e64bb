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
from buddyd.domain.forecast import Backcast, Prediction, backcast
from buddyd.domain.journal import MICROSECONDS, ExecutionRecorded, microseconds
from buddyd.domain.load import BusySeries, Concurrency
from buddyd.domain.projection import Projection, Table
from buddyd.domain.segment import Segment, duration
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import GRACE_MINUTES, Window, minute_of, rfc3339

SERIES_SECONDS = 30 * 86_400
RECENT_MINUTES = 10
"""Little's law is applied to what finished in the last ten minutes."""
RECENT = RECENT_MINUTES * 60 * MICROSECONDS


class Load(Struct):
    """What is known of an agent's work beside its sums."""

    concurrency: Concurrency = field(default_factory=Concurrency)
    tools: list[str] = field(default_factory=list)
    """Those that are told apart."""


class _Known(Struct, frozen=True):
    """A forecast, and what it was made from."""

    current: int
    version: int
    parallel: int
    backcast: Backcast | None


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
        self._known: dict[str, _Known] = {}
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
        length = SERIES_SECONDS // self._series.width
        self._series.move(current - length, current)
        for agent in [agent for agent in self._known if agent not in self._series.rows]:
            del self._known[agent]
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
        """Work out up to `most` forecasts that are out of date; says whether any is left.

        A query works out the rest itself; this spreads the work that a closed window brings.
        """
        self.advance(now)
        current = self._series.window_of(now)
        for name, agent in self._roster.table.rows.items():
            if not self._is_known(name, self._parallel(name, agent), current):
                if most == 0:
                    return True
                self._backcast(name, self._parallel(name, agent), current)
                most -= 1
        return False

    def _forecast(self, name: str, agent: Agent, now: float) -> Forecast:
        parallel = self._parallel(name, agent)
        known = self._backcast(name, parallel, self._series.window_of(now))
        waiting = self._waiting(name, agent, parallel)
        prediction = known.prediction if known else self._first_guess(name, now)
        if known is None or known.mean_error is None:
            # Nothing is known yet of how far off a forecast may be.
            prediction = Prediction(prediction.value, 0.0, float(parallel))
        free = _free(prediction, parallel)
        if self._roster.status(agent, now) == "OFFLINE":
            free = (0, 0, 0)
        work = self._workday.work(name)
        done = self._completion(name, agent, now, waiting, parallel)
        return Forecast(
            agent_id=name,
            estimated_available_capacity=free[1],
            capacity_low=free[0],
            capacity_high=free[2],
            current_queue_depth=waiting,
            queue_source=_queue_source(agent),
            predicted_completion_time=None if done is None else rfc3339(done),
            bottleneck_tools=work.bottlenecks,
            forecast_error=_error_points(known, parallel),
            interval_coverage=known.coverage if known else None,
        )

    def _parallel(self, name: str, agent: Agent) -> int:
        """How many tasks it can run at once: as it reported, or as was seen."""
        if agent.concurrency is not None:
            return agent.concurrency
        row = self._loads.get(name)
        return 1 if row is None else row.concurrency.most

    def _backcast(self, name: str, parallel: int, current: int) -> Backcast | None:
        if not self._is_known(name, parallel, current):
            values = self._series.utilisation(name, current)
            first = current - len(values)
            hours = (self._series.hour_of_day(window) for window in range(first, current + 1))
            found = backcast(values, hours, self._series.width, parallel)
            row = self._series.rows.get(name)
            version = row.version if row else 0
            self._known[name] = _Known(current, version, parallel, found)
        return self._known[name].backcast

    def _is_known(self, name: str, parallel: int, current: int) -> bool:
        known, row = self._known.get(name), self._series.rows.get(name)
        made_from = (current, row.version if row else 0, parallel)
        return known is not None and (known.current, known.version, known.parallel) == made_from

    def _first_guess(self, name: str, now: float) -> Prediction:
        """Before a window has closed: what it has done in this one."""
        row = self._series.rows.get(name)
        current = self._series.window_of(now)
        begin = current * self._series.width
        busy = row.get(current) / MICROSECONDS if row else 0.0
        value = busy / max(60.0, now - begin)
        return Prediction(value, value, value)

    def _waiting(self, name: str, agent: Agent, parallel: int) -> int:
        if agent.last_report is not None:
            return agent.queue_depth
        return max(0, round(self._in_system(name)) - parallel)

    def _completion(
        self, name: str, agent: Agent, now: float, waiting: int, parallel: int
    ) -> float | None:
        """When what waits and runs should be done; None where nothing does, or can be told."""
        mean = self._workday.work(name).mean
        if mean is None:
            return None
        left = self._left(name, agent, now, parallel, mean)
        if not (waiting or left):
            return None
        done = now + max([*left, (sum(left) + waiting * mean) / parallel])
        return min(done, LATEST_TIME)

    def _left(self, name: str, agent: Agent, now: float, parallel: int, mean: float) -> list[float]:
        """How many seconds more each task that runs should take; `mean` is that of all tools."""
        if agent.last_started is None:
            return [mean] * min(parallel, round(self._in_system(name)))
        left = []
        for task in self._roster.running(agent, now).values():
            usual = self._workday.mean(name, task.tool)
            left.append(max(0.0, (mean if usual is None else usual) - (now - task.started_at)))
        return left

    def _in_system(self, name: str) -> float:
        """Little's law: arrival rate times mean duration is the mean number in the system."""
        _, duration = self._recent.totals.get(name, (0, 0))
        return duration / RECENT


def _free(prediction: Prediction, parallel: int) -> tuple[int, int, int]:
    """Low, likely and high capacity in whole percent."""
    busy = (prediction.high, prediction.value, prediction.low)
    low, likely, high = (round(100 * (1 - min(1.0, value / parallel))) for value in busy)
    return low, likely, high


def _error_points(known: Backcast | None, parallel: int) -> float | None:
    if known is None or known.mean_error is None:
        return None
    return 100 * known.mean_error / parallel


def _queue_source(agent: Agent) -> QueueSource:
    if agent.last_report is not None:
        return "reported"
    return "started" if agent.last_started is not None else "estimated"
