"""How tools fail: streaks, kinds of errors, and what helped after a failure."""

from msgspec import Struct, field

from buddyd.domain.answers import FailurePattern, Pattern, RecentFailure
from buddyd.domain.journal import MICROSECONDS, ExecutionRecorded, ratio
from buddyd.domain.names import OTHER, admit, join
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment, failures_in_a_row, finished_at, success
from buddyd.domain.settings import DomainSettings
from buddyd.domain.trend import Chart
from buddyd.domain.windows import (
    GRACE_HOURS,
    GRACE_MINUTES,
    HOUR_MINUTES,
    PairWindow,
    Window,
    day_floor,
    has_left,
    hour_of,
    minute_of,
    month_floor,
    rfc3339,
)

STREAK = 3
"""Failures in a row from which on it is a pattern."""
DOMINANT_FAILURES = 3
DOMINANT_SHARE = 0.5
RECENT_FAILURES = 10
MOST_ERROR_TYPES = 50
"""Further classes of one tool are counted as `~other`."""
MOST_TASKS = 10_000
MOST_FAILED_TOOLS = 8
MOST_ATTEMPTS = 32
"""What is told apart on one task; further tools and tries are passed over."""
UNKNOWN = "unknown"


class Failure(Struct, array_like=True, frozen=True):
    """One failed execution."""

    finished_at: float
    seq: int
    task_id: str
    agent: str
    duration: int
    error_type: str | None

    def describe(self) -> RecentFailure:
        """As the answer tells it."""
        return RecentFailure(
            task_id=self.task_id,
            agent_id=self.agent,
            timestamp=rfc3339(self.finished_at),
            duration=self.duration / MICROSECONDS,
            error_type=self.error_type,
        )


class ToolFailures(Struct):
    """What is known about one tool beside its counts."""

    last_finished: float
    streak: int = 0
    chart: Chart = field(default_factory=Chart)
    error_types: list[str] = field(default_factory=list)
    recent: list[Failure] = field(default_factory=list)
    """The newest ones, newest first."""


class Failures:
    """The failures of every tool, over the last day and over the last 30 days."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        # Executions, failures; and failures by tool and class.
        self.day = Window(GRACE_MINUTES)
        self.day_errors = Window(GRACE_MINUTES)
        self.month = Window(GRACE_HOURS)
        self.month_errors = Window(GRACE_HOURS)
        self.tools: Table[ToolFailures] = Table(ToolFailures)
        # What was worked out and still holds.
        self._patterns: dict[str, FailurePattern] = {}
        self._recorded_hour = 0

    def fold(self, segment: Segment) -> None:
        """Take in the executions that come next."""
        self._recorded_hour = max(self._recorded_hour, segment.hour)
        for s in segment.tool_sums:
            values = (s.executions, s.executions - s.successes)
            self.day.add(s.minute, s.name, values)
            self.month.add(s.minute // HOUR_MINUTES, s.name, values)
        for name, executions in segment.by_tool.items():
            tool = self.tools.touch(name)
            if tool is None or has_left(tool.last_finished, segment.hour):
                tool = self.tools.put(name, ToolFailures(executions[0].finished_at))
            tool.last_finished = max(tool.last_finished, *map(finished_at, executions))
            tool.streak = failures_in_a_row(tool.streak, executions)
            tool.chart.add(map(success, executions))
            for execution in executions:
                if not execution.success:
                    self._fail(tool, execution)
            self._patterns.pop(name, None)

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        if self.day.move(day_floor(now)):
            self.day_errors.move(day_floor(now))
            self._patterns.clear()
        floor = month_floor(now)
        if floor == self.month.floor:
            return
        self.month.move(floor)
        self.month_errors.move(floor)
        # By the time of the journal, as in `Tools`.
        for name, tool in list(self.tools.rows.items()):
            if has_left(tool.last_finished, self._recorded_hour):
                self.tools.drop(name)

    def _fail(self, tool: ToolFailures, failed: ExecutionRecorded) -> None:
        kind = admit(tool.error_types, failed.error_type or UNKNOWN, MOST_ERROR_TYPES)
        error = join(failed.tool, kind)
        self.day_errors.add(minute_of(failed.finished_at), error, (1,))
        self.month_errors.add(hour_of(failed.finished_at), error, (1,))
        _remember(tool, failed)

    def patterns(self, now: float) -> dict[str, FailurePattern]:
        """By name, every tool with a failure in the 24-hour window."""
        floor = day_floor(now)
        return {
            name: self._patterns.get(name) or self._pattern(name, total, failed, floor)
            for name, (total, failed) in sorted(self.day.totals.items())
            if failed
        }

    def errors_of_the_month(self, name: str) -> dict[str, int]:
        """A tool's failures of the last 30 days by class, the most frequent one first."""
        return self._errors(name, self.month_errors)

    def _errors(self, name: str, window: Window) -> dict[str, int]:
        kinds = (*self.tools.rows[name].error_types, OTHER)
        found = {kind: window.totals.get(join(name, kind), (0,))[0] for kind in kinds}
        by_count = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return {kind: count for kind, count in by_count if count}

    def _pattern(self, name: str, total: int, failed: int, floor: int) -> FailurePattern:
        tool = self.tools.rows[name]
        errors = self._errors(name, self.day_errors)
        self._patterns[name] = pattern = FailurePattern(
            total=total,
            failed=failed,
            failure_rate=ratio(failed, total),
            consecutive_failures=tool.streak,
            error_types=errors,
            patterns=self._signs(tool, total, failed, errors),
            recent_failures=[
                failure.describe()
                for failure in tool.recent
                if minute_of(failure.finished_at) >= floor
            ],
        )
        return pattern

    def _signs(
        self, tool: ToolFailures, total: int, failed: int, errors: dict[str, int]
    ) -> list[Pattern]:
        enough = total >= self._settings.risk_min_executions
        most = max((n for name, n in errors.items() if name != UNKNOWN), default=0)
        signs: dict[Pattern, bool] = {
            "streak": tool.streak >= STREAK,
            "high_failure_rate": enough
            and ratio(total - failed, total) < self._settings.medium_success_rate,
            "dominant_error": failed >= DOMINANT_FAILURES and most > DOMINANT_SHARE * failed,
            "degrading": tool.chart.trend == "degrading",
        }
        return [name for name, shows in signs.items() if shows]


def _remember(tool: ToolFailures, entry: ExecutionRecorded) -> None:
    failure = Failure(
        entry.finished_at, entry.seq, entry.task_id, entry.agent, entry.duration, entry.error_type
    )
    newest_first = sorted([*tool.recent, failure], key=lambda f: (-f.finished_at, -f.seq))
    tool.recent = newest_first[:RECENT_FAILURES]


class Attempt(Struct, array_like=True):
    """That a tool was tried on a task after another one had failed on it."""

    hour: int
    """When it was tried first."""
    succeeded: bool


class TroubledTask(Struct):
    """A task on which tools have failed."""

    seq: int
    """When it was touched last."""
    failed: list[str] = field(default_factory=list)
    attempts: dict[str, Attempt] = field(default_factory=dict)


class Fallback(Struct, frozen=True):
    """What helped after a tool had failed: on how many tasks it was tried, and succeeded."""

    tool: str
    tried: int
    succeeded: int


class Fallbacks:
    """Which tool succeeded on the same task after another one failed, over 30 days."""

    def __init__(self) -> None:
        # Tasks on which it was tried, and on which it succeeded, by failed and tried tool.
        self.month = PairWindow(GRACE_HOURS)
        self.tasks: Table[TroubledTask] = Table(TroubledTask, MOST_TASKS)

    def fold(self, segment: Segment) -> None:
        """Take in the executions that come next."""
        troubled = self.tasks.rows
        for execution in segment.executions:
            if not execution.success or execution.task_id in troubled:
                self._take(execution)

    def _take(self, entry: ExecutionRecorded) -> None:
        task = self.tasks.touch(entry.task_id)
        if task is None:
            task = self.tasks.put(entry.task_id, TroubledTask(entry.seq))
        task.seq = entry.seq
        for failed in task.failed:
            if failed != entry.tool:
                self._attempt(task, join(failed, entry.tool), entry)
        if (
            not entry.success
            and entry.tool not in task.failed
            and len(task.failed) < MOST_FAILED_TOOLS
        ):
            task.failed.append(entry.tool)

    def advance(self, now: float) -> None:
        """Let the window end at `now`."""
        self.month.move(month_floor(now))

    def best(self, failed: str) -> Fallback | None:
        """The tool that most often succeeded after `failed` had; None where none did."""
        best = None
        for tool, (tried, succeeded) in sorted(self.month.under(failed).items()):
            if succeeded and (best is None or (succeeded, -tried) > (best.succeeded, -best.tried)):
                best = Fallback(tool, tried, succeeded)
        return best

    def _attempt(self, task: TroubledTask, pair: str, entry: ExecutionRecorded) -> None:
        attempt = task.attempts.get(pair)
        if attempt is None:
            if len(task.attempts) >= MOST_ATTEMPTS:
                return
            hour = hour_of(entry.finished_at)
            task.attempts[pair] = Attempt(hour, entry.success)
            self.month.add(hour, pair, (1, int(entry.success)))
        elif entry.success and not attempt.succeeded:
            # In the hour of the first try, so that both leave the window together.
            attempt.succeeded = True
            self.month.add(attempt.hour, pair, (0, 1))
