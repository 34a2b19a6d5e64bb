"""What the tests of disks and damage share: filling, damaging, small disks, another program."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import DaemonProcess, execution

PAGE_BYTES = 4096


def record(daemon: DaemonProcess, first: int, count: int) -> dict[str, Any]:
    """The whole answer to a batch of executions `id-FIRST` and so on."""
    executions = [
        execution(execution_id=f"id-{number}", task_id=f"task-{number:06}", tool_name="tool")
        for number in range(first, first + count)
    ]
    return daemon.call("record_executions", executions=executions)


def fill(daemon: DaemonProcess, count: int, batch: int = 1000) -> None:
    for first in range(0, count, batch):
        answer = record(daemon, first, min(batch, count - first))
        assert answer["result"]["duplicates"] == 0


def total(daemon: DaemonProcess) -> int:
    answer = daemon.call("get_task_pipeline")
    tasks: int = answer["result"]["last_24_hours"]["total_tasks"]
    return tasks


def run_to_end(daemon: DaemonProcess) -> tuple[int, str]:
    """Start a daemon that will not stay; its exit code, and what it wrote."""
    done = subprocess.run(
        daemon.command, capture_output=True, text=True, timeout=30, check=False, env=environment()
    )
    return done.returncode, done.stderr


def environment() -> dict[str, str]:
    return dict(os.environ)


def end(daemon: DaemonProcess) -> tuple[int, list[dict[str, Any]], str]:
    """Wait for the end: the exit code, the log from here on, and its last words."""
    assert daemon.process is not None
    with daemon.process as process:
        _, text = process.communicate(timeout=30)
    lines = text.splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return daemon.process.returncode, events, lines[-1] if lines else ""


def log_of(text: str, event: str) -> dict[str, Any]:
    """The fields of the one line of a log that has this event."""
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (found,) = [fields for fields in events if fields["event"] == event]
    return dict(found)


def leave_uncleanly(daemon: DaemonProcess) -> None:
    """Let a database that was put away whole be that of a daemon that was killed."""
    daemon.stop()
    daemon.start()
    daemon.stop(signal.SIGKILL)


# Damage, done while no daemon runs


def pages_with(database: Path, text: bytes) -> list[int]:
    """The numbers (from 0) of the pages that hold these bytes."""
    data = database.read_bytes()
    starts = range(0, len(data), PAGE_BYTES)
    return [at // PAGE_BYTES for at in starts if text in data[at : at + PAGE_BYTES]]


def destroy_page(database: Path, page: int, filling: bytes = b"\xff") -> None:
    with database.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(filling * PAGE_BYTES)


def root_page(database: Path, table: str) -> int:
    """The number (from 0) of the page with which a table begins."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        return int(connection.execute(query, (table,)).fetchone()[0]) - 1


def aside(database: Path) -> list[str]:
    """What was set aside."""
    return sorted(file.name for file in database.parent.iterdir() if ".damaged-" in file.name)


def is_sound(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# Disks


def mount(folder: Path, options: str) -> None:
    """A file system of its own, in memory; skips where that is not allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    mount(folder, f"size={size},mode=700")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Ballast:
    """A file that takes all the room that is left."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ballast"

    def drop_in(self) -> None:
        with self.path.open("ab", buffering=0) as file:
            for size in (2**20, 2**12):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def take_out(self) -> None:
        self.path.unlink()


def trace_or_skip() -> None:
    try:
        done = subprocess.run(
            ["strace", "-o", "/dev/null", "true"], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no strace here")
    if done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr.decode().strip()}")
