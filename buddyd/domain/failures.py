"""How tools fail: how often, with what, and with which agents."""

from bisect import insort
from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from buddyd.domain.answers import FailurePattern, Pattern, RecentFailure
from buddyd.domain.failing import STREAK, FailingTools
from buddyd.domain.findings import Case, Casebook
from buddyd.domain.journal import MICROSECONDS, ExecutionRecorded, ratio
from buddyd.domain.names import OTHER, admit, join
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.watched import (
    DOMINANT_FAILURES,
    DOMINANT_SHARE,
    MOST_ERROR_TYPES,
    UNKNOWN,
    Watchable,
    Watched,
)
from buddyd.domain.windows import (
    GRACE_HOURS,
    GRACE_MINUTES,
    HOUR_MINUTES,
    Window,
    day_floor,
    hour_of,
    left_before,
    minute_of,
    month_floor,
    rfc3339,
)

RECENT_FAILURES = 10
MOST_AGENTS = 50
"""Further agents of one tool are counted as `~other`."""


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


class ToolFailures(Watchable):
    """What is known about one tool beside its counts."""

    error_types: list[str] = field(default_factory=list)
    recent: list[Failure] = field(default_factory=list)
    """The newest ones, newest first."""
    agents: list[str] = field(default_factory=list)
    """Those with which it failed, as they are counted."""


class Failures:
    """The failures of every tool, over the last day and over the last 30 days."""

    def __init__(self, settings: DomainSettings, book: Casebook) -> None:
        self._settings = settings
        self._cases = FailingTools(settings, book)
        # Executions, failures; failures by tool and class, and by tool and agent.
        self.day = Window(GRACE_MINUTES)
        self.day_errors = Window(GRACE_MINUTES)
        self.month = Window(GRACE_HOURS)
        self.month_errors = Window(GRACE_HOURS)
        self.month_agents = Window(GRACE_HOURS)
        # Executions, billionths of a dollar, microseconds.
        self.month_means = Window(GRACE_HOURS)
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
            hour = s.minute // HOUR_MINUTES
            self.month.add(hour, s.name, values)
            self.month_means.add(hour, s.name, (s.executions, s.cost, s.duration))
        for name, executions in segment.by_tool.items():
            tool = self.tools.touch(name)
            if tool is None or tool.last_finished < segment.left_before:
                if tool is not None:
                    self._cases.close(name, tool.watched)
                tool = self.tools.put(name, ToolFailures(executions[0].finished_at))
            tool.last_finished = max(tool.last_finished, segment.tool_ends[name].last)
            self._cases.take(name, tool, segment)
            for failed in segment.failed.get(name, ()):
                self._fail(tool, failed)
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
        self.month_agents.move(floor)
        self.month_means.move(floor)
        # By the time of the journal, as in `Tools`.
        for name, tool in list(self.tools.rows.items()):
            if tool.last_finished < left_before(self._recorded_hour):
                self._cases.close(name, tool.watched)
                self.tools.drop(name)

    def adopt(self, rebuilt: "Failures", seq: int) -> None:
        """Take what leads to findings; where there is nothing, note that at entry `seq`."""
        self.month_agents.adopt(rebuilt.month_agents)
        self.month_means.adopt(rebuilt.month_means)
        for name in self.tools.rows:
            tool, other = self.tools.touch(name), rebuilt.tools.get(name)
            if tool is not None:
                tool.watched = other.watched if other else Watched(seq=seq)
                tool.agents = other.agents if other else []

    def ahead(self, now: float) -> Iterator[Case]:
        """The cases as `now` has made them, where nothing was recorded since."""
        return self._cases.ahead(self.tools.rows, hour_of(now))

    def _fail(self, tool: ToolFailures, failed: ExecutionRecorded) -> None:
        kind = admit(tool.error_types, failed.error_type or UNKNOWN, MOST_ERROR_TYPES)
        error = join(failed.tool, kind)
        self.day_errors.add(minute_of(failed.finished_at), error, (1,))
        self.month_errors.add(hour_of(failed.finished_at), error, (1,))
        agent = admit(tool.agents, failed.agent, MOST_AGENTS)
        self.month_agents.add(hour_of(failed.finished_at), join(failed.tool, agent), (1,))
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

    def agents_of_the_month(self, name: str) -> dict[str, int]:
        """A tool's failures of the last 30 days by agent, the one with the most first."""
        return _counts(name, (*self.tools.rows[name].agents, OTHER), self.month_agents)

    def _errors(self, name: str, window: Window) -> dict[str, int]:
        return _counts(name, (*self.tools.rows[name].error_types, OTHER), window)

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


def _counts(first: str, seconds: Iterable[str], window: Window) -> dict[str, int]:
    """What stands under pairs of names, by the second one, the most frequent one first."""
    found = {name: window.totals.get(join(first, name), (0,))[0] for name in seconds}
    by_count = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {name: count for name, count in by_count if count}


def _newest_first(failure: Failure) -> tuple[float, int]:
    return -failure.finished_at, -failure.seq


def _remember(tool: ToolFailures, entry: ExecutionRecorded) -> None:
    failure = Failure(
        entry.finished_at, entry.seq, entry.task_id, entry.agent, entry.duration, entry.error_type
    )
    insort(tool.recent, failure, key=_newest_first)
    del tool.recent[RECENT_FAILURES:]
