"""A start that takes long: systemd is asked for the time, for as long as the work goes on."""

import os
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.disk_support import fill, total
from tests.support.process import PATIENCE_SECONDS, DaemonProcess, PatchedDaemon

RECORDS = 5_000
ASKED_SECONDS = 0.9
"""What is asked for each time."""
LONG_SECONDS = 2.0
"""What the start takes at least."""
PATCH = f"""
import time
from buddyd import systemd
systemd.PATIENCE_SECONDS = {ASKED_SECONDS}
def slow(work, seconds):
    def slowly(*arguments):
        time.sleep(seconds)
        return work(*arguments)
    return slowly
"""
WORK = {
    "folding the whole journal": f"""
from buddyd.actors import projecting
from buddyd.domain.pipeline import Pipeline
projecting.SEGMENT_ENTRIES = 10
Pipeline.fold = slow(Pipeline.fold, {10 * LONG_SECONDS / RECORDS})
""",
    "making a database sound": f"""
from buddyd.storage import recovery
recovery.make_sound = slow(recovery.make_sound, {LONG_SECONDS})
""",
}


def forget_the_checkpoints(database: Path) -> None:
    """As though no projection had ever put anything away: all of the journal is to be folded."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM projection_checkpoints")
        connection.execute("DELETE FROM projection_states")
        connection.commit()


@pytest.mark.parametrize("work", WORK)
def test_a_start_is_given_the_time_that_its_work_takes(tmp_path: Path, work: str) -> None:
    with DaemonProcess(tmp_path) as before:
        fill(before, RECORDS)
        before.stop()
    forget_the_checkpoints(before.database)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_SECONDS)
        daemon = PatchedDaemon(tmp_path, PATCH + WORK[work])
        env = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        daemon.process = subprocess.Popen(
            daemon.command, env=env, stderr=subprocess.PIPE, text=True
        )
        with daemon:
            times, seconds = asked_until_ready(manager)
            daemon.wait_for("started")
            assert total(daemon) == RECORDS
    assert seconds >= LONG_SECONDS / 2
    assert times * ASKED_SECONDS > seconds


def asked_until_ready(manager: socket.socket) -> tuple[int, float]:
    """How often more time was asked for, and how many seconds the start went on from the first."""
    times, began = 0, 0.0
    while (message := manager.recv(4096).decode()) != "READY=1":
        if message.startswith("STATUS="):
            continue
        assert message == f"EXTEND_TIMEOUT_USEC={ASKED_SECONDS * 10**6:.0f}"
        began = began or time.monotonic()
        times += 1
    return times, time.monotonic() - began
