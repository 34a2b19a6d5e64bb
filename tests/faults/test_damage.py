"""A damaged database is set aside, its readable rows go on, and the log says how many."""

import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.disk_support import (
    PAGE_BYTES,
    aside,
    destroy_page,
    end,
    fill,
    is_sound,
    leave_uncleanly,
    pages_with,
    record,
    root_page,
    run_to_end,
    total,
    trace_or_skip,
)
from tests.support.process import DaemonProcess

RECORDS = 3000
NOTHING_MORE = (["analytics.db", "analytics.db.lock"], ["analytics.db.lock", "analytics.db"])
SAVED = "the readable rows were saved into a new database"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a daemon that was killed when all was in its database."""
    daemon = DaemonProcess(tmp_path_factory.mktemp("whole"))
    with daemon:
        fill(daemon, RECORDS)
        daemon.call("report_agent", agent_id="agent", queue_depth=3)
        leave_uncleanly(daemon)
    return daemon.folder


@pytest.fixture
def daemon(whole: Path, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with that database, not started yet."""
    for file in whole.iterdir():
        if file.name.startswith("analytics.db"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    prepared = DaemonProcess(tmp_path)
    yield prepared
    prepared.__exit__()


def begin(daemon: DaemonProcess) -> dict[str, object]:
    """Start it on a damaged database; what it says of the rows it saved."""
    daemon.process = subprocess.Popen(daemon.command, stderr=subprocess.PIPE, text=True)
    said = daemon.wait_for(SAVED)
    daemon.wait_for("started")
    return said


def page_of_records(database: Path, number: int) -> int:
    """The page of Tier 1 that holds a record."""
    return pages_with(database, b"task-%06d" % number)[0]


def test_an_unclean_end_without_damage_changes_nothing(daemon: DaemonProcess) -> None:
    daemon.process = subprocess.Popen(daemon.command, stderr=subprocess.PIPE, text=True)
    checked = daemon.wait_for("database checked")
    assert checked["sound"] is True
    daemon.wait_for("started")
    assert total(daemon) == RECORDS
    assert aside(daemon.database) == []


@pytest.mark.parametrize("filling", [b"\xff", b"\0"])
def test_rows_on_both_sides_of_damaged_pages_are_saved(
    daemon: DaemonProcess, filling: bytes
) -> None:
    pages = {page_of_records(daemon.database, number) for number in (500, 1500, 1540, 2900)}
    for page in pages:
        destroy_page(daemon.database, page, filling)
    damaged = daemon.database.read_bytes()

    said = begin(daemon)

    tables = said["tables"]
    assert isinstance(tables, dict)
    lost = RECORDS - tables["tier1_raw_metrics"]
    assert 0 < lost <= len(pages) * 100
    assert total(daemon) == RECORDS  # The projections were whole.
    (kept,) = aside(daemon.database)[:1]
    assert (daemon.folder / kept).read_bytes() == damaged
    assert record(daemon, 0, RECORDS)["result"]["duplicates"] == RECORDS
    assert daemon.stop() == 0
    assert is_sound(daemon.database)


def test_damage_to_the_ids_forgets_no_record_that_is_there(daemon: DaemonProcess) -> None:
    pages = pages_with(daemon.database, b"id-1500")
    for page in {*pages, root_page(daemon.database, "execution_ids")}:
        if b"task-" not in daemon.database.read_bytes()[page * PAGE_BYTES :][:PAGE_BYTES]:
            destroy_page(daemon.database, page)
    begin(daemon)
    assert record(daemon, 0, RECORDS)["result"]["duplicates"] == RECORDS


def test_projections_that_cannot_be_read_are_made_anew(daemon: DaemonProcess) -> None:
    destroy_page(daemon.database, root_page(daemon.database, "projection_states"))
    begin(daemon)
    assert total(daemon) == RECORDS
    answer = daemon.call("get_system_learning")["result"]
    assert answer["tool_profiles"][0]["total_executions"] == RECORDS


def test_a_truncated_file_keeps_what_it_has(daemon: DaemonProcess) -> None:
    size = daemon.database.stat().st_size
    os.truncate(daemon.database, size // 2 // PAGE_BYTES * PAGE_BYTES)
    tables = begin(daemon)["tables"]
    assert isinstance(tables, dict)
    assert tables["tier1_raw_metrics"] > RECORDS // 4
    record(daemon, 10_000, 1)


def test_a_file_that_was_cut_after_a_clean_stop_is_found_out(daemon: DaemonProcess) -> None:
    daemon.start()
    daemon.stop()
    os.truncate(daemon.database, daemon.database.stat().st_size - PAGE_BYTES)
    assert begin(daemon)["tables"]


@pytest.mark.parametrize("length", [16, 100, PAGE_BYTES])
def test_a_destroyed_beginning_loses_no_record(daemon: DaemonProcess, length: int) -> None:
    with daemon.database.open("r+b") as file:
        file.write(b"\x5a" * length)
    tables = begin(daemon)["tables"]
    assert isinstance(tables, dict)
    assert tables["tier1_raw_metrics"] == RECORDS
    assert total(daemon) == RECORDS
    assert daemon.stop() == 0
    assert is_sound(daemon.database)


def test_an_empty_file_where_the_database_was_is_set_aside(daemon: DaemonProcess) -> None:
    os.truncate(daemon.database, 0)
    Path(f"{daemon.database}-wal").unlink(missing_ok=True)
    assert begin(daemon)["rows"] == 0
    assert len(aside(daemon.database)) >= 1
    assert total(daemon) == 0


def test_an_empty_file_that_was_never_ours_becomes_a_database(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    daemon.database.touch()
    with daemon:
        assert total(daemon) == 0
    assert aside(daemon.database) == []


def letters(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE letters (sender TEXT)")


def diary(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 500)


@pytest.mark.parametrize("write", [letters, diary])
def test_what_was_never_ours_is_not_touched_however_often_it_is_tried(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    daemon = DaemonProcess(tmp_path)
    write(daemon.database)
    before = daemon.database.read_bytes()
    for _ in range(2):
        code, said = run_to_end(daemon)
        assert code == 74
        assert "it was not touched" in said
    assert daemon.database.read_bytes() == before
    assert [file.name for file in tmp_path.glob("analytics.db*")] in NOTHING_MORE


def test_a_page_that_breaks_while_it_runs_ends_it_and_is_mended_at_the_next_start(
    daemon: DaemonProcess,
) -> None:
    daemon.start()
    # The pages of ids are not read before an id is looked up.
    pages = pages_with(daemon.database, b"id-1500")
    for page in pages:
        destroy_page(daemon.database, page)
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(daemon.call("get_executions", limit=10_000))
            answers.append(record(daemon, 0, RECORDS))
        except OSError as error:
            answers.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    code, _, last = end(daemon)
    asking.join()
    assert code == 74
    assert "cannot be relied on" in last
    begin(daemon)
    assert record(daemon, 0, RECORDS)["result"]["duplicates"] >= RECORDS - 80


@pytest.mark.parametrize("when", range(1, 5))
@pytest.mark.parametrize("call", ["rename", "fsync", "write"])
def test_a_kill_between_any_two_steps_loses_nothing(
    daemon: DaemonProcess, call: str, when: int
) -> None:
    trace_or_skip()
    destroy_page(daemon.database, page_of_records(daemon.database, 1500))
    damaged = daemon.database.read_bytes()
    calls = "rename,renameat,renameat2" if call == "rename" else call
    if call == "write":
        calls = "pwrite64"
        when *= 40
    command = ["strace", "-D", "-f", "-o", "/dev/null", "-e", f"trace={calls}"]
    inject = ["-e", f"inject={calls}:signal=SIGKILL:when={when}"]
    process = subprocess.Popen(
        [*command, *inject, *daemon.command], stderr=subprocess.PIPE, text=True
    )
    # It is killed, or it starts, where there are not so many calls.
    assert process.stderr is not None
    for line in process.stderr:
        if '"started"' in line:
            process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    daemon.start()

    assert total(daemon) == RECORDS
    assert len(daemon.call("get_executions", limit=10_000)["result"]["executions"]) > RECORDS - 100
    kept = [daemon.folder / name for name in aside(daemon.database)]
    assert damaged in [file.read_bytes() for file in kept]
    assert not [file for file in daemon.folder.iterdir() if ".saving-" in file.name]
