"""What SQLite can do by itself: the same columns, an index on the time, and a unique id."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from buddyd.domain.execution import Execution

TABLE = """
CREATE TABLE executions (
    seq INTEGER PRIMARY KEY,
    execution_id TEXT NOT NULL UNIQUE,
    task_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    tool_name TEXT NOT NULL,
    finished_at REAL NOT NULL,
    duration_seconds REAL NOT NULL,
    success INTEGER NOT NULL,
    cost_actual REAL NOT NULL,
    cost_estimate REAL NOT NULL,
    tokens_used INTEGER NOT NULL,
    human_effort_level TEXT NOT NULL,
    browser_used INTEGER NOT NULL,
    error_type TEXT,
    recorded_at REAL NOT NULL
)
"""
INDEX = "CREATE INDEX by_finish ON executions (finished_at)"
INSERT = "INSERT INTO executions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
JOURNAL_MODE, SYNCHRONOUS = "WAL", "FULL"

Row = tuple[object, ...]


def row(execution: Execution) -> Row:
    """The columns of an execution, after its number."""
    return (
        execution.execution_id,
        execution.task_id,
        execution.agent_id,
        execution.tool_name,
        execution.finished_at,
        execution.duration_seconds,
        execution.success,
        execution.cost_actual,
        execution.cost_estimate,
        execution.tokens_used,
        execution.human_effort_level,
        execution.browser_used,
        execution.error_type,
        execution.finished_at,
    )


def opened(path: Path) -> sqlite3.Connection:
    """A database that commits as durably as the daemon does."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {JOURNAL_MODE}")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    connection.execute(TABLE)
    connection.execute(INDEX)
    return connection


def insert(connection: sqlite3.Connection, rows: Sequence[Row], batch: int) -> None:
    """Insert the rows, so many to a commit."""
    for begin in range(0, len(rows), batch):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, rows[begin : begin + batch])
        connection.execute("COMMIT")
