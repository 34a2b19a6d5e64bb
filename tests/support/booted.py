"""A host of its own for tests: a real systemd with its journal, booted in less than a second."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOOT_SECONDS = 30.0
COMMAND_SECONDS = 60.0
NAMESPACES = ("--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net")
ENV = {
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}
# An interpreter that was moved finds its library so.
LAUNCHER = """\
#!/bin/sh
export LD_LIBRARY_PATH=/opt/buddyd/python/lib PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=/opt/buddyd/source:/opt/buddyd/libraries
exec /opt/buddyd/python/bin/python{version} -m {module} "$@"
"""


class Unbootable(Exception):
    """Why no systemd can be booted here."""


class Host:
    """A booted host. What is changed there is gone with it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def path(self, path: str) -> Path:
        """A file of the host's, as it is reached from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program there; what it prints, errors included."""
        done = subprocess.run(
            [
                "nsenter",
                "-t",
                str(self.pid),
                "-m",
                "-u",
                "-i",
                "-n",
                "-p",
                "-C",
                "-r",
                "-w",
                *command,
            ],
            env=ENV,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}")
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", unit, "--property", name, "--value").strip()

    def journal(self, *matches: str) -> str:
        """The entries that match, one JSON object a line."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--output=json", "--all", "--no-pager", *matches)


def until(condition: Callable[[], bool], what: str, seconds: float = BOOT_SECONDS) -> None:
    """Wait for what the host brings about; a look costs a process or a file."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


@contextmanager
def booted() -> Iterator[Host]:
    """A host with buddyd's programs on its PATH; raises Unbootable."""
    _refuse_early()
    folder = Path(tempfile.mkdtemp(prefix="buddyd-host-"))
    try:
        with _cgroup() as cgroup:
            outer = _unshare(folder, cgroup)
            try:
                host = Host(_systemd_of(outer, folder / "console"))
                _wait_for_boot(host)
                _put_programs(host)
                yield host
            finally:
                _end(outer)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_early() -> None:
    if os.geteuid() != 0:
        raise Unbootable("it takes root")
    for program in ("/lib/systemd/systemd", "/usr/bin/unshare", "/usr/bin/nsenter"):
        if not Path(program).exists():
            raise Unbootable(f"there is no {program}")


@contextmanager
def _cgroup() -> Iterator[Path]:
    """A control group of its own, or the units would appear among the machine's."""
    roots = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    root = next((each for each in roots if (each / "cgroup.procs").exists()), None)
    if root is None:
        raise Unbootable("there is no unified control group")
    group = root / f"buddyd-tests-{os.getpid()}"
    try:
        group.mkdir(exist_ok=True)
    except OSError as error:
        raise Unbootable(f"a control group cannot be made: {error.strerror}") from error
    try:
        yield group
    finally:
        for folder, _, _ in os.walk(group, topdown=False):
            until(lambda folder=folder: _removed(Path(folder)), f"the end of {folder}")


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _unshare(folder: Path, cgroup: Path) -> "subprocess.Popen[bytes]":
    parts = (sys.base_prefix, sysconfig.get_path("purelib"), str(ROOT))
    boot = ["bash", str(Path(__file__).with_name("boot.sh")), str(folder), *parts]
    unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child=SIGKILL", "--propagation=private"]
    with (folder / "console").open("wb") as console:
        return subprocess.Popen(
            # It joins its group before it is its namespace's root.
            ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(cgroup), *unshare, *boot],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )


def _systemd_of(outer: "subprocess.Popen[bytes]", console: Path) -> int:
    """The process that is number 1 in there, once it is systemd."""
    end = time.monotonic() + BOOT_SECONDS
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while outer.poll() is None and time.monotonic() < end:
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return int(child)
        time.sleep(0.01)
    raise Unbootable(f"it did not boot: {console.read_text()[-500:].strip()}")


def _wait_for_boot(host: Host) -> None:
    end = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < end:
        state = host.run("systemctl", "is-system-running", check=False).strip()
        if state in {"running", "degraded"}:
            return
        time.sleep(0.05)
    raise Unbootable(f"it is still {state}")


def _put_programs(host: Host) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name, module in (("buddyd", "buddyd"), ("buddyctl", "buddyd.cli.entry")):
        program = host.path(f"/usr/local/bin/{name}")
        program.write_text(LAUNCHER.format(version=version, module=module))
        program.chmod(0o755)


def _end(outer: "subprocess.Popen[bytes]") -> None:
    # unshare takes process 1 with it, and that all the others.
    os.killpg(outer.pid, signal.SIGKILL)
    outer.wait()
