"""What the daemon takes up: memory, processor time, time to start, the disk."""

import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.bench import load
from tests.bench.daemons import (
    BATCH,
    IN_FLIGHT,
    BenchDaemon,
    Databases,
    Finished,
    over_a_day,
    running,
)
from tests.bench.measuring import (
    Bar,
    Line,
    Plan,
    Table,
    in_rounds,
    line,
    median_ratio,
    megabytes,
    milliseconds,
    size,
    timed,
)
from tests.support.buddyctl import environment

REST_SECONDS = 3.0
DAYS, PARTS_OF_A_DAY = 3, 5
STARTS = 5
TRAFFIC_AFTER_START = 5_000
COMMANDS_PER_ROUND = 3

IDLE_BAR = Bar(45e6, "≤ 45 MB")
LARGE_BAR = Bar(100e6, "≤ 100 MB")
FLAT_BAR = Bar(1.05, "flat: ≤ 1.05x")
CPU_BAR = Bar(0.05, "≤ 0.05 s")
START_BAR = Bar(0.4, "≤ 0.4 s")
AFTER_KILL_BAR = Bar(2.0, "≤ 2 s")
COMMAND_BAR = Bar(8.0, "≤ 8x")
DISK_BAR = Bar(220.0, "≤ 220 bytes")


def memory(plan: Plan, databases: Databases) -> Table:
    """Resident memory: idle, with many rows, and while a day's traffic comes in."""
    with running() as daemon:
        time.sleep(REST_SECONDS)
        idle = daemon.memory
    with running(database=databases.full(plan.large)) as daemon:
        daemon.settle()
        time.sleep(REST_SECONDS)
        large = daemon.memory
    day = plan.large // 2
    shares = _replayed(day)
    before, end = shares[-1 - PARTS_OF_A_DAY], shares[-1]
    how = (
        "Resident set. A day replayed: records in the order of their times, as fast as they go in. "
        "The first time fills the windows of a day, and what is kept of findings."
    )
    return Table(
        "Memory",
        how,
        [
            line("idle, empty", megabytes(idle), idle, IDLE_BAR),
            line(
                f"started on {size(plan.large)} rows, after every query",
                megabytes(large),
                large,
                LARGE_BAR,
            ),
            line(
                f"a day of {size(day)} records replayed {DAYS} times: at the end",
                megabytes(end),
                end / before,
                FLAT_BAR,
                beside=f"{megabytes(before)} a day before",
                is_ratio=True,
            ),
            line(
                "the same, at most",
                megabytes(max(shares)),
                max(shares),
                LARGE_BAR,
                beside="by fifths of a day: " + ", ".join(f"{each / 1e6:.0f}" for each in shares),
            ),
        ],
    )


def _replayed(rows: int) -> list[int]:
    """Resident bytes after each part of the traffic, which is that of one day again and again."""
    part = rows // PARTS_OF_A_DAY
    at = over_a_day(rows)
    shares = []
    with running() as daemon:
        for number in range(DAYS * PARTS_OF_A_DAY):
            begin = number % PARTS_OF_A_DAY * part
            records = load.executions(part, partial(_later, at, begin), seed=number)
            load.drive(daemon.socket, [load.batches(records, BATCH)], IN_FLIGHT)
            daemon.settle()
            shares.append(daemon.memory)
    return shares


def _later(finished_at: Finished, begin: int, index: int) -> float:
    return finished_at(begin + index)


def processor(plan: Plan, databases: Databases) -> Table:
    """Processor time without traffic."""
    lines = []
    for rows in (None, plan.large):
        database = None if rows is None else databases.full(rows)
        with running(database=database) as daemon, load.Connection(daemon.socket):
            # What a start leaves to be done is done by then.
            time.sleep(15.0)
            before = daemon.cpu_seconds()
            time.sleep(plan.idle_seconds)
            used = (daemon.cpu_seconds() - before) * 60 / plan.idle_seconds
        what = "empty" if rows is None else f"{size(rows)} rows"
        lines.append(line(f"idle, {what}, one connection", f"{used:.3f} s/min", used, CPU_BAR))
    return Table(
        "Processor", f"User and system, over {plan.idle_seconds:g} s without traffic.", lines
    )


def start(plan: Plan, databases: Databases) -> Table:
    """From the start of the process to the answer of `get_all`."""
    empty = []
    for _ in range(STARTS):
        with running() as daemon:
            assert daemon.stop() == 0
            daemon.database.unlink()
            empty.append(daemon.start_and_ask("get_all"))
    with running(database=databases.full(plan.large)) as daemon:
        killed = [_killed_and_started(daemon) for _ in range(STARTS)]
    return Table(
        "Start",
        "From the start of the process to the answer of get_all over its socket; medians of "
        f"{STARTS}. Before each kill, {TRAFFIC_AFTER_START:,} executions were recorded.",
        [
            _start_line("on no database", empty, START_BAR),
            _start_line(f"on {size(plan.large)} rows, after SIGKILL", killed, AFTER_KILL_BAR),
        ],
    )


def _killed_and_started(daemon: BenchDaemon) -> float:
    frames = load.batches(load.executions(TRAFFIC_AFTER_START), BATCH)
    load.drive(daemon.socket, [frames], IN_FLIGHT)
    daemon.stop(signal.SIGKILL)
    return daemon.start_and_ask("get_all")


def _start_line(what: str, took: list[float], bar: Bar) -> Line:
    median = statistics.median(took)
    return line(what, milliseconds(median), median, bar, beside=f"at most {max(took):.2f} s")


def command(plan: Plan, databases: Databases) -> Table:
    """`buddyctl agents`, beside a Python that does nothing."""
    with running(database=databases.full(min(plan.rows))) as daemon:
        env = environment(daemon.socket)

        def contender(*arguments: str) -> float:
            return timed(
                lambda: subprocess.run(
                    [sys.executable, *arguments], env=env, check=True, capture_output=True
                )
            )

        ours, theirs = in_rounds(
            plan.rounds * COMMANDS_PER_ROUND,
            [
                lambda: contender("-m", "buddyd.cli.entry", "agents"),
                lambda: contender("-c", "pass"),
            ],
        )
    return Table(
        "The command line",
        "Whole processes, with the same interpreter.",
        [
            line(
                "buddyctl agents",
                milliseconds(statistics.median(ours)),
                median_ratio(ours, theirs),
                COMMAND_BAR,
                beside=f"{milliseconds(statistics.median(theirs))} python3 -c pass",
                is_ratio=True,
            )
        ],
    )


def disk(plan: Plan, databases: Databases) -> Table:
    """Bytes for each record, in a database that was closed."""
    lines = []
    for rows in sorted({*plan.rows, plan.large}):
        if rows < 100_000:
            continue
        path = databases.full(rows)
        each, whole = _bytes_of_records(path) / rows, path.stat().st_size / rows
        beside = f"{whole:.0f} bytes with the projections"
        lines.append(
            line(f"a record of {size(rows)}", f"{each:.0f} bytes", each, DISK_BAR, beside=beside)
        )
    return Table("Disk", "Tier 1, its index and what tells duplicates.", lines)


def _bytes_of_records(path: Path) -> int:
    """What Tier 1 takes, its index and the ids included."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT sum(pgsize) FROM dbstat "
            "WHERE name IN ('tier1_raw_metrics', 'tier1_by_finish', 'execution_ids')"
        ).fetchone()[0]
    return int(found)
