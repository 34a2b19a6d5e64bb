"""Recording, beside what plain SQLite does with the same records."""

import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.bench import load, plain_sqlite
from tests.bench.daemons import BenchDaemon, running
from tests.bench.load import Connection
from tests.bench.measuring import (
    Bar,
    Line,
    Plan,
    Table,
    in_rounds,
    line,
    median_ratio,
    percentile,
    rate,
    spread,
    timed,
)

BATCH = 500
BATCHES = 60
SINGLES = 4_000
COMMITS = 1_500
ONE_BY_ONE = 400

BATCHES_BAR = Bar(0.70, "≥ 0.70x", at_least=True)
SINGLES_BAR = Bar(3.0, "≥ 3x", at_least=True)
ONE_BAR = Bar(4.0, "p50 ≤ 4x")
HOW = (
    "Records and their encoding are made before the clock runs. Plain SQLite: the same columns, an "
    "index on the time, a unique id, "
    f"journal_mode={plain_sqlite.JOURNAL_MODE}, synchronous={plain_sqlite.SYNCHRONOUS}."
)


def measure(plan: Plan) -> Table:
    """Batches, single records, and one at a time."""
    lines = [
        *_batches(plan.rounds),
        _singles(plan.rounds, connections=1),
        _singles(plan.rounds, connections=8),
        _one_by_one(plan.rounds),
    ]
    return Table("Recording", HOW, lines)


class Plain:
    """The baseline, with a database in a folder of its own."""

    def __init__(self, folder: str) -> None:
        self.connection = plain_sqlite.opened(Path(folder) / "plain.db")

    def rate(self, count: int, batch: int) -> float:
        """Rows a second, so many to a commit."""
        rows = [plain_sqlite.row(each) for each in load.executions(count)]
        return count / timed(lambda: plain_sqlite.insert(self.connection, rows, batch))

    def commits(self, count: int) -> list[float]:
        """The seconds of each of so many commits of one row."""
        rows = [plain_sqlite.row(each) for each in load.executions(count)]
        return [
            timed(lambda row=row: plain_sqlite.insert(self.connection, [row], 1))  # type: ignore[misc]
            for row in rows
        ]


def _beside(
    contend: Callable[[BenchDaemon], float], rounds: int, count: int, batch: int
) -> tuple[list[float], list[float]]:
    """The figures of a daemon and those of plain SQLite, in rounds."""
    with running() as daemon, tempfile.TemporaryDirectory() as folder:
        plain = Plain(folder)
        with closing(plain.connection):
            ours, theirs = in_rounds(
                rounds, [lambda: contend(daemon), lambda: plain.rate(count, batch)]
            )
    return ours, theirs


def _batches(rounds: int) -> list[Line]:
    count = BATCH * BATCHES
    settled: list[float] = []

    def contend(daemon: BenchDaemon) -> float:
        frames = list(load.batches(load.executions(count), BATCH))
        seconds = load.drive(daemon.socket, [frames], 8)
        # What is left to fold must not fall into the other's turn.
        settled.append(count / (seconds + timed(daemon.settle)))
        return count / seconds

    ours, theirs = _beside(contend, rounds, count, BATCH)
    beside = f"{rate(statistics.median(theirs))} executemany"
    what = f"durable, batches of {BATCH}, one connection, 8 in flight"
    return [
        line(
            what,
            rate(statistics.median(ours)),
            median_ratio(ours, theirs),
            BATCHES_BAR,
            beside=beside,
            is_ratio=True,
        ),
        line(
            "the same, until every answer counts them",
            rate(statistics.median(settled[1:])),
            median_ratio(settled[1:], theirs),
            beside=beside,
            is_ratio=True,
        ),
    ]


def _singles(rounds: int, connections: int) -> Line:
    def contend(daemon: BenchDaemon) -> float:
        frames = list(load.singles(load.executions(SINGLES)))
        shares = [frames[index::connections] for index in range(connections)]
        seconds = load.drive(daemon.socket, shares, 64 // connections)
        daemon.settle()
        return SINGLES / seconds

    ours, theirs = _beside(contend, rounds, COMMITS, 1)
    return line(
        f"durable, single records, 64 in flight over {connections} connection(s)",
        rate(statistics.median(ours)),
        median_ratio(ours, theirs),
        SINGLES_BAR,
        beside=f"{rate(statistics.median(theirs))} single-row commits",
        is_ratio=True,
    )


def _one_by_one(rounds: int) -> Line:
    ours: list[float] = []
    theirs: list[float] = []
    with running() as daemon, tempfile.TemporaryDirectory() as folder:
        plain = Plain(folder)

        def contend() -> float:
            frames = list(load.singles(load.executions(ONE_BY_ONE)))
            with Connection(daemon.socket) as connection:
                took = [connection.time(frame) for frame in frames]
            ours.extend(took)
            return percentile(took, 0.5)

        def commit() -> float:
            took = plain.commits(ONE_BY_ONE)
            theirs.extend(took)
            return percentile(took, 0.5)

        with closing(plain.connection):
            found = in_rounds(rounds, [contend, commit])
    return line(
        "one durable record at a time, acknowledged",
        spread(ours),
        median_ratio(*found),
        ONE_BAR,
        beside=f"{spread(theirs)} a commit",
        is_ratio=True,
    )
