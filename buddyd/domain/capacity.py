"""Capacity: what each agent can take on in the next window.

An agent's utilisation is its busy time in a window over the window's length. Its capacity is what
the forecast of the next window leaves free of all that it can run at once.
"""

from collections.abc import Iterable
from fractions import Fraction

from msgspec import Struct, field

from buddyd.domain.agents import Agent, OpenTask, Roster
from buddyd.domain.answers import Forecast, PredictiveCapacity, QueueSource
from buddyd.domain.execution import LATEST_TIME
from buddyd.domain.forecast import Backcast, Prediction, backcast
from buddyd.domain.journal import MICROSECONDS, ExecutionRecorded, microseconds
from buddyd.domain.load import BusySeries, Concurrency
from buddyd.domain.names import admit, join
from buddyd.domain.projection import Projection, Table
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import (
    GRACE_HOURS,
    GRACE_MINUTES,
    Cell,
    PairWindow,
    Window,
    hour_of,
    minute_of,
    rfc3339,
)

SERIES_SECONDS = 30 * 86_400
RECENT_MINUTES = 10
"""Little's law is applied to what finished in the last ten minutes."""
RECENT = RECENT_MINUTES * 60 * MICROSECONDS
BOTTLENECK_HOURS = 24
LATE_HOURS = 2
"""A tool grows where its share of the last hours is larger than that of the day."""
MOST_GROWTH = 2
BOTTLENECK_SCORE = Fraction(3, 10)
MOST_BOTTLENECKS = 3
MOST_TOOLS = 50
"""Tools of one agent that are told apart; further ones count as `~other`."""


class Load(Struct):
    """What is known of an agent's work beside its sums."""

    concurrency: Concurrency = field(default_factory=Concurrency)
    tools: list[str] = field(default_factory=list)
    """Those that are told apart."""


class _Work(Struct, frozen=True):
    """How long an agent's work took in the last day, in seconds, and what held it up."""

    mean: float | None
    """None where nothing was done."""
    mean_by_tool: dict[str, float]
    bottlenecks: list[str]

    def completion(
        self, now: float, waiting: int, running: list[OpenTask], parallel: int
    ) -> float | None:
        """When what waits and runs should be done; None where nothing does, or can be told."""
        mean = self.mean
        if mean is None or not (waiting or running):
            return None
        left = [
            max(0.0, self.mean_by_tool.get(task.tool, mean) - (now - task.started_at))
            for task in running
        ]
        done = now + max([*left, (sum(left) + waiting * mean) / parallel])
        return min(done, LATEST_TIME)


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
        # Executions, failures, microseconds by agent and tool.
        self._day = PairWindow(GRACE_HOURS)
        self._known: dict[str, _Known] = {}
        self._work: dict[str, _Work] = {}
        # The same as in `_day`, of the last hours that were looked at.
        self._late: dict[int, dict[str, Cell]] = {}
        self.parts = {
            "roster": self._roster.table,
            # A series of another width has another name: it starts anew.
            f"series_{settings.capacity_window_seconds}": self._series,
            "loads": self._loads,
            "recent": self._recent,
            "day": self._day,
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        self._roster.fold(segment)
        for agent in segment.agent_sums:
            self._recent.add(agent.minute, agent.name, (agent.executions, agent.duration))
        for name, executions in segment.by_agent.items():
            row = self._loads.touch(name) or self._loads.put(name, Load())
            ends = [(microseconds(e.finished_at), e.duration) for e in executions]
            runs = [(end - duration, end) for end, duration in ends]
            self._series.add(name, runs)
            row.concurrency.add(runs)
            self._count_by_tool(name, row, executions)
            self._work.pop(name, None)

    def _count_by_tool(self, name: str, row: Load, executions: Iterable[ExecutionRecorded]) -> None:
        sums: dict[tuple[int, str], Cell] = {}
        for execution in executions:
            duration = execution.duration
            if duration > RECENT:
                # Of what took longer than the window, no more than that lies in it.
                minute = minute_of(execution.finished_at)
                self._recent.add(minute, name, (0, RECENT - duration))
            key = (hour_of(execution.finished_at), execution.tool)
            cell = sums.get(key)
            if cell is None:
                sums[key] = [1, 0 if execution.success else 1, duration]
            else:
                cell[0] += 1
                cell[1] += not execution.success
                cell[2] += duration
        for (hour, tool), cell in sums.items():
            self._late.pop(hour, None)
            self._day.add(hour, join(name, admit(row.tools, tool, MOST_TOOLS)), cell)

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        self._roster.forget()
        self._recent.move(minute_of(now) - RECENT_MINUTES + 1)
        if self._day.move(hour_of(now) - BOTTLENECK_HOURS + 1):
            self._work.clear()
            self._late.clear()
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
        waiting, running = self._waiting(name, agent, parallel), self._running(name, agent, now)
        prediction = known.prediction if known else self._first_guess(name, now)
        if known is None or known.mean_error is None:
            # Nothing is known yet of how far off a forecast may be.
            prediction = Prediction(prediction.value, 0.0, float(parallel))
        free = _free(prediction, parallel)
        if self._roster.status(agent, now) == "OFFLINE":
            free = (0, 0, 0)
        work = self._work.get(name) or self._learn(name, hour_of(now))
        done = work.completion(now, waiting, running, parallel)
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
            found = backcast(values, hours, parallel)
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

    def _running(self, name: str, agent: Agent, now: float) -> list[OpenTask]:
        if agent.last_started is not None:
            return list(self._roster.running(agent, now).values())
        estimate = min(self._parallel(name, agent), round(self._in_system(name)))
        return [OpenTask(now, "")] * estimate

    def _in_system(self, name: str) -> float:
        """Little's law: arrival rate times mean duration is the mean number in the system."""
        _, duration = self._recent.totals.get(name, (0, 0))
        return duration / RECENT

    def _learn(self, name: str, hour: int) -> _Work:
        tools = self._day.under(name)
        late = dict.fromkeys(tools, 0)
        keys = [(tool, key) for tool, key in self._day.keys(name).items() if tool in tools]
        # What is ahead of a clock that was put back counts, as it does in the day.
        for number in [number for number in self._day if number > hour - LATE_HOURS]:
            cells = self._in_hour(number)
            for tool, key in keys:
                if cell := cells.get(key):
                    late[tool] += cell[2]
        self._work[name] = work = _described(tools, late)
        return work

    def _in_hour(self, hour: int) -> dict[str, Cell]:
        cells = self._late.get(hour)
        if cells is None:
            cells = self._late[hour] = self._day.get(hour)
        return cells


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


def _described(tools: dict[str, Cell], late: dict[str, int]) -> _Work:
    executions = sum(cell[0] for cell in tools.values())
    if not executions:
        return _Work(mean=None, mean_by_tool={}, bottlenecks=[])
    return _Work(
        mean=sum(cell[2] for cell in tools.values()) / executions / MICROSECONDS,
        mean_by_tool={name: cell[2] / cell[0] / MICROSECONDS for name, cell in tools.items()},
        bottlenecks=_bottlenecks(tools, late),
    )


def _bottlenecks(tools: dict[str, Cell], late: dict[str, int]) -> list[str]:
    """The tools that take the most of the agent's busy time; growth and failures count on top.

    A tool's score is its share of the busy time of the day, times its growth, times one plus its
    failure rate. Its growth is its share of the last two hours (`late` is the busy time of each
    tool in them) over its share of the day, from 1 to 2: a tool that never fails and takes as much
    as ever counts with its share alone, and one that fails every time or doubles its share counts
    twice. The scores are exact, so that equal ones are equal: those go by name.
    """
    busy, busy_late = sum(cell[2] for cell in tools.values()), sum(late.values())
    if not busy:
        return []
    # Growth and failures quadruple a score at most, and few are high: what is compared first is
    # cheap.
    least, of = BOTTLENECK_SCORE.as_integer_ratio()
    scores = {
        name: Fraction(duration * (executions + failed), executions * busy)
        * _growth(late[name] * busy, duration * busy_late)
        for name, (executions, failed, duration) in tools.items()
        if of * MOST_GROWTH * duration * (executions + failed) >= least * busy * executions
    }
    worst = sorted(scores, key=lambda name: (-scores[name], name))
    return [name for name in worst if scores[name] >= BOTTLENECK_SCORE][:MOST_BOTTLENECKS]


def _growth(late: int, usual: int) -> Fraction:
    if not usual:
        return Fraction(1)
    return min(Fraction(MOST_GROWTH), max(Fraction(1), Fraction(late, usual)))
