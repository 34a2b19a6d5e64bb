"""Records, databases and journals for the tests of what is kept."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from buddyd.domain.execution import Execution
from buddyd.protocol.messages import RecordExecutions, ReportAgent, StartExecution
from buddyd.storage.appending import Submitted
from buddyd.storage.database import Database, open_database
from buddyd.storage.journal import Journal

NOW = 1_800_000_000.0
HOUR = 3600.0
DAY = 86_400.0


def execution(execution_id: str | None = None, **members: object) -> Execution:
    """An execution that just finished."""
    given: dict[str, Any] = {
        "task_id": "task",
        "agent_id": "agent",
        "tool_name": "tool",
        "duration_seconds": 1.5,
        "success": True,
        "finished_at": NOW,
    }
    if execution_id is not None:
        given["execution_id"] = execution_id
    return Execution(**{**given, **members})


def records(*executions: Execution, received_at: float = NOW) -> Submitted:
    return Submitted(RecordExecutions(executions=list(executions)), received_at)


def start(task_id: str = "task", agent_id: str = "agent", **members: Any) -> Submitted:  # noqa: ANN401
    request = StartExecution(task_id=task_id, agent_id=agent_id, tool_name="tool", **members)
    return Submitted(request, NOW)


def report(agent_id: str = "agent", **members: Any) -> Submitted:  # noqa: ANN401
    return Submitted(ReportAgent(agent_id=agent_id, **members), NOW)


def content(path: Path) -> bytes:
    """What is in a closed database's file."""
    return path.read_bytes()


@asynccontextmanager
async def opened_journal(
    path: Path, max_agents: int = 1000, max_tools: int = 1000
) -> AsyncIterator[tuple[Database, Journal]]:
    """The database at `path` and its journal, loaded."""
    async with open_database(path) as database:
        journal = Journal(database, max_agents, max_tools)
        await journal.load()
        yield database, journal


@contextmanager
def by_another_program(path: Path) -> Iterator[sqlite3.Connection]:
    """The database as any SQLite tool sees it."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


async def rows(database: Database, query: str) -> list[Any]:
    """What a query gives; single columns as they are."""
    found = await database.read(lambda connection: connection.execute(query).fetchall())
    return [row[0] if len(row) == 1 else row for row in found]


@asynccontextmanager
async def full_disk(database: Database) -> AsyncIterator[None]:
    """The database may not grow meanwhile, as on a full disk."""

    def limit(connection: sqlite3.Connection) -> None:
        # What is free could still be filled.
        connection.executescript("PRAGMA incremental_vacuum")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    def lift(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 4294967294").fetchall()

    await database.maintain(limit)
    try:
        yield
    finally:
        await database.maintain(lift)
