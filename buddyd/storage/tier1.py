"""Tier 1: listing the raw records, and letting go of them."""

import sqlite3
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Any

from msgspec import UNSET

from buddyd.domain.answers import Executions, StoredExecution
from buddyd.errors import InvalidParams
from buddyd.protocol.messages import GetExecutions

MOST_BYTES = 8 * 1024 * 1024
"""About how large a page may be. Ten thousand records with names of the usual length take half."""
OTHER_BYTES = 320
"""What a record takes in an answer beside its texts, at the most; escapes in these not counted."""

COLUMNS = """
seq, execution_id, task_id, agent_id, tool_name, duration_seconds, success, finished_at,
cost_actual, cost_estimate, tokens_used, human_effort_level, browser_used, error_type
"""

# Records that are past their time and that every projection has folded.
DELETE_EXPIRED = """
DELETE FROM tier1_raw_metrics WHERE seq IN (
    SELECT seq FROM tier1_raw_metrics INDEXED BY tier1_by_finish
    WHERE finished_at < :before AND seq <= :folded LIMIT :limit
)
"""

# Starts and heartbeats live on in the projections alone.
DELETE_EVENTS = """
DELETE FROM agent_events WHERE seq IN (
    SELECT seq FROM agent_events WHERE seq <= :folded LIMIT :limit
)
"""

# The next stretch of ids in the order of the table: where it ends, and how many there are.
STRETCH = """
SELECT max(id), count(*)
FROM (SELECT id FROM execution_ids WHERE id > :after ORDER BY id LIMIT :limit)
"""

DELETE_IDS = """
DELETE FROM execution_ids WHERE id > :after AND id <= :until AND recorded_hour < :before
"""


def page(connection: sqlite3.Connection, request: GetExecutions, floor: float) -> Executions:
    """A page of the records that finished at `floor` (Unix seconds) or later, newest first."""
    conditions = ["finished_at >= :floor"]
    since = floor if request.since is UNSET else max(floor, request.since)
    parameters: dict[str, object] = {"floor": since, "limit": request.limit + 1}
    for column in ("agent_id", "tool_name", "task_id", "success"):
        wanted = getattr(request, column)
        if wanted is not UNSET:
            conditions.append(f"{column} = :{column}")
            parameters[column] = wanted
    if request.before is not None:
        conditions.append("(finished_at, seq) < (:cursor_time, :cursor_seq)")
        parameters["cursor_time"], parameters["cursor_seq"] = _decode_cursor(request.before)
    # The names of the columns are this file's; what comes from outside is bound.
    query = (
        f"SELECT {COLUMNS} FROM tier1_raw_metrics WHERE {' AND '.join(conditions)} "  # noqa: S608
        "ORDER BY finished_at DESC, seq DESC LIMIT :limit"
    )
    rows = connection.execute(query, parameters).fetchall()
    shown = rows[: min(request.limit, _fitting(rows))]
    return Executions(
        executions=[_stored(row) for row in shown],
        next=_encode_cursor(shown[-1][7], shown[-1][0]) if len(shown) < len(rows) else None,
    )


def delete_expired(connection: sqlite3.Connection, before: float, folded: int, limit: int) -> int:
    """Delete up to `limit` records that finished before a time; returns how many."""
    parameters = {"before": before, "folded": folded, "limit": limit}
    return connection.execute(DELETE_EXPIRED, parameters).rowcount


def delete_events(connection: sqlite3.Connection, folded: int, limit: int) -> int:
    """Delete up to `limit` starts and heartbeats that were folded; returns how many."""
    return connection.execute(DELETE_EVENTS, {"folded": folded, "limit": limit}).rowcount


def delete_ids(
    connection: sqlite3.Connection, after: str | bytes | int, before_hour: int, limit: int
) -> tuple[int, str | bytes | None]:
    """Delete the ids that are too old among the next `limit` after `after`.

    Returns how many, and where to go on; None at the end. One walk over the table does for all
    that expires in a while, and saves an index that would double its size.
    """
    parameters: dict[str, object] = {"after": after, "limit": limit, "before": before_hour}
    until, count = connection.execute(STRETCH, parameters).fetchone()
    parameters["until"] = until
    deleted = connection.execute(DELETE_IDS, parameters).rowcount if count else 0
    # A short stretch is the last one: the ids that come meanwhile are not run after.
    return deleted, until if count == limit else None


def _fitting(rows: Sequence[Sequence[Any]]) -> int:
    """How many rows make a page that is not too large; at least one."""
    sizes = (OTHER_BYTES + sum(map(_size, (*row[1:5], row[13]))) for row in rows)
    fitting = sum(1 for _ in takewhile(MOST_BYTES.__gt__, accumulate(sizes)))
    return max(1, fitting)


def _size(text: str | None) -> int:
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode())


def _stored(row: Sequence[Any]) -> StoredExecution:
    (_, execution_id, task_id, agent_id, tool_name, duration, success, finished_at) = row[:8]
    (cost, estimate, tokens, effort, browser, error_type) = row[8:]
    return StoredExecution(
        execution_id=execution_id,
        task_id=task_id,
        agent_id=agent_id,
        tool_name=tool_name,
        duration_seconds=duration,
        success=bool(success),
        finished_at=finished_at,
        cost_actual=cost,
        cost_estimate=estimate,
        tokens_used=tokens,
        human_effort_level=effort,
        browser_used=bool(browser),
        error_type=error_type,
    )


def _encode_cursor(finished_at: float, seq: int) -> str:
    return urlsafe_b64encode(struct.pack(">dq", finished_at, seq)).decode()


def _decode_cursor(cursor: str) -> tuple[float, int]:
    try:
        finished_at, seq = struct.unpack(">dq", urlsafe_b64decode(cursor))
    except (struct.error, ValueError):
        reason = "This is no cursor; pass the `next` of an earlier answer, as it came"
        raise InvalidParams(reason, "$.before") from None
    return finished_at, seq
