"""A user database that does not answer, as a directory service may not."""

import signal
import socket
import time
from pathlib import Path

from tests.support.process import PATIENCE_SECONDS, PatchedDaemon

# Nobody has a role by what the kernel tells, not even who runs the test.
HANGS = """
import time
from buddyd.server import peers
def hangs(uid):
    print('{"event": "it hangs"}', file=sys.stderr, flush=True)
    time.sleep(3600)
def trusts_nobody(self, *arguments):
    made(self, *arguments)
    self._trusted = set()
peers._groups_of = hangs
made, peers.AccessPolicy.__init__ = peers.AccessPolicy.__init__, trusts_nobody
"""


def test_the_daemon_goes_on_and_stops(tmp_path: Path) -> None:
    file = tmp_path / "buddyd.toml"
    file.write_text('[access]\nrecord = ["@4242"]\nquery = ["@4242"]\n')
    daemon = PatchedDaemon(tmp_path, HANGS)
    daemon.arguments = ("--config", str(file))
    with daemon, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        daemon.wait_for("it hangs")
        assert daemon.process is not None
        # It hears, and those are served who need not be looked up.
        file.write_text('[access]\nrecord = ["*"]\nquery = ["*"]\n')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("configuration reloaded")
        assert "result" in daemon.call("ping")
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < PATIENCE_SECONDS / 4


NAMES_HANG = """
import time
from buddyd import config
resolve = config.principals
def hangs(access, role):
    if access.admin:
        print('{"event": "it hangs"}', file=sys.stderr, flush=True)
        time.sleep(3600)
    return resolve(access, role)
config.principals = hangs
"""


def test_a_reload_that_hangs_holds_nothing_up(tmp_path: Path) -> None:
    file = tmp_path / "buddyd.toml"
    file.write_text("")
    daemon = PatchedDaemon(tmp_path, NAMES_HANG)
    daemon.arguments = ("--config", str(file))
    with daemon:
        file.write_text('[access]\nadmin = ["root"]\n')
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("it hangs")
        assert "result" in daemon.call("ping")
        assert daemon.stop() == 0
