"""By how many times the daemon is faster than an engine in the plain way."""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import load
from tests.bench.daemons import BenchDaemon, Databases, over_a_day, running
from tests.bench.load import Connection
from tests.bench.measuring import (
    Line,
    Plan,
    Table,
    line,
    milliseconds,
    rate,
    size,
    timed,
)
from tests.bench.plain_engine import PlainEngine

RECORDS = 300
QUERIES = 5
MOST_ROWS = 1_000_000
"""Above this the plain engine takes many seconds for each answer, and is left out."""


def measure(plan: Plan, databases: Databases) -> Table:
    """Recording and queries at each size."""
    lines: list[Line] = []
    left_out = [rows for rows in plan.rows if rows > MOST_ROWS]
    for rows in plan.rows:
        if rows not in left_out:
            lines += _lines(rows, databases)
    how = (
        "The plain engine (tests/bench/plain_engine.py) opens the database and commits for every "
        "record, and scans the raw table for every query; medians. Recording: one record at a "
        "time, each durable when it is answered; and as many as the daemon takes, 64 in flight."
    )
    if left_out:
        how += f" Left out, because it takes too long there: {', '.join(map(size, left_out))} rows."
    return Table("Beside an engine in the plain way", how, lines)


def _lines(rows: int, databases: Databases) -> list[Line]:
    with (
        running(database=databases.full(rows)) as daemon,
        TemporaryDirectory(prefix="buddyd-bench-") as folder,
    ):
        engine = PlainEngine(Path(folder) / "plain.db")
        engine.fill(load.executions(rows, over_a_day(rows)))
        return [*_recording(rows, daemon, engine), *_queries(rows, daemon, engine)]


def _recording(rows: int, daemon: BenchDaemon, engine: PlainEngine) -> list[Line]:
    plain = RECORDS / sum(timed(lambda e=e: engine.record(e)) for e in load.executions(RECORDS))  # type: ignore[misc]
    with Connection(daemon.socket) as connection:
        frames = load.singles(load.executions(RECORDS))
        alone = RECORDS / sum(connection.time(frame) for frame in frames)
    frames = iter(list(load.singles(load.executions(RECORDS * 10))))
    together = RECORDS * 10 / load.drive(daemon.socket, [frames], 64)
    beside = f"{rate(plain)} plain"
    return [
        _faster(f"recording one at a time, {size(rows)} rows", rate(alone), beside, alone / plain),
        _faster(
            f"recording, 64 in flight, {size(rows)} rows", rate(together), beside, together / plain
        ),
    ]


def _queries(rows: int, daemon: BenchDaemon, engine: PlainEngine) -> list[Line]:
    lines = []
    with Connection(daemon.socket) as connection:
        for name, query in engine.queries().items():
            plain = statistics.median(timed(query) for _ in range(QUERIES))
            message = load.request(name)
            ours = statistics.median(connection.time(message) for _ in range(QUERIES * 10))
            beside = f"{milliseconds(plain)} plain"
            what = f"{name}, {size(rows)} rows"
            lines.append(_faster(what, milliseconds(ours), beside, plain / ours))
    return lines


def _faster(what: str, measured: str, beside: str, times: float) -> Line:
    return line(what, measured, times, beside=beside, is_ratio=True)
