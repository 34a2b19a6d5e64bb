"""When a tool's confidence level changed, and why.

The level is looked at after every execution, in the order of recording, and at every turn of the
hour, when executions leave the 30-day window: by the time of the journal. So the moments follow
from the journal alone, however it was cut and whenever somebody asked. A tool that has left the
window is forgotten.
"""

from collections.abc import Sequence

from msgspec import Struct

from buddyd.domain.answers import Level
from buddyd.domain.confidence import level
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import HOUR, HOUR_MINUTES, MONTH_HOURS, Window, hour_of


class Clock(Struct):
    """The latest hour in which something was recorded."""

    hour: int = 0


class Standing(Struct, frozen=True):
    """A tool's level, and how it came by it."""

    level: Level
    changed_at: float | None = None
    """Unix seconds; None, as are the others, while the level has not changed."""
    previous: Level | None = None
    reason: str | None = None


class Levels:
    """The standing of every tool with executions in the window."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        # Executions, successes.
        self.window = Window(grace=0)
        self.standings: Table[Standing] = Table(Standing)
        self.clock: Table[Clock] = Table(Clock)
        # What will have changed by some hour if nothing more is recorded before it.
        self._ahead: dict[str, Standing] = {}
        self._ahead_hour = -1

    def take_over(self, month: Window) -> None:
        """Begin with the counts of a month that was put away before there were standings."""
        if not len(self.window):
            for hour in month:
                for name, cell in month.get(hour).items():
                    self.window.add(hour, name, cell[:2])

    def fold(self, segment: Segment) -> None:
        """Take in the executions that come next."""
        self._ahead_hour = -1
        self._turn(segment.hour)
        for name, executions in segment.by_tool.items():
            self._judge(name, executions, len(segment.failed.get(name, ())))
        for s in segment.tool_sums:
            self.window.add(s.minute // HOUR_MINUTES, s.name, (s.executions, s.successes))

    def standing(self, name: str, now: float) -> Standing | None:
        """A tool's standing at `now`; None where it has none."""
        hour = hour_of(now)
        if hour != self._ahead_hour:
            self._ahead, self._ahead_hour = self._foresee(hour), hour
        return self._ahead.get(name) or self.standings.get(name)

    def _turn(self, hour: int) -> None:
        """Let the hours pass up to `hour`, and what is a month old leave the window."""
        clock = self.clock.get("") or self.clock.put("", Clock())
        floor = max(clock.hour, hour) - MONTH_HOURS + 1
        if floor == self.window.floor:
            return
        if hour > clock.hour:
            self.clock.put("", Clock(hour))
        for name, standing in self._foresee(max(clock.hour, hour)).items():
            self.standings.put(name, standing)
        left = {name for old in self.window if old < floor for name in self.window.get(old)}
        self.window.move(floor)
        for name in left - self.window.totals.keys():
            self.standings.drop(name)

    def _foresee(self, hour: int) -> dict[str, Standing]:
        """The standings that change by `hour` because executions leave the window."""
        changed: dict[str, Standing] = {}
        counts: dict[str, tuple[int, int]] = {}
        for old in sorted(old for old in self.window if old < hour - MONTH_HOURS + 1):
            for name, (gone, gone_well, *_) in self.window.get(old).items():
                n, well = counts.get(name) or self._counts(name)
                counts[name] = (n - gone, well - gone_well)
                standing = changed.get(name) or self.standings.get(name)
                if standing is None or n == gone:
                    continue
                standing = self._in_force(standing, n, well)
                after = level(well - gone_well, n - gone, self._settings)
                if after != standing.level:
                    reason = (
                        "Older executions left the 30-day window: "
                        f"{well - gone_well} of the {n - gone} in it succeeded."
                    )
                    at = float((old + MONTH_HOURS) * HOUR)
                    changed[name] = Standing(after, at, standing.level, reason)
        return changed

    def _judge(self, name: str, executions: Sequence[ExecutionRecorded], failed: int) -> None:
        n, well = self._counts(name)
        standing = self.standings.get(name)
        if n:
            current = level(well, n, self._settings)
            if standing is None or standing.level != current:
                standing = self.standings.put(name, Standing(current))
            if self._cannot_change(n, well, len(executions) - failed, failed):
                return
        before = standing
        for execution in executions:
            if hour_of(execution.finished_at) < self.window.floor:
                continue
            n, well = n + 1, well + execution.success
            now = level(well, n, self._settings)
            if standing is None:
                standing = Standing(now)
            elif now != standing.level:
                outcome = "success" if execution.success else "failure"
                reason = f"A {outcome} was recorded: {well} of the {n} in 30 days succeeded."
                standing = Standing(now, execution.recorded_at, standing.level, reason)
        if standing is not None and standing is not before:
            self.standings.put(name, standing)

    def _cannot_change(self, n: int, well: int, good: int, failed: int) -> bool:
        """Whether the level stays, in whatever order and number these are counted."""
        if n < self._settings.learning_min_executions:
            return False
        worst = level(well, n + failed, self._settings)
        return worst == level(well + good, n + good, self._settings)

    def _in_force(self, standing: Standing, n: int, well: int) -> Standing:
        """The standing under the thresholds in force, which may be others than at its time."""
        current = level(well, n, self._settings)
        return standing if standing.level == current else Standing(current)

    def _counts(self, name: str) -> tuple[int, int]:
        n, well, *_ = self.window.totals.get(name, (0, 0))
        return n, well
