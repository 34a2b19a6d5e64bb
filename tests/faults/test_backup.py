"""A stop that comes while a backup is written, by a process of its own: nobody waits for it."""

import json
import socket
import time
from pathlib import Path

from tests.support.process import PATIENCE_SECONDS, DaemonProcess, PatchedDaemon, execution

STEP_SECONDS = 0.2
# More steps than anybody would wait for.
SLOW = f"""
import time
from buddyd.storage import backup
step = backup._Pace.step
def slowly(*arguments):
    print('{{"event": "a step"}}', file=sys.stderr, flush=True)
    time.sleep({STEP_SECONDS})
    step(*arguments)
backup._Pace.step = slowly
backup.STEP_PAGES = 1
"""


def say(daemon: DaemonProcess, method: str, **params: object) -> socket.socket:
    """Ask without waiting for the answer."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE_SECONDS)
    client.connect(str(daemon.socket))
    client.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
    return client


def test_a_stop_calls_a_backup_off_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    with PatchedDaemon(tmp_path, SLOW) as daemon:
        daemon.call("record_executions", executions=[execution()] * 2_000)
        with say(daemon, "backup", path=str(copies / "copy.db")) as client:
            daemon.wait_for("a step")
            began = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - began < PATIENCE_SECONDS / 4
            error = json.loads(client.makefile().readline())["error"]
    assert error["code"] == -32000
    assert "stopping" in error["data"]["reason"]
    assert list(copies.iterdir()) == []
