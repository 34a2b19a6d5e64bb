"""The tools: what the executions of the last 30 days say about each (Tier 3)."""

from collections.abc import Iterator

from msgspec import Struct, field

from buddyd.domain.answers import ConfidenceDistribution, SystemLearning, ToolProfile
from buddyd.domain.confidence import level, level_probability, wilson_interval
from buddyd.domain.journal import MICROSECONDS, NANODOLLARS
from buddyd.domain.levels import Levels, Standing
from buddyd.domain.projection import Projection, Table
from buddyd.domain.segment import Segment, success
from buddyd.domain.settings import DomainSettings
from buddyd.domain.trend import Chart
from buddyd.domain.windows import (
    GRACE_HOURS,
    HOUR_MINUTES,
    Window,
    left_before,
    month_floor,
    rfc3339,
)


class Tool(Struct):
    """What is known about one tool beside its counts."""

    last_finished: float
    """Unix seconds."""
    chart: Chart = field(default_factory=Chart)


class Tally(Struct, frozen=True):
    """What a tool did over the window."""

    executions: int
    successes: int


class Tools(Projection):
    """The answer to `get_system_learning`, and the rows of Tier 3."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        # Executions, successes, microseconds, billionths of a dollar, tokens.
        self._month = Window(GRACE_HOURS)
        self._tools: Table[Tool] = Table(Tool)
        self._levels = Levels(settings)
        self._stale: set[str] = set()
        # What was worked out and still holds.
        self._profiles: dict[str, ToolProfile] = {}
        self._recorded_hour = 0
        self._now = 0.0
        self.parts = {
            "month": self._month,
            "tools": self._tools,
            "levels_window": self._levels.window,
            "levels": self._levels.standings,
            "levels_clock": self._levels.clock,
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        if not self._recorded_hour:
            self._levels.take_over(self._month)
        if segment.hour > self._recorded_hour:
            self._recorded_hour = segment.hour
            self._profiles.clear()
        self._levels.fold(segment)
        for s in segment.tool_sums:
            values = (s.executions, s.successes, s.duration, s.cost, s.tokens)
            self._month.add(s.minute // HOUR_MINUTES, s.name, values)
        for name, executions in segment.by_tool.items():
            tool = self._tools.touch(name)
            if tool is None or tool.last_finished < segment.left_before:
                tool = self._tools.put(name, Tool(executions[0].finished_at))
            tool.last_finished = max(tool.last_finished, segment.tool_ends[name].last)
            tool.chart.add(map(success, executions))
            self._profiles.pop(name, None)
        self._stale.update(segment.by_tool)

    def advance(self, now: float) -> None:
        """Let the window end at `now`; forget the tools that have left it."""
        self._now = now
        floor = month_floor(now)
        if floor == self._month.floor:
            return
        self._month.move(floor)
        self._profiles.clear()
        self._stale.update(self._tools.rows)
        # By the time of the journal and not by `now`: an entry that is still to be folded may
        # have come when the tool had not left yet.
        for name, tool in list(self._tools.rows.items()):
            if tool.last_finished < left_before(self._recorded_hour):
                self._tools.drop(name)

    def answer(self, now: float) -> SystemLearning:
        """What is known at `now`."""
        self.advance(now)
        profiles = sorted(self.profiles(), key=lambda p: (-p.total_executions, p.tool_name))
        levels = [profile.confidence_level for profile in profiles]
        return SystemLearning(
            timestamp=rfc3339(now),
            confidence_distribution=ConfidenceDistribution(
                high_confidence=levels.count("HIGH"),
                medium_confidence=levels.count("MEDIUM"),
                low_confidence=levels.count("LOW"),
            ),
            tool_profiles=profiles,
        )

    def profiles(self) -> Iterator[ToolProfile]:
        """Every tool with executions in the window, in no order."""
        return map(self._profile, self._month.totals)

    def stale_profiles(self) -> tuple[list[ToolProfile], list[str]]:
        """What of Tier 3 has to be written, and what has to go, since the last call."""
        totals = self._month.totals
        present = [self._profile(name) for name in self._stale if name in totals]
        gone = [name for name in self._stale if name not in totals]
        self._stale.clear()
        return present, gone

    def low(self) -> dict[str, Tally]:
        """The tools whose confidence level is LOW."""
        return {
            name: Tally(count, successes)
            for name, (count, successes, *_) in self._month.totals.items()
            if level(successes, count, self._settings) == "LOW"
        }

    def __len__(self) -> int:
        """How many tools are known."""
        return len(self._month.totals)

    def _profile(self, name: str) -> ToolProfile:
        profile = self._profiles.get(name)
        if profile is None:
            profile = self._profiles[name] = self._describe(name, self._tools.rows[name])
        return profile

    def _describe(self, name: str, tool: Tool) -> ToolProfile:
        count, successes, duration, cost, tokens = self._month.totals[name]
        low, high = wilson_interval(successes, count)
        verdict = level(successes, count, self._settings)
        standing = self._levels.standing(name, self._now)
        if standing is None or standing.level != verdict:
            # Other thresholds are in force since, or the clock was put back.
            standing = Standing(verdict)
        return ToolProfile(
            tool_name=name,
            total_executions=count,
            successful_executions=successes,
            failed_executions=count - successes,
            success_rate=successes / count,
            success_rate_low=low,
            success_rate_high=high,
            avg_duration=duration / count / MICROSECONDS,
            avg_cost=cost / count / NANODOLLARS,
            avg_tokens=tokens / count,
            confidence_level=verdict,
            level_probability=level_probability(verdict, successes, count, self._settings),
            trend=tool.chart.trend,
            last_execution=rfc3339(tool.last_finished),
            level_changed_at=None if standing.changed_at is None else rfc3339(standing.changed_at),
            previous_level=standing.previous,
            level_change_reason=standing.reason,
        )
