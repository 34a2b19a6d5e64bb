"""Findings about agents that repeat the same tool on the same task again and again."""

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter

from msgspec import Struct, field

from buddyd.domain.findings import MOST_IDS, Case, Casebook
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.names import OTHER, join
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import left_before

REPEATS = 5
"""Executions without another tool between, from which on it is a loop."""
MANY_REPEATS = 20
MOST_TASKS = 8
"""The tasks of an agent that are watched: those that it worked on last."""
_task = attrgetter("task_id")


class Run(Struct, array_like=True):
    """Executions of one tool on one task that follow each other."""

    tool: str
    began: float
    last: float
    """The latest end, Unix seconds."""
    count: int
    failed: int
    ids: list[str]


class Runner(Struct):
    """What one agent does over and over."""

    last: float
    tasks: dict[str, Run] = field(default_factory=dict)
    """By task, the one that it worked on last at the end."""


class Loops:
    """Opens and closes the cases of agents that go round in circles."""

    def __init__(self, settings: DomainSettings, book: Casebook) -> None:
        # As long as a task that was started counts as open.
        self._lasts = settings.execution_timeout_seconds
        self._book = book
        self.runners: Table[Runner] = Table(Runner)
        self._recorded_hour = 0

    def fold(self, segment: Segment) -> None:
        """Take in the executions that come next."""
        self._recorded_hour = max(self._recorded_hour, segment.hour)
        for name, executions in segment.by_agent.items():
            # Names beyond the limit stand for many.
            if name == OTHER:
                continue
            runner = self.runners.touch(name)
            if runner is None or runner.last < segment.left_before:
                if runner is not None:
                    self._leave(name, runner)
                runner = self.runners.put(name, Runner(executions[0].finished_at))
            self._take(name, runner, executions)
            runner.last = max(runner.last, segment.agent_ends[name].last)

    def forget(self) -> None:
        """Drop the agents that have left the 30-day window, by the time of the journal."""
        for name, runner in list(self.runners.rows.items()):
            if runner.last < left_before(self._recorded_hour):
                self._leave(name, runner)
                self.runners.drop(name)

    def _take(self, name: str, runner: Runner, executions: Sequence[ExecutionRecorded]) -> None:
        tasks = runner.tasks
        for each in _leaving_a_trace(executions, tasks):
            task, at = each.task_id, each.finished_at
            run = tasks.pop(task, None)
            if run is not None and run.tool == each.tool and at <= run.last + self._lasts:
                tasks[task] = run
                self._repeat(name, task, run, each)
                continue
            if run is not None:
                self._end(name, task, run, at)
            elif len(tasks) >= MOST_TASKS:
                # The agent has moved on.
                left = next(iter(tasks))
                self._end(name, left, tasks.pop(left), at)
            tasks[task] = Run(each.tool, at, at, 1, int(not each.success), [each.execution_id])

    def _repeat(self, name: str, task: str, run: Run, each: ExecutionRecorded) -> None:
        run.count += 1
        run.failed += not each.success
        if each.finished_at > run.last:  # noqa: PLR1730 - a call less for each execution
            run.last = each.finished_at
        run.ids.append(each.execution_id)
        del run.ids[:-MOST_IDS]
        if run.count >= REPEATS and run.tool != OTHER:
            self._follow(name, task, run, each)

    def _leave(self, name: str, runner: Runner) -> None:
        """Long after it ran last."""
        for task, run in runner.tasks.items():
            self._end(name, task, run, math.inf)

    def _end(self, name: str, task: str, run: Run, at: float) -> None:
        if run.count >= REPEATS:
            case = self._book.lasting("loop", join(name, task), at)
            if case is not None:
                self._book.close(case, at)

    def _follow(self, name: str, task: str, run: Run, each: ExecutionRecorded) -> None:
        case = self._book.lasting("loop", join(name, task), each.finished_at)
        if case is None:
            case = Case("loop", "warning", each.seq, run.began, run.last, lasts=self._lasts)
            case.agent, case.task, case.tool = name, task, run.tool
            self._book.open(case)
        case.last, case.executions, case.failed, case.ids = (
            run.last,
            run.count,
            run.failed,
            list(run.ids),
        )
        if run.count >= MANY_REPEATS:
            case.alarm(each.seq)


def _leaving_a_trace(
    executions: Sequence[ExecutionRecorded], watched: Iterable[str]
) -> Sequence[ExecutionRecorded]:
    """Of executions on a task each, all new: those that end what was watched, and the last ones.

    What is between them is watched no longer after one execution.
    """
    if len(executions) <= 2 * MOST_TASKS:
        return executions
    tasks = set(map(_task, executions))
    if len(tasks) < len(executions) or not tasks.isdisjoint(watched):
        return executions
    return [*executions[:MOST_TASKS], *executions[-MOST_TASKS:]]
