"""The work of one transaction that appends to the journal."""

import sqlite3
from collections.abc import Sequence
from itertools import chain, repeat
from operator import attrgetter

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from buddyd.domain.answers import Receipt, StoredExecution
from buddyd.domain.execution import Execution, new_execution_id
from buddyd.domain.journal import (
    AgentReported,
    BudgetReported,
    CostsReported,
    ExecutionStarted,
    JournalEntry,
    MoneyReported,
    nanodollars,
)
from buddyd.domain.names import NameDraft
from buddyd.domain.windows import HOUR, hour_of, month_floor
from buddyd.protocol.messages import (
    RecordExecutions,
    ReportAgent,
    ReportBudget,
    ReportCosts,
    StartExecution,
)
from buddyd.storage.bulk import Insert
from buddyd.storage.columns import columns, quickly_bound, recorded
from buddyd.storage.ids import id_key, id_keys

INSERT_EXECUTIONS = Insert(
    "INSERT",
    "tier1_raw_metrics",
    ("seq", "recorded_at", *Execution.__struct_fields__),
    no_empty={"error_type"},
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

Submission = RecordExecutions | StartExecution | ReportAgent | ReportCosts | ReportBudget

_NO_AGENT = ""
"""Whom a report of money is about, in a column that cannot be empty."""

_seq = attrgetter("seq")
_execution_id = attrgetter("execution_id")
_finished_at = attrgetter("finished_at")
_agent_id = attrgetter("agent_id")
_tool_name = attrgetter("tool_name")


class Submitted(Struct, frozen=True):
    """Something to append, and when it was received (Unix seconds)."""

    request: Submission
    received_at: float


class Appended(Struct, frozen=True, kw_only=True):
    """What a transaction appended."""

    first_seq: int
    last_seq: int
    """The numbers of its entries; there are none where the last is before the first."""
    recorded_at: float
    receipts: list[Receipt]
    """One for each submission, in order."""
    seqs: list[int]
    """The numbers of the executions among the entries, and what was recorded under them."""
    executions: list[Execution]
    agents: list[str]
    """The names that the executions count under, as are the tools."""
    tools: list[str]
    events: list[JournalEntry]
    """The other entries."""

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self.last_seq - self.first_seq + 1

    def entries(self) -> list[JournalEntry]:
        """The entries in order. They are made here: who waits for the commit needs none."""
        column, times = columns(self.executions), repeat(self.recorded_at)
        entries = recorded(self.seqs, times, self.agents, self.tools, column)
        return sorted([*entries, *self.events], key=_seq) if self.events else [*entries]


class Batch:
    """What one transaction appends after entry `last_seq`, in `names` by kind."""

    def __init__(self, last_seq: int, now: float, names: dict[str, NameDraft]) -> None:
        self.seq = last_seq
        self._first_seq = last_seq + 1
        self._now = now
        self._names = names
        self._first = month_floor(now) * HOUR
        self._executions: list[Execution] = []
        # Of the executions: their numbers, and the names that they count under.
        self._seqs: list[int] = []
        self._agents: list[str] = []
        self._tools: list[str] = []
        self._events: list[JournalEntry] = []
        self._event_rows: list[tuple[object, ...]] = []

    def write(self, connection: sqlite3.Connection, submissions: Sequence[Submitted]) -> Appended:
        """Write all that is new."""
        given = [_executions(submitted) for submitted in submissions]
        all_new = self._claim_all(connection, list(chain.from_iterable(given)))
        receipts = []
        for submitted, executions in zip(submissions, given, strict=True):
            new, expired = executions, 0
            if not executions:
                self._add_event(submitted)
            elif not all_new:
                new, expired = self._claim_each(connection, executions)
            self._add_executions(new)
            duplicates = len(executions) - len(new) - expired
            receipts.append(Receipt(len(new), duplicates, expired))
        self._insert(connection)
        return Appended(
            first_seq=self._first_seq,
            last_seq=self.seq,
            recorded_at=self._now,
            receipts=receipts,
            seqs=self._seqs,
            executions=self._executions,
            agents=self._agents,
            tools=self._tools,
            events=self._events,
        )

    def _claim_all(self, connection: sqlite3.Connection, executions: Sequence[Execution]) -> bool:
        """Take the ids of all; where one has expired or was taken before, of none."""
        if not executions:
            return True
        if min(map(_finished_at, executions)) < self._first:
            return False
        connection.execute("SAVEPOINT ids")
        keys = id_keys(list(map(_execution_id, executions)))
        if INSERT_IDS.run(connection, (keys, [hour_of(self._now)] * len(keys))) == len(keys):
            return True
        connection.execute("ROLLBACK TO ids")
        return False

    def _claim_each(
        self, connection: sqlite3.Connection, executions: Sequence[Execution]
    ) -> tuple[list[Execution], int]:
        """Take the ids that are new; returns whose they are, and how many have expired."""
        hour, new, expired = hour_of(self._now), [], 0
        for each in executions:
            key = id_key(_execution_id(each))
            if _finished_at(each) < self._first:
                expired += connection.execute(HAS_ID, (key,)).fetchone() is None
            elif INSERT_IDS.run(connection, ([key], [hour])):
                new.append(each)
        return new, expired

    def _insert(self, connection: sqlite3.Connection) -> None:
        column, times = columns(self._executions), [self._now] * len(self._executions)
        values = quickly_bound(column).values()
        INSERT_EXECUTIONS.run(connection, (self._seqs, times, *values))
        if self._events:
            INSERT_EVENTS.run(connection, tuple(zip(*self._event_rows, strict=True)))
        for kind, draft in self._names.items():
            rows = ((kind, name, since, day) for name, (since, day) in draft.changed.items())
            connection.executemany(SAVE_NAME, rows)

    def _add_executions(self, executions: Sequence[Execution]) -> None:
        self._seqs += range(self.seq + 1, self.seq + 1 + len(executions))
        self.seq += len(executions)
        self._agents += self._names["agent"].counted(map(_agent_id, executions))
        self._tools += self._names["tool"].counted(map(_tool_name, executions))
        self._executions += executions

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
            agent=self._agent(start.agent_id),
            task_id=start.task_id,
            tool=start.tool_name,
            started_at=at,
        )
        self._events.append(entry)
        task = (start.agent_id, start.task_id, start.tool_name, at)
        self._event_rows.append((entry.seq, self._now, *task, None, None, None, None))

    def _add_report(self, report: ReportAgent) -> None:
        queue_depth = None if report.queue_depth is UNSET else report.queue_depth
        status = None if report.status is UNSET else report.status
        concurrency = None if report.concurrency is UNSET else report.concurrency
        entry = AgentReported(
            seq=self._next(),
            recorded_at=self._now,
            agent=self._agent(report.agent_id),
            queue_depth=queue_depth,
            status=status,
            concurrency=concurrency,
        )
        self._events.append(entry)
        reported = (report.agent_id, None, None, None, queue_depth, status, concurrency, None)
        self._event_rows.append((entry.seq, self._now, *reported))

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
        self._events.append(entry)
        nothing = (_NO_AGENT, None, None, None, None, None, None)
        self._event_rows.append(
            (entry.seq, self._now, *nothing, msgspec.json.encode(entry).decode())
        )

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _agent(self, name: str) -> str:
        return self._names["agent"].counted([name])[0]


def _executions(submitted: Submitted) -> Sequence[Execution]:
    """The executions of a submission, complete; those of a start or a heartbeat are none."""
    if not isinstance(submitted.request, RecordExecutions):
        return ()
    executions = submitted.request.executions
    if UNSET in map(_execution_id, executions) or UNSET in map(_finished_at, executions):
        return [_completed(execution, submitted.received_at) for execution in executions]
    return executions


def _completed(execution: Execution, received_at: float) -> Execution:
    execution_id, finished_at = execution.execution_id, execution.finished_at
    return replace(
        execution,
        execution_id=new_execution_id() if execution_id is UNSET else execution_id,
        finished_at=received_at if finished_at is UNSET else finished_at,
    )


def stored(execution: Execution) -> StoredExecution:
    """What Tier 1 has of an execution that was appended."""
    return StoredExecution(**asdict(execution))
