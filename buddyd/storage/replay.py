"""Reading the journal back: the entries as they were committed."""

import sqlite3
from collections.abc import Mapping

import msgspec

from buddyd.domain.journal import (
    AgentReported,
    ExecutionRecorded,
    ExecutionStarted,
    JournalEntry,
    MoneyReported,
)
from buddyd.domain.names import OTHER
from buddyd.storage.columns import recorded
from buddyd.storage.snapshot import snapshot

FIELDS = (
    *("execution_id", "task_id", "finished_at", "duration_seconds", "success", "cost_actual"),
    *("cost_estimate", "tokens_used", "human_effort_level", "browser_used", "error_type"),
)

# Executions after a point of the journal, under the names that they count under.
EXECUTIONS_AFTER = f"""
SELECT t.seq, t.recorded_at,
       CASE WHEN a.since_seq <= t.seq THEN t.agent_id ELSE :other END,
       CASE WHEN n.since_seq <= t.seq THEN t.tool_name ELSE :other END,
       {", ".join(f"t.{field}" for field in FIELDS)}
FROM tier1_raw_metrics AS t
LEFT JOIN counted_names AS a ON a.kind = 'agent' AND a.name = t.agent_id
LEFT JOIN counted_names AS n ON n.kind = 'tool' AND n.name = t.tool_name
WHERE t.seq > :after ORDER BY t.seq LIMIT :limit
"""  # noqa: S608 - the names of columns are this file's

# The same for the other entries.
EVENTS_AFTER = """
SELECT e.seq, e.recorded_at, CASE WHEN a.since_seq <= e.seq THEN e.agent_id ELSE :other END,
       e.task_id, e.tool_name, e.started_at, e.queue_depth, e.status, e.concurrency, e.report
FROM agent_events AS e
LEFT JOIN counted_names AS a ON a.kind = 'agent' AND a.name = e.agent_id
WHERE e.seq > :after ORDER BY e.seq LIMIT :limit
"""

_decode_report = msgspec.json.Decoder(MoneyReported).decode


def read_entries(connection: sqlite3.Connection, after: int, limit: int) -> list[JournalEntry]:
    """Up to `limit` entries that follow entry number `after`, in order."""
    parameters = {"after": after, "limit": limit, "other": OTHER}
    # A commit between the two tables would show in the second one alone.
    with snapshot(connection):
        entries: list[JournalEntry] = [*_executions(connection, parameters)]
        entries += [_event(*row) for row in connection.execute(EVENTS_AFTER, parameters)]
    entries.sort(key=lambda entry: entry.seq)
    return entries[:limit]


def _executions(
    connection: sqlite3.Connection, parameters: Mapping[str, object]
) -> list[ExecutionRecorded]:
    rows = connection.execute(EXECUTIONS_AFTER, parameters).fetchall()
    if not rows:
        return []
    seqs, recorded_at, agents, tools, *fields = zip(*rows, strict=True)
    column = dict(zip(FIELDS, fields, strict=True))
    for field in ("success", "browser_used"):
        column[field] = tuple(map(bool, column[field]))
    return recorded(seqs, recorded_at, agents, tools, column)


def _event(  # noqa: PLR0917 - the columns of a row
    seq: int,
    recorded_at: float,
    agent: str,
    task_id: str | None,
    tool: str | None,
    started_at: float | None,
    queue_depth: int | None,
    status: str | None,
    concurrency: int | None,
    report: str | None,
) -> ExecutionStarted | AgentReported | MoneyReported:
    if report is not None:
        entry: MoneyReported = _decode_report(report)
        return entry
    if task_id is not None and tool is not None and started_at is not None:
        return ExecutionStarted(
            seq=seq,
            recorded_at=recorded_at,
            agent=agent,
            task_id=task_id,
            tool=tool,
            started_at=started_at,
        )
    return AgentReported(
        seq=seq,
        recorded_at=recorded_at,
        agent=agent,
        queue_depth=queue_depth,
        status=status,  # type: ignore[arg-type]
        concurrency=concurrency,
    )
