"""Folders and programs of other users; only root can make them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import pytest

# No user of the host needs to have them.
DAEMON_UID, RECORDER_UID, ASKER_UID, ADMIN_UID, STRANGER_UID = (
    54_321,
    54_322,
    54_323,
    54_324,
    54_325,
)
GROUP_GID = 54_400


def _python_of_others() -> str | None:
    """An interpreter that other users may run, with what a daemon is made of; None without root.

    The one that runs the tests may lie in root's home; the host's own of that version will do.
    """
    if os.geteuid() != 0:
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    candidates = (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}")
    return next((python for python in candidates if _runs_for_others(python)), None)


def _runs_for_others(python: str) -> bool:
    command = [python, "-c", "import buddyd.program"]
    try:
        done = subprocess.run(
            command, **as_user(DAEMON_UID), env=ENV, check=False, capture_output=True
        )
    except OSError:
        return False
    return done.returncode == 0


class Identity(TypedDict):
    """How subprocess is told whose a program is to be."""

    user: int
    group: int
    extra_groups: Sequence[int]


def as_user(uid: int, gid: int | None = None, groups: Sequence[int] = ()) -> Identity:
    """For subprocess: the program is `uid`'s."""
    return Identity(user=uid, group=uid if gid is None else gid, extra_groups=list(groups))


ENV = {
    **os.environ,
    "HOME": "/",
    "PYTHONPATH": ":".join(p for p in sys.path if "site-packages" in p),
}
"""What makes the host's interpreter find the libraries of the tests' own."""

PYTHON = _python_of_others()
needs_other_users = pytest.mark.skipif(
    PYTHON is None, reason="it takes root, and an interpreter and libraries that all users can read"
)


@contextmanager
def shared_folder(owner: int = 0, mode: int = 0o755) -> Iterator[Path]:
    """A folder that others can reach, which pytest's own folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="buddyd-"))
    try:
        os.chown(folder, owner, owner)
        folder.chmod(mode)
        yield folder
    finally:
        shutil.rmtree(folder)


TALK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(20)
    client.connect(sys.argv[1])
    client.sendall(sys.stdin.buffer.read())
    client.shutdown(socket.SHUT_WR)
    while data := client.recv(65536):
        sys.stdout.buffer.write(data)
"""


def say_as(
    uid: int, socket: Path, lines: bytes, gid: int | None = None, groups: Sequence[int] = ()
) -> "subprocess.CompletedProcess[bytes]":
    """Another user's connection: says `lines`, and gives what is answered as its output."""
    assert PYTHON is not None
    return subprocess.run(
        [PYTHON, "-c", TALK, str(socket)],
        **as_user(uid, gid, groups),
        input=lines,
        capture_output=True,
        check=False,
    )
