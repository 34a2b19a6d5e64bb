"""What one tool did in the UTC hour and the 23 before it, and how it failed."""

from collections.abc import Sequence

from msgspec import Struct, field

from buddyd.domain.findings import MOST_IDS
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.names import OTHER
from buddyd.domain.segment import Ends
from buddyd.domain.trend import Chart
from buddyd.domain.windows import hour_of

HOURS = 24
DOMINANT_FAILURES = 3
DOMINANT_SHARE = 0.5
MOST_ERROR_TYPES = 50
"""Further classes of one tool are counted as `~other`."""
UNKNOWN = "unknown"


class HourOfTool(Struct, array_like=True):
    """What a tool did in one hour."""

    executions: int = 0
    failed: int = 0
    errors: dict[str, int] = field(default_factory=dict)


class Watched(Struct):
    """What is known about one tool beside its streak and its chart."""

    hour: int = 0
    """The hour that the window ends with; never goes back."""
    seq: int = 0
    """The last entry."""
    hours: dict[int, HourOfTool] = field(default_factory=dict)
    executions: int = 0
    """Over the window, as are the failures and the errors."""
    failed: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    ids: list[tuple[str, str]] = field(default_factory=list)
    """The latest failures and their classes, in the order of recording."""
    streak_began: float = 0.0

    @property
    def floor(self) -> int:
        """The first hour of the window."""
        return self.hour - HOURS + 1

    def count(self, executions: Sequence[ExecutionRecorded], ends: Ends) -> int:
        """Put executions into the hours in which they ended; says how many are in the window."""
        first, last, floor = hour_of(ends.first), hour_of(ends.last), self.floor
        if first == last and first >= floor:
            self._of(first).executions += len(executions)
            return len(executions)
        hours = [hour for each in executions if (hour := hour_of(each.finished_at)) >= floor]
        for hour in hours:
            self._of(hour).executions += 1
        return len(hours)

    def fail(self, hour: int, kind: str) -> str:
        """Add a failure in an hour of the window; says as what it is counted."""
        if kind not in self.errors and len(self.errors) >= MOST_ERROR_TYPES:
            kind = OTHER
        in_hour = self._of(hour)
        in_hour.errors[kind] = in_hour.errors.get(kind, 0) + 1
        in_hour.failed += 1
        self.errors[kind] = self.errors.get(kind, 0) + 1
        self.failed += 1
        return kind

    def drop_before(self, floor: int) -> None:
        """Take the hours before `floor` out of the window."""
        for hour in [hour for hour in self.hours if hour < floor]:
            left = self.hours.pop(hour)
            self.executions -= left.executions
            self.failed -= left.failed
            for kind, count in left.errors.items():
                self.errors[kind] -= count
                if not self.errors[kind]:
                    del self.errors[kind]

    def dominant(self) -> str | None:
        """The known class that is behind more than half of the failures."""
        return next((kind for kind in self.errors if self.is_dominant(kind)), None)

    def is_dominant(self, kind: str) -> bool:
        """Whether this is it."""
        return (
            self.failed >= DOMINANT_FAILURES
            and kind != UNKNOWN
            and self.errors.get(kind, 0) > DOMINANT_SHARE * self.failed
        )

    def latest(self, kind: str | None = None) -> list[str]:
        """The ids of the latest failures, of one class where it is given."""
        return [each for each, of in self.ids[-MOST_IDS:] if kind is None or of == kind]

    def _of(self, hour: int) -> HourOfTool:
        return self.hours.get(hour) or self.hours.setdefault(hour, HourOfTool())


class Watchable(Struct):
    """What these findings need of a tool."""

    last_finished: float
    streak: int = 0
    chart: Chart = field(default_factory=Chart)
    watched: Watched = field(default_factory=Watched)
