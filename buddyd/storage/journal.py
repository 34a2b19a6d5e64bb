"""The journal in the database: appending to it, and reading it from any point on."""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import astuple, replace

from buddyd.domain.answers import Receipt, StoredExecution
from buddyd.domain.execution import Execution, new_execution_id
from buddyd.domain.journal import (
    AgentReported,
    BudgetReported,
    CostsReported,
    ExecutionRecorded,
    ExecutionStarted,
    JournalEntry,
    MoneyReported,
    microseconds,
    nanodollars,
)
from buddyd.domain.names import OTHER, NameBook, NameDraft
from buddyd.domain.windows import HOUR, hour_of, month_floor
from buddyd.protocol.messages import (
    RecordExecutions,
    ReportAgent,
    ReportBudget,
    ReportCosts,
    StartExecution,
)
from buddyd.storage.bulk import Insert
from buddyd.storage.database import Database
from buddyd.storage.ids import id_key

DAY = 86_400

INSERT_EXECUTIONS = Insert(
    "INSERT", "tier1_raw_metrics", ("seq", "recorded_at", *Execution.__struct_fields__)
)

INSERT_EVENTS = Insert(
    "INSERT",
    "agent_events",
    (
        *("seq", "recorded_at", "agent_id", "task_id", "tool_name", "started_at"),
        *("queue_depth", "status", "concurrency", "report"),
    ),
)

# Takes the ids that were not taken before.
INSERT_IDS = Insert("INSERT OR IGNORE", "execution_ids", ("id", "recorded_hour"))

HAS_ID = "SELECT 1 FROM execution_ids WHERE id = ?"

SAVE_NAME = """
INSERT INTO counted_names (kind, name, since_seq, last_day) VALUES (?, ?, ?, ?)
ON CONFLICT (kind, name) DO UPDATE SET last_day = excluded.last_day
"""

LOAD_NAMES = "SELECT name, since_seq, last_day FROM counted_names WHERE kind = ?"

RELEASE_NAME = "DELETE FROM counted_names WHERE kind = ? AND name = ?"

LAST_COMMIT = """
SELECT max(recorded_at) FROM (
    SELECT recorded_at FROM (SELECT * FROM tier1_raw_metrics ORDER BY seq DESC LIMIT 1)
    UNION ALL SELECT recorded_at FROM (SELECT * FROM agent_events ORDER BY seq DESC LIMIT 1)
)
"""

LAST_SEQ = """
SELECT max(
    (SELECT coalesce(max(seq), 0) FROM tier1_raw_metrics),
    (SELECT coalesce(max(seq), 0) FROM agent_events),
    (SELECT coalesce(max(seq), 0) FROM projection_checkpoints)
)
"""

# Executions after a point of the journal, under the names that they count under.
EXECUTIONS_AFTER = """
SELECT t.seq, t.recorded_at,
       CASE WHEN a.since_seq <= t.seq THEN t.agent_id ELSE :other END,
       CASE WHEN n.since_seq <= t.seq THEN t.tool_name ELSE :other END,
       t.execution_id, t.task_id, t.finished_at, t.duration_seconds, t.success, t.cost_actual,
       t.cost_estimate, t.tokens_used, t.human_effort_level, t.browser_used, t.error_type
FROM tier1_raw_metrics AS t
LEFT JOIN counted_names AS a ON a.kind = 'agent' AND a.name = t.agent_id
LEFT JOIN counted_names AS n ON n.kind = 'tool' AND n.name = t.tool_name
WHERE t.seq > :after ORDER BY t.seq LIMIT :limit
"""

# The same for the other entries.
EVENTS_AFTER = """
SELECT e.seq, e.recorded_at, CASE WHEN a.since_seq <= e.seq THEN e.agent_id ELSE :other END,
       e.task_id, e.tool_name, e.started_at, e.queue_depth, e.status, e.concurrency, e.report
FROM agent_events AS e
LEFT JOIN counted_names AS a ON a.kind = 'agent' AND a.name = e.agent_id
WHERE e.seq > :after ORDER BY e.seq LIMIT :limit
"""

Submission = RecordExecutions | StartExecution | ReportAgent | ReportCosts | ReportBudget

_decode_report = msgspec.json.Decoder(MoneyReported).decode
_NO_AGENT = ""
"""Whom a report of money is about, in a column that cannot be empty."""


class Submitted(Struct, frozen=True):
    """Something to append, and when it was received (Unix seconds)."""

    request: Submission
    received_at: float


Row = tuple[object, ...]
"""An execution as INSERT_EXECUTION takes it: under its true names."""


class Appended(Struct, frozen=True):
    """What a transaction appended: the entries, and a receipt for each submission in order."""

    entries: list[JournalEntry]
    receipts: list[Receipt]
    rows: list[Row]
    """The executions among the entries; see `stored`."""


class Journal:
    """The journal of one database. `last_seq` is the number of the last committed entry."""

    def __init__(self, database: Database, max_agents: int, max_tools: int) -> None:
        self._database = database
        self._limits = {"agent": max_agents, "tool": max_tools}
        self._books: dict[str, NameBook] = {}
        self.last_seq = 0
        self.last_commit_at: float | None = None

    async def load(self) -> None:
        """Find the journal's end and the names in use, as the database has them."""
        await self._database.write(self._load)

    async def append(self, submissions: Sequence[Submitted], now: float) -> Appended:
        """Commit everything in one transaction; raises StorageRefused where nothing was stored."""
        drafts = {kind: book.draft() for kind, book in self._books.items()}
        batch = _Batch(self.last_seq, now, drafts)
        appended = await self._database.write(
            lambda connection: batch.write(connection, submissions)
        )
        self.last_seq = batch.seq
        for kind, book in self._books.items():
            book.accept(drafts[kind])
        if appended.entries:
            self.last_commit_at = now
        return appended

    async def read(self, after: int, limit: int) -> list[JournalEntry]:
        """Up to `limit` entries that follow entry number `after`, in order."""
        return await self._database.read(lambda connection: _read(connection, after, limit))

    async def release_idle_names(self, now: float) -> int:
        """Make room for new names; returns how many were idle."""
        today = int(now // DAY)
        idle = {kind: book.idle(today) for kind, book in self._books.items()}
        rows = [(kind, name) for kind, names in idle.items() for name in names]
        if rows:
            await self._database.write(
                lambda connection: connection.executemany(RELEASE_NAME, rows)
            )
        for kind, names in idle.items():
            self._books[kind].release(names)
        return len(rows)

    def _load(self, connection: sqlite3.Connection) -> None:
        self.last_seq = connection.execute(LAST_SEQ).fetchone()[0]
        self.last_commit_at = connection.execute(LAST_COMMIT).fetchone()[0]
        self._books = {
            kind: NameBook(
                limit,
                {
                    name: (since, day)
                    for name, since, day in connection.execute(LOAD_NAMES, (kind,))
                },
            )
            for kind, limit in self._limits.items()
        }


class _Given(NamedTuple):
    """An execution with what it left to the daemon."""

    execution: Execution
    execution_id: str
    finished_at: float


class _Batch:
    """The work of one transaction."""

    def __init__(self, last_seq: int, now: float, drafts: dict[str, NameDraft]) -> None:
        self.seq = last_seq
        self._now = now
        self._drafts = drafts
        self._names: dict[str, dict[str, str]] = {kind: {} for kind in drafts}
        self._first = month_floor(now) * HOUR
        self._entries: list[JournalEntry] = []
        self._executions: list[Row] = []
        self._events: list[Row] = []

    def write(self, connection: sqlite3.Connection, submissions: Sequence[Submitted]) -> Appended:
        """Write all that is new."""
        given = [_given(submitted) for submitted in submissions]
        all_new = self._claim_all(connection, list(chain.from_iterable(given)))
        receipts = []
        for submitted, executions in zip(submissions, given, strict=True):
            if executions:
                new, expired = (
                    (executions, 0) if all_new else self._claim_each(connection, executions)
                )
                for each in new:
                    self._add_execution(each)
                duplicates = len(executions) - len(new) - expired
                receipts.append(Receipt(len(new), duplicates, expired))
            else:
                self._add_event(submitted)
                receipts.append(Receipt(0, 0, 0))
        self._insert(connection)
        return Appended(self._entries, receipts, self._executions)

    def _claim_all(self, connection: sqlite3.Connection, executions: Sequence[_Given]) -> bool:
        """Take the ids of all; where one has expired or was taken before, of none."""
        if any(each.finished_at < self._first for each in executions):
            return False
        connection.execute("SAVEPOINT ids")
        hour = hour_of(self._now)
        keys = [(id_key(each.execution_id), hour) for each in executions]
        if INSERT_IDS.run(connection, keys) == len(keys):
            return True
        connection.execute("ROLLBACK TO ids")
        return False

    def _claim_each(
        self, connection: sqlite3.Connection, executions: Sequence[_Given]
    ) -> tuple[list[_Given], int]:
        """Take the ids that are new; returns whose they are, and how many have expired."""
        hour, new, expired = hour_of(self._now), [], 0
        for each in executions:
            key = id_key(each.execution_id)
            if each.finished_at < self._first:
                expired += connection.execute(HAS_ID, (key,)).fetchone() is None
            elif INSERT_IDS.run(connection, [(key, hour)]):
                new.append(each)
        return new, expired

    def _insert(self, connection: sqlite3.Connection) -> None:
        INSERT_EXECUTIONS.run(connection, self._executions)
        INSERT_EVENTS.run(connection, self._events)
        for kind, draft in self._drafts.items():
            rows = ((kind, name, since, day) for name, (since, day) in draft.changed.items())
            connection.executemany(SAVE_NAME, rows)

    def _add_execution(self, given: _Given) -> None:
        execution, execution_id, finished_at = given
        seq = self._next()
        entry = ExecutionRecorded(
            seq=seq,
            recorded_at=self._now,
            agent=self._counted("agent", execution.agent_id),
            tool=self._counted("tool", execution.tool_name),
            execution_id=execution_id,
            task_id=execution.task_id,
            finished_at=finished_at,
            duration=microseconds(execution.duration_seconds),
            success=execution.success,
            cost=nanodollars(execution.cost_actual),
            estimate=nanodollars(execution.cost_estimate),
            tokens=execution.tokens_used,
            effort=execution.human_effort_level,
            browser=execution.browser_used,
            error_type=execution.error_type,
        )
        self._entries.append(entry)
        self._executions.append((seq, self._now, *astuple(execution)))

    def _add_event(self, submitted: Submitted) -> None:
        match submitted.request:
            case StartExecution() as start:
                self._add_start(start, submitted.received_at)
            case ReportAgent() as report:
                self._add_report(report)
            case ReportCosts() as costs:
                self._add_money(self._costs(costs, submitted.received_at))
            case ReportBudget() as budget:
                self._add_money(self._budget(budget))

    def _add_start(self, start: StartExecution, received_at: float) -> None:
        at = received_at if start.started_at is UNSET else start.started_at
        entry = ExecutionStarted(
            seq=self._next(),
            recorded_at=self._now,
            agent=self._counted("agent", start.agent_id),
            task_id=start.task_id,
            tool=start.tool_name,
            started_at=at,
        )
        self._entries.append(entry)
        task = (start.agent_id, start.task_id, start.tool_name, at)
        self._events.append((entry.seq, self._now, *task, None, None, None, None))

    def _add_report(self, report: ReportAgent) -> None:
        queue_depth = None if report.queue_depth is UNSET else report.queue_depth
        status = None if report.status is UNSET else report.status
        concurrency = None if report.concurrency is UNSET else report.concurrency
        entry = AgentReported(
            seq=self._next(),
            recorded_at=self._now,
            agent=self._counted("agent", report.agent_id),
            queue_depth=queue_depth,
            status=status,
            concurrency=concurrency,
        )
        self._entries.append(entry)
        reported = (report.agent_id, None, None, None, queue_depth, status, concurrency, None)
        self._events.append((entry.seq, self._now, *reported))

    def _costs(self, report: ReportCosts, received_at: float) -> CostsReported:
        estimated = report.total_estimated_usd
        return CostsReported(
            seq=self._next(),
            recorded_at=self._now,
            source=report.source,
            mission=None if report.mission_id is UNSET else report.mission_id,
            actual=nanodollars(report.total_actual_usd),
            estimate=None if estimated is UNSET else nanodollars(estimated),
            since=None if report.since is UNSET else report.since,
            until=received_at if report.until is UNSET else report.until,
        )

    def _budget(self, report: ReportBudget) -> BudgetReported:
        return BudgetReported(
            seq=self._next(),
            recorded_at=self._now,
            service=report.service,
            limit=nanodollars(report.limit_usd),
            period=report.period,
            spent=nanodollars(report.spent_usd),
        )

    def _add_money(self, entry: MoneyReported) -> None:
        self._entries.append(entry)
        nothing = (_NO_AGENT, None, None, None, None, None, None)
        self._events.append((entry.seq, self._now, *nothing, msgspec.json.encode(entry).decode()))

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _counted(self, kind: str, name: str) -> str:
        known = self._names[kind]
        counted = known.get(name)
        if counted is None:
            draft = self._drafts[kind]
            counted = known[name] = draft.counted(name, self.seq, int(self._now // DAY))
        return counted


def _given(submitted: Submitted) -> list[_Given]:
    """The executions of a submission; those of a start or a heartbeat are none."""
    if not isinstance(submitted.request, RecordExecutions):
        return []
    given = []
    for execution in submitted.request.executions:
        execution_id, finished_at = execution.execution_id, execution.finished_at
        if execution_id is UNSET or finished_at is UNSET:
            execution_id = new_execution_id() if execution_id is UNSET else execution_id
            finished_at = submitted.received_at if finished_at is UNSET else finished_at
            complete = replace(execution, execution_id=execution_id, finished_at=finished_at)
            given.append(_Given(complete, execution_id, finished_at))
        else:
            given.append(_Given(execution, execution_id, finished_at))
    return given


def stored(row: Row) -> tuple[int, StoredExecution]:
    """The number of an execution that was appended, and what Tier 1 has of it."""
    seq, _, *values = row
    execution = StoredExecution(**dict(zip(Execution.__struct_fields__, values, strict=True)))  # type: ignore[arg-type]
    return seq, execution  # type: ignore[return-value]


def _read(connection: sqlite3.Connection, after: int, limit: int) -> list[JournalEntry]:
    parameters = {"after": after, "limit": limit, "other": OTHER}
    # One transaction: a commit between the two tables would show in the second one alone.
    connection.execute("BEGIN")
    try:
        entries: list[JournalEntry] = [
            _execution(*row) for row in connection.execute(EXECUTIONS_AFTER, parameters)
        ]
        entries += [_event(*row) for row in connection.execute(EVENTS_AFTER, parameters)]
    finally:
        connection.execute("COMMIT")
    entries.sort(key=lambda entry: entry.seq)
    return entries[:limit]


def _execution(  # noqa: PLR0917 - the columns of a row
    seq: int,
    recorded_at: float,
    agent: str,
    tool: str,
    execution_id: str,
    task_id: str,
    finished_at: float,
    duration_seconds: float,
    success: int,
    cost_actual: float,
    cost_estimate: float,
    tokens_used: int,
    effort: str,
    browser: int,
    error_type: str | None,
) -> ExecutionRecorded:
    return ExecutionRecorded(
        seq=seq,
        recorded_at=recorded_at,
        agent=agent,
        tool=tool,
        execution_id=execution_id,
        task_id=task_id,
        finished_at=finished_at,
        duration=microseconds(duration_seconds),
        success=bool(success),
        cost=nanodollars(cost_actual),
        estimate=nanodollars(cost_estimate),
        tokens=tokens_used,
        effort=effort,  # type: ignore[arg-type]
        browser=bool(browser),
        error_type=error_type,
    )


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
