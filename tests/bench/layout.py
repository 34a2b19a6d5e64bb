"""What a row of Tier 1 costs as it is laid out, and what it would cost otherwise."""

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from buddyd.domain.execution import Execution
from buddyd.storage.appending import INSERT_EXECUTIONS, INSERT_IDS
from buddyd.storage.columns import columns, quickly_bound
from buddyd.storage.ids import id_keys
from buddyd.storage.schema import migrate
from tests.bench import load
from tests.bench.measuring import Line, Plan, Table, median_ratio

ROWS = 100_000
BATCH = 500
CHECKPOINT_PAGES = 1_000
HOUR = 480_000

Keys = Callable[[Sequence[str]], Sequence[str | bytearray]]


class Layout(Struct, frozen=True):
    """A way to store executions."""

    what: str
    page_bytes: int = 4096
    checkpoint_pages: int = CHECKPOINT_PAGES
    change: str = ""
    """SQL that makes the schema another one."""
    keys: Keys = id_keys
    names: Callable[[str], object] = str


AS_IT_IS = Layout("as it is")
OTHERS = (
    Layout("without the index on the time", change="DROP INDEX tier1_by_finish"),
    Layout(
        "with indexes on agent and tool",
        change="CREATE INDEX by_agent ON tier1_raw_metrics (agent_id);"
        "CREATE INDEX by_tool ON tier1_raw_metrics (tool_name)",
    ),
    Layout("ids of UUIDs as text", keys=list),
    Layout(
        "ids with a table and an index of their own",
        change="DROP TABLE execution_ids; CREATE TABLE execution_ids "
        "(id ANY PRIMARY KEY, recorded_hour INTEGER NOT NULL) STRICT",
    ),
    Layout("names of one letter, as if they were numbers", names=lambda name: name[-1]),
    Layout("pages of 8 KiB", page_bytes=8192),
    Layout("pages of 16 KiB", page_bytes=16_384),
    Layout("the log emptied every 4,000 pages", checkpoint_pages=4_000),
    Layout("the log emptied every 16,000 pages", checkpoint_pages=16_000),
)


class Cost(Struct, frozen=True):
    """What a row took."""

    seconds: float
    bytes: float


def measure(plan: Plan) -> Table:
    """Each layout beside the one that the daemon has, in turns."""
    usual, lines = [_cost(AS_IT_IS) for _ in range(2)][1:], []
    for layout in OTHERS:
        costs = []
        for _ in range(plan.rounds):
            usual.append(_cost(AS_IT_IS))
            costs.append(_cost(layout))
        beside = usual[-plan.rounds :]
        ratio = median_ratio([c.seconds for c in costs], [c.seconds for c in beside])
        lines.append(_line(layout, costs, f"{ratio:.2f}x"))
    return Table(
        "Layout",
        f"{ROWS:,} rows in commits of {BATCH}, synchronous=FULL, emptying the log and its syncs "
        "included; the time of an insertion beside that of the layout as it is, in the same run.",
        [_line(AS_IT_IS, usual, ""), *lines],
    )


def _line(layout: Layout, costs: Sequence[Cost], ratio: str) -> Line:
    seconds = statistics.median(each.seconds for each in costs)
    took = f"{seconds * 1e6:.2f} µs, {costs[-1].bytes:.0f} bytes a row"
    return Line(what=layout.what, measured=took, ratio=ratio)


def _cost(layout: Layout) -> Cost:
    executions = list(load.executions(ROWS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layout.db"
        connection = sqlite3.connect(path, isolation_level=None)
        with closing(connection):
            connection.execute(f"PRAGMA page_size = {layout.page_bytes}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {layout.checkpoint_pages}")
            migrate(connection)
            connection.executescript(layout.change)
            begin = time.perf_counter()
            for first in range(0, ROWS, BATCH):
                _insert(connection, layout, executions[first : first + BATCH], first)
            seconds = time.perf_counter() - begin
        return Cost(seconds / ROWS, path.stat().st_size / ROWS)


def _insert(
    connection: sqlite3.Connection, layout: Layout, executions: Sequence[Execution], first: int
) -> None:
    column = dict(quickly_bound(columns(executions)))
    for name in ("agent_id", "tool_name"):
        column[name] = list(map(layout.names, column[name]))
    connection.execute("BEGIN IMMEDIATE")
    INSERT_IDS.run(connection, (layout.keys(column["execution_id"]), [HOUR] * len(executions)))
    seqs = range(first + 1, first + 1 + len(executions))
    times = [executions[0].finished_at] * len(executions)
    INSERT_EXECUTIONS.run(connection, (seqs, times, *column.values()))
    connection.execute("COMMIT")
