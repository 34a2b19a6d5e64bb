"""What hangs for good: it is ended, and it is seen where it hung."""

import json
import re
import signal
import socket
import time
from inspect import signature
from pathlib import Path

import pytest

from buddyd import daemon as daemon_module
from buddyd.runtime.supervisor import Supervisor
from buddyd.storage.database import CLOSE_LIMIT_SECONDS
from tests.support.process import PATIENCE_SECONDS, DaemonProcess, PatchedDaemon

HANG = """
import resource, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def hangs(*_):
    print('{"event": "it hangs"}', file=sys.stderr, flush=True)
    time.sleep(3600)
"""
LOOP = "from buddyd.health import Health\nHealth.pong = hangs"
READER = "from buddyd.storage import tier1\ntier1.page = hangs"
WRITER = "from buddyd.storage import appending\nappending.Batch.write = hangs"


def say(daemon: DaemonProcess, method: str, **params: object) -> socket.socket:
    """Ask without waiting for the answer."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(daemon.socket))
    client.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
    return client


def test_where_the_event_loop_hangs_is_said_when_the_watchdog_ends_it(tmp_path: Path) -> None:
    """SIGABRT is what systemd sends where the signs of life stay out."""
    with PatchedDaemon(tmp_path, HANG + LOOP) as daemon, say(daemon, "ping"):
        daemon.wait_for("it hangs")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGABRT)
        _, said = daemon.process.communicate(timeout=PATIENCE_SECONDS)
    assert daemon.process.returncode == -signal.SIGABRT
    assert "in hangs" in said
    assert "session.py" in said


REQUESTS = {
    "reader": (READER, "get_executions", {}),
    "writer": (WRITER, "report_agent", {"agent_id": "a"}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_thread_of_the_database_that_hangs_does_not_keep_it_from_ending(
    tmp_path: Path, name: str
) -> None:
    patch, method, params = REQUESTS[name]
    soon = "\ndaemon.STOP_SECONDS = 1.0"
    with PatchedDaemon(tmp_path, HANG + patch + soon) as daemon, say(daemon, method, **params):
        daemon.wait_for("it hangs")
        assert daemon.process is not None
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        _, said = daemon.process.communicate(timeout=PATIENCE_SECONDS)
    assert 1.0 <= time.monotonic() - began < PATIENCE_SECONDS / 2
    assert daemon.process.returncode == 1
    assert "in hangs" in said


def test_what_a_stop_waits_for_is_less_than_it_may_take_and_that_less_than_systemd_allows() -> None:
    actors = signature(Supervisor.stop).parameters["limit"].default
    parts = (daemon_module.DRAIN_SECONDS, actors, CLOSE_LIMIT_SECONDS)
    assert sum(parts) < daemon_module.STOP_SECONDS
    units = Path(__file__).parents[2] / "systemd"
    for unit in units.rglob("*.service"):
        allowed = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
        assert allowed is not None
        assert int(allowed[1]) > daemon_module.STOP_SECONDS


def test_a_database_that_does_not_answer_is_named_and_the_watchdog_not_told_that_all_is_well(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_SECONDS)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
        with (
            PatchedDaemon(tmp_path, HANG + READER, env=env) as daemon,
            say(daemon, "get_executions"),
        ):
            daemon.wait_for("it hangs")
            daemon.wait_for("the database does not answer")
            # One of the connections that read is enough for the signs of life to stay out.
            wait_for_message(manager, "STATUS=The database does not answer")
            assert "WATCHDOG=1" not in wait_for_message(
                manager, "STATUS=The database does not answer"
            )


def wait_for_message(manager: socket.socket, message: str) -> list[str]:
    """What systemd is told up to this message."""
    told: list[str] = []
    while message not in told:
        told.append(manager.recv(4096).decode())
    return told
