"""The task pipeline: what was done in the last day, and what runs and waits now."""

from buddyd.domain.agents import Roster
from buddyd.domain.answers import BrowserUse, LastDay, TaskPipeline, ToolBreakdown
from buddyd.domain.journal import MICROSECONDS, ratio
from buddyd.domain.projection import Projection
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.summaries import Hour, Hours
from buddyd.domain.windows import (
    GRACE_HOURS,
    GRACE_MINUTES,
    HOUR_MINUTES,
    Cell,
    Window,
    day_floor,
    hour_of,
    rfc3339,
)

HOURS_SHOWN = 24
_ALL = ""


class Pipeline(Projection):
    """The answer to `get_task_pipeline`, and the hours of Tier 2."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        self._roster = Roster(settings)
        # Executions, successes, microseconds.
        self._day = Window(GRACE_MINUTES)
        # Executions, those of low effort, of high effort, and with a browser.
        self._kinds = Window(GRACE_MINUTES)
        self._hours = Hours()
        self._stale: set[int] = set()
        # What was worked out and still holds.
        self._breakdowns: dict[str, ToolBreakdown] = {}
        self.parts = {
            "roster": self._roster.table,
            "day": self._day,
            "kinds": self._kinds,
            "hours": self._hours,
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        self._roster.fold(segment)
        for tool in segment.tool_sums:
            self._day.add(tool.minute, tool.name, (tool.executions, tool.successes, tool.duration))
            self._hours.record(tool)
            self._stale.add(tool.minute // HOUR_MINUTES)
            self._breakdowns.pop(tool.name, None)
        for minute, *counts in segment.kinds():
            self._kinds.add(minute, _ALL, counts)

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        if self._day.move(day_floor(now)):
            self._breakdowns.clear()
        self._kinds.move(day_floor(now))
        self._roster.forget()
        self._hours.drop_before(self.first_hour(now) - GRACE_HOURS)

    def first_hour(self, now: float) -> int:
        """The oldest hour that Tier 2 keeps."""
        return hour_of(now) - self._settings.tier2_hours + 1

    def answer(self, now: float) -> TaskPipeline:
        """The pipeline at `now`."""
        self.advance(now)
        agents = [agent for _, agent in self._roster.present(now)]
        current = hour_of(now)
        return TaskPipeline(
            timestamp=rfc3339(now),
            last_24_hours=self._last_day(),
            in_flight=sum(len(self._roster.running(agent, now)) for agent in agents),
            queued=sum(agent.queue_depth for agent in agents),
            hourly=[
                self._hours.count(hour) for hour in range(current - HOURS_SHOWN + 1, current + 1)
            ],
        )

    def hours(self, first: int, end: int, now: float) -> list[Hour]:
        """The kept hours from `first` to before `end`, oldest first."""
        self.advance(now)
        return list(self._hours.between(max(first, self.first_hour(now)), end))

    def stale_hours(self) -> list[Hour]:
        """What of Tier 2 has to be written since the last call."""
        hours = [self._hours.hour(number) for number in sorted(self._stale)]
        self._stale.clear()
        return [hour for hour in hours if hour.executions]

    def _last_day(self) -> LastDay:
        tools = {name: self._breakdown(name) for name in sorted(self._day.totals)}
        total = sum(tool.total for tool in tools.values())
        successful = sum(tool.successful for tool in tools.values())
        counted, low, high, browser = self._kinds.totals.get(_ALL, (0, 0, 0, 0))
        return LastDay(
            total_tasks=total,
            successful_tasks=successful,
            failed_tasks=total - successful,
            success_rate=ratio(successful, total),
            tool_breakdown=tools,
            by_effort_level={"LOW": low, "MEDIUM": counted - low - high, "HIGH": high},
            by_browser=BrowserUse(used=browser, not_used=counted - browser),
        )

    def _breakdown(self, name: str) -> ToolBreakdown:
        breakdown = self._breakdowns.get(name)
        if breakdown is None:
            breakdown = self._breakdowns[name] = _described(self._day.totals[name])
        return breakdown


def _described(cell: Cell) -> ToolBreakdown:
    total, successful, duration = cell
    return ToolBreakdown(
        total=total,
        successful=successful,
        failed=total - successful,
        success_rate=ratio(successful, total),
        avg_duration=ratio(duration, total * MICROSECONDS),
    )
