"""Tier 2: the hourly summaries."""

import sqlite3
from collections.abc import Sequence

import msgspec

from buddyd.domain.summaries import Hour

SAVE_HOUR = """
INSERT OR REPLACE INTO tier2_hourly_summaries (
    hour, total_tasks, successful_tasks, failed_tasks, total_cost, total_tokens,
    avg_task_duration, avg_cost_per_task, tool_execution_counts
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# RFC 3339 strings of one form sort like the times that they name.
DELETE_BEFORE = "DELETE FROM tier2_hourly_summaries WHERE hour < ?"


def save(connection: sqlite3.Connection, hours: Sequence[Hour]) -> None:
    """Write these hours over what was there."""
    connection.executemany(SAVE_HOUR, (_row(hour) for hour in hours))


def delete_before(connection: sqlite3.Connection, hour: str) -> int:
    """Delete the hours before `hour` (RFC 3339); returns how many."""
    return connection.execute(DELETE_BEFORE, (hour,)).rowcount


def _row(hour: Hour) -> tuple[object, ...]:
    summary = hour.summary()
    *columns, counts = msgspec.structs.astuple(summary)
    return (*columns, msgspec.json.encode(counts).decode())
