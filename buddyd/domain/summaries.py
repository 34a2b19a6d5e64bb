"""Hourly summaries: what Tier 2 keeps of each hour."""

from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

from buddyd.domain.answers import HourCount, HourlySummary
from buddyd.domain.journal import LARGEST_INTEGER, MICROSECONDS, NANODOLLARS, ratio
from buddyd.domain.segment import Sum
from buddyd.domain.windows import HOUR, HOUR_MINUTES, Buckets, Cell, rfc3339

# Executions, successes, microseconds, billionths of a dollar, tokens.
_WIDTH = 5


class Hour(Struct, frozen=True):
    """One UTC hour of all executions; sums are exact."""

    hour: int
    """Hours since the epoch."""
    executions: int
    successes: int
    duration: int
    """Microseconds."""
    cost: int
    """Billionths of a dollar."""
    tokens: int
    by_tool: dict[str, int]

    def summary(self) -> HourlySummary:
        """The hour as `get_hourly_summaries` tells it."""
        return HourlySummary(
            hour=rfc3339(self.hour * HOUR),
            total_tasks=self.executions,
            successful_tasks=self.successes,
            failed_tasks=self.executions - self.successes,
            total_cost=self.cost / NANODOLLARS,
            total_tokens=min(self.tokens, LARGEST_INTEGER),
            avg_task_duration=ratio(self.duration, self.executions * MICROSECONDS),
            avg_cost_per_task=ratio(self.cost, self.executions * NANODOLLARS),
            tool_execution_counts=self.by_tool,
        )


@lru_cache(maxsize=64)
def _label(number: int) -> str:
    return rfc3339(number * HOUR)


class Hours(Buckets):
    """The hours of Tier 2, and how many executions each had."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[int, Cell] = {}

    def record(self, tool: Sum) -> None:
        """Count executions of a tool in their hour."""
        number = tool.minute // HOUR_MINUTES
        values = (tool.executions, tool.successes, tool.duration, tool.cost, tool.tokens)
        self.add(number, tool.name, values)
        count = self._counts.setdefault(number, [0, 0])
        count[0] += tool.executions
        count[1] += tool.executions - tool.successes

    def count(self, number: int) -> HourCount:
        """How many executions ended in an hour, and how many of them failed."""
        total, failed = self._counts.get(number, (0, 0))
        return HourCount(hour=_label(number), total_tasks=total, failed_tasks=failed)

    def between(self, first: int, end: int) -> Iterator[Hour]:
        """The hours from `first` to before `end` that have executions, oldest first."""
        for number in sorted(self._counts):
            if first <= number < end:
                yield self.hour(number)

    def hour(self, number: int) -> Hour:
        """One hour."""
        tools = self.get(number)
        executions, successes, duration, cost, tokens = (
            sum(cell[column] for cell in tools.values()) for column in range(_WIDTH)
        )
        by_tool = {name: cell[0] for name, cell in sorted(tools.items())}
        return Hour(number, executions, successes, duration, cost, tokens, by_tool)

    def drop_before(self, number: int) -> None:
        """Forget all hours before `number`."""
        super().drop_before(number)
        for old in [hour for hour in self._counts if hour < number]:
            del self._counts[old]

    def restore(self, key: str | int, state: bytes) -> None:
        """Take back one hour."""
        super().restore(key, state)
        hour = self.hour(int(key))
        self._counts[int(key)] = [hour.executions, hour.executions - hour.successes]
