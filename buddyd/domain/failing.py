"""Findings about tools that fail: streaks, high rates, one error behind them, getting worse.

The rate and the errors are those of the UTC hour and the 23 before it. Hours turn by the time of
recording, for each tool with its own next execution: what is found follows from that tool's
entries alone.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from buddyd.domain.answers import FindingKind, Severity
from buddyd.domain.findings import CONFIRMED_SECONDS, MOST_IDS, Case, Casebook
from buddyd.domain.journal import ExecutionRecorded, ratio
from buddyd.domain.segment import Segment, is_timely, success
from buddyd.domain.settings import DomainSettings
from buddyd.domain.trend import Chart
from buddyd.domain.watched import DOMINANT_FAILURES, HOURS, UNKNOWN, Watchable, Watched
from buddyd.domain.windows import HOUR, hour_of

STREAK = 3
"""Failures in a row from which on it is a pattern."""
LONG_STREAK = 10
ALARM_RATE = 0.5
RELIEF = 0.25
"""A high failure rate lasts until it is lower than what made it one by this share of it."""
ALARM_EXECUTIONS = 20
HOURS_AHEAD = 1
"""An execution may end this many hours after the one in which it is recorded."""

_CONFIRMED: tuple[FindingKind, ...] = ("streak", "degrading")
_OF_THE_WINDOW: tuple[FindingKind, ...] = ("high_failure_rate", "dominant_error")


_decode = msgspec.msgpack.Decoder(Watched).decode


class FailingTools:
    """Opens and closes the cases of failing tools."""

    def __init__(self, settings: DomainSettings, book: Casebook) -> None:
        self._settings = settings
        self._book = book

    def take(self, name: str, tool: Watchable, segment: Segment) -> None:
        """Take in the executions of a tool that come next, and count its streak."""
        watched, executions = tool.watched, segment.by_tool[name]
        self.turn(name, watched, segment.hour)
        counted = watched.count(executions, segment.tool_ends[name])
        before = copy.copy(tool.chart)
        tool.chart.add(map(success, executions))
        if name in segment.failed or tool.streak or self._could_be_high(watched):
            self._step(name, tool, executions)
        else:
            watched.executions += counted
        # It is open as long as the trend lasts.
        if tool.chart.alarm_at != before.alarm_at or self._book.has_open("degrading", name):
            self._follow(name, before, executions)
        watched.seq = executions[-1].seq

    def turn(self, name: str, watched: Watched, hour: int) -> None:
        """Let the hours turn up to `hour`."""
        if hour <= watched.hour:
            return
        # At the other ones nothing leaves the window. At the next one, other settings may be in
        # force than those with which it was looked at last.
        leaving = {held + HOURS for held in watched.hours if held + HOURS <= hour}
        for next_hour in sorted({watched.hour + 1} | leaving) if watched.hours else ():
            watched.hour = next_hour
            watched.drop_before(watched.floor)
            at = float(next_hour * HOUR)
            self._assess_rate(name, watched, at, watched.seq)
            self._assess_errors(name, watched, watched.dominant(), at, watched.seq)
            self._evidence(name, watched)
        watched.hour = hour

    def close(self, name: str, watched: Watched) -> None:
        """The tool is forgotten."""
        self.turn(name, watched, watched.hour + HOURS + HOURS_AHEAD)
        for kind in _CONFIRMED:
            # Long after it was confirmed last.
            self._book.lasting(kind, name, math.inf)

    def ahead(self, tools: Mapping[str, Watchable], hour: int) -> Iterator[Case]:
        """The cases as they are in `hour`, where nothing was recorded since."""
        for name, tool in tools.items():
            if tool.watched.failed and tool.watched.hour < hour:
                yield from self._ahead(name, tool.watched, hour)

    def _ahead(self, name: str, watched: Watched, hour: int) -> Iterator[Case]:
        book = Casebook()
        for kind in _OF_THE_WINDOW:
            case = self._book.find(kind, name)
            if case is not None:
                book.open(copy.copy(case))
        copied = _decode(msgspec.msgpack.encode(watched))
        FailingTools(self._settings, book).turn(name, copied, hour)
        yield from book.cases()

    def _step(self, name: str, tool: Watchable, executions: Sequence[ExecutionRecorded]) -> None:
        for succeeded, stretch in groupby(executions, success):
            if succeeded:
                self._succeed(name, tool, list(stretch))
            else:
                for each in stretch:
                    self._fail(name, tool, each)
        self._evidence(name, tool.watched)
        del tool.watched.ids[:-MOST_IDS]

    def _could_be_high(self, watched: Watched) -> bool:
        """Whether a success could change what is found about the rate."""
        few = watched.executions < self._settings.risk_min_executions
        return watched.failed > 0 and (few or self._is_high(watched, lasts=True))

    def _is_high(self, watched: Watched, *, lasts: bool) -> bool:
        executions = watched.executions
        rate = ratio(executions - watched.failed, executions)
        return executions >= self._settings.risk_min_executions and rate < self._limit(lasts=lasts)

    def _limit(self, *, lasts: bool) -> float:
        """The success rate below which too many fail. What hovers about it is one finding."""
        medium = self._settings.medium_success_rate
        # 85 % is 0.85, and not a little more.
        return round(medium + RELIEF * (1.0 - medium), 9) if lasts else medium

    def _succeed(self, name: str, tool: Watchable, successes: Sequence[ExecutionRecorded]) -> None:
        """Take in successes that follow each other."""
        self._end_streak(name, tool, successes)
        watched = tool.watched
        start = watched.floor * HOUR
        counted = [each for each in successes if each.finished_at >= start]
        if not self._could_be_high(watched):
            watched.executions += len(counted)
            return
        for each in counted:
            watched.executions += 1
            self._assess_rate(name, watched, each.recorded_at, each.seq)

    def _end_streak(
        self, name: str, tool: Watchable, successes: Sequence[ExecutionRecorded]
    ) -> None:
        first = next(filter(is_timely, successes), None) if tool.streak else None
        if first is not None:
            if tool.streak >= STREAK:
                self._close("streak", name, first.finished_at)
            tool.streak = 0

    def _fail(self, name: str, tool: Watchable, each: ExecutionRecorded) -> None:
        watched, kind = tool.watched, each.error_type or UNKNOWN
        counts = each.finished_at >= watched.floor * HOUR
        if counts:
            watched.executions += 1
            kind = watched.fail(hour_of(each.finished_at), kind)
            self._assess_failure(name, watched, kind, each)
        if is_timely(each):
            watched.ids.append((each.execution_id, kind))
            self._lengthen_streak(name, tool, each)
        if counts:
            self._assess_rate(name, watched, each.recorded_at, each.seq)

    def _lengthen_streak(self, name: str, tool: Watchable, each: ExecutionRecorded) -> None:
        tool.streak += 1
        if tool.streak == 1:
            tool.watched.streak_began = each.finished_at
        if tool.streak >= STREAK:
            self._follow_streak(name, tool, each)

    def _follow_streak(self, name: str, tool: Watchable, each: ExecutionRecorded) -> None:
        case = self._book.lasting("streak", name, each.finished_at)
        if case is None:
            # Of one that was interrupted for a day, a new case begins with this failure.
            first = tool.watched.streak_began if tool.streak == STREAK else 0.0
            case = self._open("streak", name, each.seq, first or each.finished_at)
        case.last = max(case.last, each.finished_at)
        case.executions = case.failed = tool.streak
        case.ids = tool.watched.latest()[-tool.streak :]
        if tool.streak >= LONG_STREAK:
            case.alarm(each.seq)

    def _follow(self, name: str, chart: Chart, executions: Sequence[ExecutionRecorded]) -> None:
        """Open, confirm or close the case of a tool that gets worse; `chart` is as it was."""
        for each in executions:
            chart.add((each.success,))
            worse = chart.trend == "degrading"
            case = self._book.lasting("degrading", name, each.finished_at)
            if worse and case is None:
                case = self._open("degrading", name, each.seq, each.finished_at)
            if case is None:
                continue
            if not worse:
                self._book.close(case, each.finished_at)
                continue
            case.last = max(case.last, each.finished_at)
            case.executions += 1
            if not each.success:
                case.failed = (case.failed or 0) + 1
                case.ids = [*case.ids[1 - MOST_IDS :], each.execution_id]

    def _assess_failure(
        self, name: str, watched: Watched, kind: str, each: ExecutionRecorded
    ) -> None:
        """A failure of class `kind` was added: see which one dominates."""
        case = self._book.find("dominant_error", name)
        if case is not None:
            if case.error_type == kind or watched.is_dominant(case.error_type or UNKNOWN):
                return
            # As it was before this one.
            self._tell_errors(case, watched, watched.failed - 1)
            self._assess_errors(name, watched, None, each.recorded_at, each.seq)
            return
        at_first = watched.failed == DOMINANT_FAILURES
        dominant = watched.dominant() if at_first else kind if watched.is_dominant(kind) else None
        if dominant is not None:
            self._assess_errors(name, watched, dominant, each.recorded_at, each.seq)

    def _assess_rate(self, name: str, watched: Watched, at: float, seq: int) -> None:
        """Open, worsen or close the case of a tool of which too many executions fail."""
        case = self._book.find("high_failure_rate", name)
        high = self._is_high(watched, lasts=case is not None)
        if case is None:
            if not high:
                return
            case = self._open("high_failure_rate", name, seq, at)
        elif not high:
            case.ids = watched.latest()
            self._close("high_failure_rate", name, at)
            return
        case.executions, case.failed = watched.executions, watched.failed
        if (
            watched.executions >= ALARM_EXECUTIONS
            and watched.failed >= ALARM_RATE * watched.executions
        ):
            case.alarm(seq)

    def _assess_errors(
        self, name: str, watched: Watched, kind: str | None, at: float, seq: int
    ) -> None:
        """Open or close the case of the class that dominates, which is now `kind`."""
        case = self._book.find("dominant_error", name)
        if case is not None and case.error_type != kind:
            self._close("dominant_error", name, at)
            case = None
        if case is None and kind is not None:
            case = self._open("dominant_error", name, seq, at)
            case.error_type = kind
            self._tell_errors(case, watched, watched.failed)

    def _evidence(self, name: str, watched: Watched) -> None:
        """Tell what depends on the window, where it lasts, as it is now."""
        if self._book.has_open("high_failure_rate", name):
            case = self._book.lasting("high_failure_rate", name, 0.0)
            if case is not None:
                case.executions, case.failed = watched.executions, watched.failed
                case.ids = watched.latest()
        if self._book.has_open("dominant_error", name):
            case = self._book.lasting("dominant_error", name, 0.0)
            if case is not None:
                self._tell_errors(case, watched, watched.failed)

    @staticmethod
    def _tell_errors(case: Case, watched: Watched, failed: int) -> None:
        kind = case.error_type or UNKNOWN
        case.executions, case.failed = failed, watched.errors.get(kind, 0)
        case.ids = watched.latest(kind)

    def _close(self, kind: FindingKind, name: str, at: float) -> None:
        case = self._book.lasting(kind, name, at)
        if case is not None:
            self._book.close(case, at)

    def _open(self, kind: FindingKind, name: str, seq: int, began: float) -> Case:
        severity: Severity = "info" if kind == "dominant_error" else "warning"
        case = Case(kind, severity, seq, began, began, tool=name)
        if kind in _CONFIRMED:
            case.lasts = CONFIRMED_SECONDS
        return self._book.open(case)
