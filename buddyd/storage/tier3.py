"""Tier 3: the tool profiles."""

import sqlite3
from collections.abc import Sequence

import msgspec

from buddyd.domain.answers import ToolProfile

SAVE_PROFILE = """
INSERT OR REPLACE INTO tier3_tool_profiles (
    tool_name, total_executions, successful_executions, failed_executions, success_rate,
    success_rate_low, success_rate_high, avg_duration, avg_cost, avg_tokens, confidence_level,
    level_probability, trend, last_execution
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

COLUMNS = 14
"""The members of a profile that are columns, which come first."""

DELETE_PROFILE = "DELETE FROM tier3_tool_profiles WHERE tool_name = ?"


def save(connection: sqlite3.Connection, profiles: Sequence[ToolProfile]) -> None:
    """Write these profiles over what was there."""
    rows = (msgspec.structs.astuple(profile)[:COLUMNS] for profile in profiles)
    connection.executemany(SAVE_PROFILE, rows)


def delete(connection: sqlite3.Connection, names: Sequence[str]) -> int:
    """Delete the profiles of these tools; returns how many there were."""
    return sum(connection.execute(DELETE_PROFILE, (name,)).rowcount for name in names)
