"""Executions added up over equal stretches of time."""

import math
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from buddyd.domain.answers import HourlySummary, StoredExecution

STEPS_SECONDS = (60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
"""How long a stretch may be: lengths that begin where a clock shows round figures."""


class Bucket(Struct):
    """What finished in one stretch of time."""

    executions: int = 0
    failed: int = 0
    seconds: float = 0.0
    dollars: float = 0.0


class Buckets:
    """Stretches of `step` seconds that begin in [`start`, `end`), Unix seconds, oldest first."""

    def __init__(self, start: float, end: float, step: int) -> None:
        self.step = step
        self.first = math.floor(start / step)
        count = max(1, math.ceil(end / step) - self.first)
        self.rows = [Bucket() for _ in range(count)]

    def begin(self, index: int) -> int:
        """When a stretch begins, Unix seconds."""
        return (self.first + index) * self.step

    def add_hours(self, summaries: Iterable[HourlySummary]) -> None:
        """Add hours of Tier 2; the step must be at least an hour."""
        for hour in summaries:
            row = self._at(datetime.fromisoformat(hour.hour).timestamp())
            if row is not None:
                row.executions += hour.total_tasks
                row.failed += hour.failed_tasks
                row.seconds += hour.avg_task_duration * hour.total_tasks
                row.dollars += hour.total_cost

    def add_executions(self, executions: Iterable[StoredExecution]) -> None:
        """Add records of Tier 1."""
        for execution in executions:
            row = self._at(execution.finished_at)
            if row is not None:
                row.executions += 1
                row.failed += not execution.success
                row.seconds += execution.duration_seconds
                row.dollars += execution.cost_actual

    def _at(self, time: float) -> Bucket | None:
        # What finished ahead of the daemon's clock belongs to now.
        index = min(math.floor(time / self.step) - self.first, len(self.rows) - 1)
        return self.rows[index] if index >= 0 else None


def step_for(span: float, most: int, least_seconds: int) -> int:
    """The shortest step, of at least so many seconds, of which at most `most` make up `span`."""
    fitting = (step for step in STEPS_SECONDS if step >= least_seconds and span / step <= most - 1)
    return next(fitting, STEPS_SECONDS[-1])
