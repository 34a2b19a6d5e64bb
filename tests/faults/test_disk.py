"""Disks that are full, read-only or fail, and other programs that hold the database."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from buddyd.actors import aggregator
from tests.faults.disk_support import (
    Ballast,
    aside,
    end,
    mount,
    record,
    run_to_end,
    small_disk,
    total,
    trace_or_skip,
)
from tests.support.process import PATIENCE_SECONDS, DaemonProcess, PatchedDaemon, execution

UNAVAILABLE = -32000


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as running:
        yield running


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "8m") as folder:
        yield folder


@pytest.fixture
def confined(tmp_path: Path, disk: Path) -> Iterator[DaemonProcess]:
    """A daemon whose database is on a small disk, and whose socket is not."""
    daemon = DaemonProcess(tmp_path)
    daemon.database = disk / "analytics.db"
    with daemon:
        yield daemon


def record_until_refused(daemon: DaemonProcess) -> int:
    """How many records were taken before the first refusal, which says when to try again."""
    taken = 0
    while True:
        answer = record(daemon, taken, 200)
        if "error" in answer:
            assert answer["error"]["code"] == UNAVAILABLE
            assert answer["error"]["data"]["retry_after_seconds"] > 0
            assert "full" in answer["error"]["data"]["reason"]
            return taken
        taken += answer["result"]["accepted"]


# Full


def test_a_full_disk_refuses_records_and_nothing_else(confined: DaemonProcess, disk: Path) -> None:
    record(confined, 0, 100)
    ballast = Ballast(disk)
    ballast.drop_in()
    for number in range(100, 100_000, 500):
        if "error" in record(confined, number, 500):
            break
    before = total(confined)
    assert before == confined.call("get_all")["result"]["pipeline"]["last_24_hours"]["total_tasks"]
    assert confined.call("get_executions", limit=1)["result"]["executions"]
    assert "error" in record(confined, 200_000, 500)
    assert total(confined) == before

    ballast.take_out()

    assert record(confined, 200_000, 500)["result"]["accepted"] == 500
    assert total(confined) == before + 500


def test_what_was_acknowledged_before_the_disk_was_full_is_there_after_a_kill(
    confined: DaemonProcess, disk: Path
) -> None:
    taken = record_until_refused(confined)
    assert total(confined) == taken
    confined.stop(signal.SIGKILL)
    # A disk that is this full opens no database: said in a sentence, and nothing is touched.
    Ballast(disk).drop_in()
    code, said = run_to_end(confined)
    assert (code, "full" in said) in {(74, True), (0, False)}
    Ballast(disk).take_out()
    subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
    confined.start()
    assert total(confined) == taken
    assert record(confined, 0, taken)["result"]["duplicates"] == taken


def test_it_stops_cleanly_while_the_disk_is_full(confined: DaemonProcess, disk: Path) -> None:
    taken = record_until_refused(confined)
    Ballast(disk).drop_in()
    assert confined.stop() == 0
    Ballast(disk).take_out()
    subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
    confined.start()
    assert total(confined) == taken
    assert aside(confined.database) == []


# Read-only


def test_a_read_only_disk_is_a_clear_end(tmp_path: Path) -> None:
    mount(tmp_path / "disk", "ro,size=1m")
    daemon = DaemonProcess(tmp_path)
    daemon.database = tmp_path / "disk" / "analytics.db"
    try:
        code, said = run_to_end(daemon)
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)
    assert code == 74
    assert "Read-only file system" in said


# A device that fails


def failing(daemon: DaemonProcess, call: str, path: str, when: str) -> DaemonProcess:
    """The daemon started so that a system call on a file fails with EIO."""
    trace_or_skip()
    database = str(daemon.database)
    command = [
        "strace",
        "-D",
        "-f",
        "-o",
        "/dev/null",
        "-P",
        database + path,
        "-e",
        f"trace={call}",
    ]
    inject = ["-e", f"inject={call}:error=EIO:when={when}"]
    daemon.process = subprocess.Popen(
        [*command, *inject, *daemon.command], stderr=subprocess.PIPE, text=True
    )
    daemon.wait_for("started")
    return daemon


@pytest.mark.parametrize(
    ("call", "file", "when"),
    # The first calls on the log belong to the start.
    [
        ("fdatasync", "-wal", "12+"),
        ("pwrite64", "-wal", "120+"),
        ("fdatasync", "", "1+"),
        ("pwrite64", "", "1+"),
    ],
)
def test_a_device_that_fails_ends_it_before_it_acknowledges_anything_more(
    daemon: DaemonProcess, call: str, file: str, when: str
) -> None:
    record(daemon, 0, 100)
    daemon.stop()
    failing(daemon, call, file, when)
    acknowledged = 100
    for first in range(1000, 1_000_000, 1000):
        try:
            answer = record(daemon, first, 1000)
        except OSError:
            break
        if "error" in answer:
            break
        acknowledged += answer["result"]["accepted"]
    code, _, last = end(daemon)
    assert code == 74
    assert "cannot be relied on" in last
    goes_on_after_a_check(daemon)
    assert acknowledged <= total(daemon) <= acknowledged + 1000


@contextmanager
def failing_from_now_on(daemon: DaemonProcess, call: str, path: str, error: str) -> Iterator[None]:
    """A system call on a file of the running daemon fails meanwhile."""
    trace_or_skip()
    assert daemon.process is not None
    where = ["-f", "-p", str(daemon.process.pid), "-P", str(daemon.database) + path]
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}"]
    command = ["strace", "-o", "/dev/null", *where, *inject]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        assert "attached" in attached, attached
        try:
            yield
        finally:
            tracer.terminate()


def test_a_device_that_fails_a_reader_alone_ends_it_too(daemon: DaemonProcess) -> None:
    """A page that could not be read once may come back without what was written to it."""
    for first in range(0, 10_000, 1000):
        record(daemon, first, 1000)
    daemon.stop()
    daemon.start()
    # After its first round, retention reads nothing for a minute.
    assert "result" in daemon.call("cleanup_old_data")
    with failing_from_now_on(daemon, "pread64", "", "EIO"):
        # Ten thousand records are more than a reader keeps in memory.
        answer = daemon.call("get_executions", limit=10_000)
        code, events, last = end(daemon)
    assert answer["error"]["code"] == UNAVAILABLE
    assert "ending" in answer["error"]["data"]["reason"]
    assert code == 74
    assert "cannot be relied on" in last
    assert "Traceback" not in str(events)
    goes_on_after_a_check(daemon)
    assert total(daemon) == 10_000


READS = """
import sys
from functools import partial
from pathlib import Path
import anyio
from buddyd.storage.database import open_database
from buddyd.storage.replay import read_entries
from buddyd.storage.projections import ProjectionStore

async def main():
    async with open_database(Path(sys.argv[1])) as database:
        store = ProjectionStore(database)
        print('{"event": "open"}', file=sys.stderr, flush=True)
        sys.stdin.readline()
        for read in (partial(database.read, lambda c: read_entries(c, 0, 10_000)),
                     partial(store.load, "risk", 1)):
            try:
                await read()
            except Exception as error:
                print(type(error).__name__, error, file=sys.stderr)

anyio.run(main)
"""


def test_what_a_device_that_fails_says_to_a_reader_is_not_lost(daemon: DaemonProcess) -> None:
    """SQLite ends the transaction by itself then, and to end it once more is an error, too.

    As one across a network may fail; EIO it takes for damage, and ends no transaction.
    """
    for first in range(0, 10_000, 1000):
        record(daemon, first, 1000)
    daemon.stop()
    daemon.process = subprocess.Popen(
        [sys.executable, "-c", READS, str(daemon.database)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    daemon.wait_for("open")
    with failing_from_now_on(daemon, "pread64", "", "ESTALE"):
        _, said = daemon.process.communicate("go on\n", timeout=PATIENCE_SECONDS)
    lines = said.splitlines()
    assert [line.split()[0] for line in lines] == ["StorageBroken"] * 2
    assert all("disk I/O error" in line for line in lines)


def test_a_disk_that_turns_read_only_under_it_is_an_honest_end(daemon: DaemonProcess) -> None:
    """As a file system does after an error of its device; nobody else can do it to one in use."""
    record(daemon, 0, 100)
    with failing_from_now_on(daemon, "pwrite64", "-wal", "EROFS"):
        with suppress(OSError):
            assert "error" in record(daemon, 100, 1)
        code, _, last = end(daemon)
    assert code == 74
    assert "cannot be relied on" in last
    goes_on_after_a_check(daemon)
    assert total(daemon) == 100
    assert record(daemon, 100, 1)["result"]["accepted"] == 1


def goes_on_after_a_check(daemon: DaemonProcess) -> None:
    daemon.process = subprocess.Popen(daemon.command, stderr=subprocess.PIPE, text=True)
    assert daemon.wait_for("database checked")["thorough"] is True
    daemon.wait_for("started")


# Another program


def other_program(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, isolation_level=None, check_same_thread=False)


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_lock_of_another_program_refuses_in_time_and_only_writes(
    daemon: DaemonProcess, lock: str
) -> None:
    record(daemon, 0, 100)
    with closing(other_program(daemon.database)) as other:
        other.execute(f"BEGIN {lock}")
        began = time.monotonic()
        answer = record(daemon, 100, 1)
        assert answer["error"]["code"] == UNAVAILABLE
        assert "lock" in answer["error"]["data"]["reason"]
        assert time.monotonic() - began < PATIENCE_SECONDS / 2
        assert total(daemon) == 100
        other.execute("ROLLBACK")
    assert record(daemon, 100, 1)["result"]["accepted"] == 1


def test_a_reader_that_never_finishes_is_told_of_and_the_log_shrinks_after_it(
    daemon: DaemonProcess,
) -> None:
    record(daemon, 0, 100)
    log = Path(f"{daemon.database}-wal")
    with closing(other_program(daemon.database)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM tier1_raw_metrics").fetchone()
        first = fill_until(daemon, "the write-ahead log grows", 1000)
        assert log.stat().st_size > 64 * 2**20
        other.execute("ROLLBACK")
    for batch in range(60):
        record_long(daemon, first + batch * 1000)
        if log.stat().st_size < 16 * 2**20:
            break
    assert log.stat().st_size < 16 * 2**20


def record_long(daemon: DaemonProcess, first: int) -> None:
    """A batch that takes much room in the log."""
    executions = [
        execution(execution_id=f"{number * 7919 % 10**6:060}", task_id=f"{number:0250}")
        for number in range(first, first + 1000)
    ]
    assert "result" in daemon.call("record_executions", executions=executions)


def fill_until(daemon: DaemonProcess, event: str, first: int) -> int:
    """Record until the log of the daemon begins with `event`; the next number."""
    for number in range(first, 10**6, 1000):
        record_long(daemon, number)
        if daemon.has_said(event):
            return number + 1000
    raise AssertionError(event)


# The file goes away


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("other"))
    path.with_name("other").rename(path)


def remove_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def test_a_file_that_is_gone_is_noticed_while_nobody_records(tmp_path: Path) -> None:
    assert aggregator.CLEANUP_SECONDS == 60.0
    often = "from buddyd.actors import aggregator\naggregator.CLEANUP_SECONDS = 0.1"
    with PatchedDaemon(tmp_path, often) as daemon:
        daemon.database.unlink()
        code, _, last = end(daemon)
    assert code == 74
    assert "deleted or replaced" in last


@pytest.mark.parametrize("take_away", [remove, replace, remove_log])
def test_nothing_is_acknowledged_into_a_file_that_is_gone(
    daemon: DaemonProcess, take_away: object
) -> None:
    record(daemon, 0, 100)
    assert callable(take_away)
    take_away(daemon.database)
    # It may be gone before it has answered.
    with suppress(OSError):
        assert "error" in record(daemon, 100, 1)
    code, _, last = end(daemon)
    assert code == 74
    assert "deleted or replaced" in last
