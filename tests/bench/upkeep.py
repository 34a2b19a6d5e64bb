"""Recording while the daemon deletes what is past its time, or writes a backup."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import load
from tests.bench.daemons import BenchDaemon, Databases, made, running
from tests.bench.load import Connection
from tests.bench.measuring import (
    Bar,
    Line,
    Plan,
    Table,
    line,
    megabytes,
    percentile,
    size,
    spread,
)

BAR = Bar(3.0, "p99 ≤ 3x")
SHRINKS_BAR = Bar(0.75, "shrinks: ≤ 0.75x")
UNDISTURBED, WARM_UP = 1_500, 200
BACKUPS = 3
KEPT_LONGER = "[retention]\ntier1_hours = 72\n"
OLDEST_SECONDS, NEWEST_SECONDS = 40 * 3600.0, 26 * 3600.0
"""How long ago the records finished that retention deletes: more than a day."""


def measure(plan: Plan, databases: Databases) -> Table:
    """How one who records one at a time fares meanwhile."""
    how = (
        "One connection records one execution at a time. Undisturbed: the same daemon before and "
        "after. The records that retention deletes were recorded under a longer retention; the "
        "daemon finds them past their time when it starts."
    )
    lines = [*_retention(plan), _backup(plan, databases)]
    return Table("Recording while the daemon is busy otherwise", how, lines)


def _retention(plan: Plan) -> list[Line]:
    with TemporaryDirectory(prefix="buddyd-bench-") as folder:
        database = made(
            Path(folder) / "expired.db", plan.large, _expired(plan.large), settings=KEPT_LONGER
        )
        with running(database=database, settings=KEPT_LONGER) as daemon:
            alone = _undisturbed(daemon, UNDISTURBED)
        with running(database=database) as daemon:
            before = daemon.database.stat().st_size
            begin = time.perf_counter()
            meanwhile = _record(daemon, _until(daemon, "cleanup_old_data"))
            seconds = time.perf_counter() - begin
            alone += _undisturbed(daemon, UNDISTURBED)
            assert daemon.stop() == 0
            after = daemon.database.stat().st_size
    rows = size(plan.large)
    return [
        _line(f"while retention deletes {rows} rows (took {seconds:.0f} s)", meanwhile, alone),
        line(
            f"the file, after {rows} rows were deleted",
            megabytes(after),
            after / before,
            SHRINKS_BAR,
            beside=f"{megabytes(before)} before",
            is_ratio=True,
        ),
    ]


def _expired(rows: int) -> Callable[[int], float]:
    oldest = time.time() - OLDEST_SECONDS
    step = (OLDEST_SECONDS - NEWEST_SECONDS) / rows
    return lambda index: oldest + index * step


def _backup(plan: Plan, databases: Databases) -> Line:
    alone: list[float] = []
    meanwhile: list[float] = []
    took: list[float] = []
    with running(database=databases.full(plan.large)) as daemon:
        copy = daemon.folder / "copy.db"
        for _ in range(BACKUPS):
            alone += _undisturbed(daemon, UNDISTURBED // BACKUPS)
            begin = time.perf_counter()
            meanwhile += _record(daemon, _until(daemon, "backup", path=str(copy)))
            took.append(time.perf_counter() - begin)
            copy.unlink()
    seconds = statistics.median(took)
    what = f"while a backup of {size(plan.large)} rows is written (took {seconds:.1f} s)"
    return _line(what, meanwhile, alone)


def _line(what: str, meanwhile: list[float], alone: list[float]) -> Line:
    return line(
        what,
        spread(meanwhile),
        percentile(meanwhile, 0.99) / percentile(alone, 0.99),
        BAR,
        beside=f"{spread(alone)} undisturbed",
        is_ratio=True,
    )


def _undisturbed(daemon: BenchDaemon, count: int) -> list[float]:
    """The seconds of each of so many acknowledgements of a daemon that has nothing else to do."""
    with Connection(daemon.socket) as connection:
        # A start leaves ids to be walked through, a deletion leaves pages to be handed back.
        connection.ask(load.request("cleanup_old_data"))
    _record(daemon, _times(WARM_UP))
    return _record(daemon, _times(count))


Going = Callable[[], bool]


def _times(count: int) -> Going:
    """Go on so many times."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


def _until(daemon: BenchDaemon, method: str, **params: object) -> Going:
    """Go on until the daemon has done this."""

    def ask() -> bytes:
        with Connection(daemon.socket) as connection:
            return connection.ask(load.request(method, params))

    executor = ThreadPoolExecutor(max_workers=1)
    answer = executor.submit(ask)
    executor.shutdown(wait=False)
    # What has failed is raised, not taken for done.
    return lambda: not (answer.done() and answer.result())


def _record(daemon: BenchDaemon, going: Going) -> list[float]:
    """The seconds of each acknowledgement."""
    took: list[float] = []
    with Connection(daemon.socket) as connection:
        while going():
            (frame,) = load.singles(load.executions(1, seed=len(took)))
            took.append(connection.time(frame))
    return took
