"""Findings about tools that have become slower than they were.

The duration of an execution varies tenfold by nature, so its logarithm is compared with the tool's
own moving mean and spread; what lies above adds up (CUSUM), so that many executions that are a
little slower count, and a single one does not.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from math import copysign, exp, log, sqrt

from msgspec import Struct

from buddyd.domain.findings import CONFIRMED_SECONDS, MOST_IDS, Case, Casebook
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment
from buddyd.domain.windows import left_before

LEAST_GAIN = 0.02
START_VARIANCE = 0.25
CLIP = 3.0
"""No single execution counts for more than this many standard deviations (Huber)."""
LEAST_DEVIATION = 0.1
LEAST_VARIANCE = LEAST_DEVIATION * LEAST_DEVIATION
SETTLED = int(1.0 / LEAST_GAIN) - 1
"""Up to this count, executions weigh alike: 1 / (count + 1) is the larger gain."""
SPREAD_KNOWN = 30
"""Executions from which on the spread is known."""
SLACK = 0.5
ALARM = 12.0
LEAST_RATIO = 1.25
"""What is slower by less than this is not worth a finding, however certain it is."""
REMEMBERED_EXECUTIONS = 100
"""For how many executions it counts: what lasts gives another alarm before they are over."""


class Pace(Struct):
    """How long a tool usually takes: moving mean and variance of the logarithm of microseconds."""

    last_finished: float
    count: int = 0
    mean: float = 0.0
    variance: float = START_VARIANCE
    rise: float = 0.0
    """The cumulative sum."""
    before: float = 0.0
    """The mean before the sum began to rise."""
    since: float = 0.0
    """When it began to rise, Unix seconds."""
    run: int = 0
    """Executions since then, and the sum of their logarithms."""
    run_sum: float = 0.0
    ids: list[str] = []
    alarm_at: int = 0
    """The count at the last alarm."""

    def add(self, executions: Iterable[ExecutionRecorded]) -> ExecutionRecorded | None:
        """Take in executions up to the one that gives an alarm; says which one that is.

        All of them took some time.
        """
        # One loop over local names: every execution goes through it.
        count, mean, variance, rise = self.count, self.mean, self.variance, self.rise
        run, run_sum, ids = self.run, self.run_sum, self.ids
        alarming = None
        for each in executions:
            x = log(each.duration)
            if not count:
                mean = x
            deviation = sqrt(variance) if variance > LEAST_VARIANCE else LEAST_DEVIATION
            z = (x - mean) / deviation
            if not -CLIP <= z <= CLIP:
                z = copysign(CLIP, z)
            if count >= SPREAD_KNOWN:
                if not rise and z > SLACK:
                    self.before, self.since = mean, each.finished_at
                    run, run_sum, ids = 0, 0.0, []
                rise += z - SLACK
                if rise > 0.0:
                    run += 1
                    run_sum += x
                    ids.append(each.execution_id)
                else:
                    rise = 0.0
            if count:
                gain = LEAST_GAIN if count > SETTLED else 1.0 / (count + 1)
                step = z * deviation
                mean += gain * step
                variance = (1.0 - gain) * (variance + gain * step * step)
            count += 1
            if rise > ALARM:
                rise = 0.0
                if exp(run_sum / run) >= LEAST_RATIO * exp(self.before):
                    self.alarm_at = count
                    alarming = each
                    break
        self.count, self.mean, self.variance, self.rise = count, mean, variance, rise
        del ids[:-MOST_IDS]
        self.run, self.run_sum, self.ids = run, run_sum, ids
        return alarming

    @property
    def usual(self) -> float:
        """Microseconds before the rise began."""
        return exp(self.before)

    @property
    def recent(self) -> float:
        """Microseconds since the rise began."""
        return exp(self.run_sum / self.run)


class SlowTools:
    """Opens and closes the cases of tools that became slower."""

    def __init__(self, book: Casebook) -> None:
        self._book = book
        self.paces: Table[Pace] = Table(Pace)
        self._recorded_hour = 0

    def fold(self, segment: Segment) -> None:
        """Take in the executions that come next."""
        self._recorded_hour = max(self._recorded_hour, segment.hour)
        for name, executions in segment.by_tool.items():
            pace = self.paces.touch(name)
            if pace is None or pace.last_finished < segment.left_before:
                self._book.lasting("slow_down", name, math.inf)
                pace = self.paces.put(name, Pace(executions[0].finished_at))
            pace.last_finished = max(pace.last_finished, segment.tool_ends[name].last)
            self._take(name, pace, executions)

    def forget(self) -> None:
        """Drop the tools that have left the 30-day window, by the time of the journal."""
        for name, pace in list(self.paces.rows.items()):
            if pace.last_finished < left_before(self._recorded_hour):
                self._book.lasting("slow_down", name, math.inf)
                self.paces.drop(name)

    def _take(self, name: str, pace: Pace, executions: Sequence[ExecutionRecorded]) -> None:
        # How long a failure takes is another matter, and what took no time was not measured.
        timed = iter([each for each in executions if each.success and each.duration])
        for each in timed:
            # Where there is a case, each may end it.
            followed = self._book.has_open("slow_down", name)
            alarming = pace.add((each,) if followed else chain((each,), timed))
            if alarming is not None:
                self._alarm(name, pace, alarming)
            elif followed:
                self._confirm(name, pace, each)

    def _alarm(self, name: str, pace: Pace, each: ExecutionRecorded) -> None:
        case = self._book.lasting("slow_down", name, each.finished_at)
        if case is None:
            case = self._open(name, pace, each)
        case.last = max(case.last, each.finished_at)
        # What it was at first stays the measure.
        case.value, case.executions, case.ids = pace.recent, pace.run, list(pace.ids)

    def _confirm(self, name: str, pace: Pace, each: ExecutionRecorded) -> None:
        case = self._book.lasting("slow_down", name, each.finished_at)
        if case is None:
            return
        if pace.count - pace.alarm_at >= REMEMBERED_EXECUTIONS:
            self._book.close(case, each.finished_at)
        else:
            case.last = max(case.last, each.finished_at)

    def _open(self, name: str, pace: Pace, each: ExecutionRecorded) -> Case:
        case = Case("slow_down", "warning", each.seq, pace.since, each.finished_at, tool=name)
        case.usual, case.lasts = pace.usual, CONFIRMED_SECONDS
        return self._book.open(case)
