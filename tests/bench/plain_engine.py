"""The engine that buddyd is measured against: the plain way, as it is written again and again.

It opens the database and commits for every record, and scans the raw table for every question.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from buddyd.domain.execution import Execution
from tests.bench.plain_sqlite import INSERT, TABLE, row

DAY = 86_400.0
Rows = list[tuple[object, ...]]

AGENTS = """
SELECT agent_id, count(*), avg(duration_seconds), avg(success), max(finished_at)
FROM executions WHERE finished_at > ? GROUP BY agent_id
"""
PIPELINE = """
SELECT tool_name, count(*), sum(success), avg(success), avg(duration_seconds)
FROM executions WHERE finished_at > ? GROUP BY tool_name
"""
HOURLY = """
SELECT CAST(finished_at / 3600 AS INTEGER) AS hour, count(*), sum(1 - success)
FROM executions WHERE finished_at > ? GROUP BY hour
"""
CAPACITY = """
SELECT agent_id, CAST(finished_at / 3600 AS INTEGER) AS hour, sum(duration_seconds)
FROM executions WHERE finished_at > ? GROUP BY agent_id, hour
"""
COSTS = """
SELECT sum(cost_actual), sum(cost_estimate), sum(tokens_used) FROM executions WHERE finished_at > ?
"""
COSTS_BY = """
SELECT tool_name, agent_id, sum(cost_actual) FROM executions WHERE finished_at > ? GROUP BY 1, 2
"""
LEARNING = """
SELECT tool_name, count(*), sum(success), avg(duration_seconds), avg(cost_actual),
       avg(tokens_used), max(finished_at)
FROM executions GROUP BY tool_name
"""
FAILURES = """
SELECT tool_name, error_type, count(*) FROM executions
WHERE finished_at > ? AND NOT success GROUP BY tool_name, error_type
"""
ANOMALIES = """
SELECT execution_id FROM (
    SELECT execution_id, finished_at, cost_actual,
           avg(cost_actual) OVER usual AS average, count(*) OVER usual AS number
    FROM executions WINDOW usual AS (PARTITION BY agent_id, tool_name)
) WHERE finished_at > ? AND number > 5 AND cost_actual > 2 * average
ORDER BY finished_at DESC LIMIT 100
"""
WORST = (
    "SELECT tool_name, avg(success) AS rate FROM executions GROUP BY tool_name HAVING rate < 0.8"
)


class PlainEngine:
    """Records and answers, each time on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(TABLE)

    def record(self, execution: Execution) -> None:
        """Record one execution."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(INSERT, row(execution))

    def fill(self, executions: Iterable[Execution]) -> None:
        """Record many at once, which its users cannot do; the time is not measured."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.executemany(INSERT, map(row, executions))

    def queries(self) -> dict[str, Callable[[], list[Rows]]]:
        """What it answers, by the names that the daemon has for it."""
        statements = {
            "get_agents_status": [AGENTS],
            "get_predictive_capacity": [CAPACITY],
            "get_task_pipeline": [PIPELINE, HOURLY],
            "get_api_usage_and_costing": [COSTS, COSTS_BY],
            "get_system_learning": [LEARNING],
            "get_risk_patterns": [FAILURES, ANOMALIES],
            "get_tool_recommendations": [WORST],
        }
        return {
            name: lambda found=found: self._run(found)  # type: ignore[misc]
            for name, found in statements.items()
        }

    def _run(self, statements: list[str]) -> list[Rows]:
        since = time.time() - DAY
        with closing(sqlite3.connect(self._path)) as connection:
            return [
                connection.execute(each, (since,) if "?" in each else ()).fetchall()
                for each in statements
            ]
