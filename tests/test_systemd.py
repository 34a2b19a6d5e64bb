import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from buddyd import systemd
from buddyd.systemd import Notifier, listen_sockets, watchdog_interval

Manager = tuple[socket.socket, dict[str, str]]

UNITS = Path(__file__).parents[1] / "systemd"
EXPOSURE = 1.0
"""What `systemd-analyze security` may find at most, of 10."""


# Telling systemd


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A socket such as systemd's, and what NOTIFY_SOCKET says of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        address = str(tmp_path / "notify")
        if request.param == "abstract":
            address = f"@{address}"
        receiver.bind(address.replace("@", "\0"))
        yield receiver, {"NOTIFY_SOCKET": address}


def test_every_state_reaches_systemd(manager: Manager) -> None:
    receiver, env = manager
    notifier = Notifier(env)
    for tell, message in [
        (notifier.ready, b"READY=1"),
        (notifier.watchdog, b"WATCHDOG=1"),
        (lambda: notifier.status("5 agents"), b"STATUS=5 agents"),
        (lambda: notifier.extend_timeout(2.5), b"EXTEND_TIMEOUT_USEC=2500000"),
    ]:
        assert tell()
        assert receiver.recv(1000) == message
    notifier.close()


def test_a_reload_tells_since_when(manager: Manager) -> None:
    receiver, env = manager
    notifier = Notifier(env)
    notifier.ready()
    assert receiver.recv(1000) == b"READY=1"
    before = time.monotonic_ns() // 1000
    assert notifier.reloading()
    state, since = receiver.recv(1000).decode().split("\n")
    assert state == "RELOADING=1"
    assert before <= int(since.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.close()


@pytest.mark.anyio
async def test_a_long_start_asks_for_its_time_until_it_is_ready(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "PATIENCE_SECONDS", 0.003)
    receiver, env = manager
    receiver.setblocking(False)
    notifier = Notifier(env)
    notifier.starting(60)
    asked = 0
    while asked < 5:
        await anyio.sleep(0.001)
        asked += heard(receiver).count(b"EXTEND_TIMEOUT_USEC=3000")
    notifier.ready()
    heard(receiver)
    await anyio.sleep(0.01)
    assert heard(receiver) == []
    notifier.close()


@pytest.mark.anyio
async def test_a_stop_asks_for_time_but_not_for_ever(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "PATIENCE_SECONDS", 0.003)
    receiver, env = manager
    receiver.setblocking(False)
    notifier = Notifier(env)
    notifier.stopping(0.02)
    await anyio.sleep(0.05)
    first, *others = heard(receiver)
    assert first == b"STOPPING=1"
    assert set(others) == {b"EXTEND_TIMEOUT_USEC=3000"}
    await anyio.sleep(0.01)
    assert heard(receiver) == []
    notifier.close()


@pytest.mark.anyio
async def test_what_has_not_started_or_stops_does_not_tell_of_a_reload(manager: Manager) -> None:
    receiver, env = manager
    receiver.setblocking(False)
    notifier = Notifier(env)
    assert not notifier.reloading()
    notifier.ready()
    notifier.stopping(0)
    assert not notifier.reloading()
    assert heard(receiver) == [b"READY=1", b"STOPPING=1"]
    notifier.close()


def heard(receiver: socket.socket) -> list[bytes]:
    """All that was sent so far."""
    messages = []
    try:
        while True:
            messages.append(receiver.recv(1000))
    except BlockingIOError:
        return messages


def test_a_status_is_one_line_and_nothing_else(manager: Manager) -> None:
    receiver, env = manager
    notifier = Notifier(env)
    assert notifier.status("bad\nSTOPPING=1\r\nname \udcff")
    assert receiver.recv(1000) == b"STATUS=bad STOPPING=1 name ?"
    notifier.close()


def test_a_manager_that_does_not_listen_stops_nothing(manager: Manager) -> None:
    _, env = manager
    notifier = Notifier(env)
    told = [notifier.watchdog() for _ in range(10_000)]
    assert told[0]
    assert not told[-1]
    notifier.close()


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "vsock:2:1234", "/" + "x" * 200])
def test_without_a_manager_nothing_happens(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    assert not notifier.ready()
    notifier.close()
    assert not notifier.ready()


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_sign_of_life_is_due_at_half_the_period(
    env: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_interval(env) == seconds


# Sockets from systemd

ADOPT = """
import fcntl, os, sys
from buddyd.errors import ConfigurationError
from buddyd.systemd import listen_sockets
fds = [int(fd) for fd in sys.argv[1:]]
for number, fd in enumerate(fds):
    os.dup2(fd, 3 + number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": "x"}
try:
    for listener in listen_sockets():
        print(listener.getsockname(), os.get_inheritable(listener.fileno()))
    print(sorted(name for name in os.environ if name.startswith("LISTEN_")), listen_sockets())
except ConfigurationError as error:
    print(error)
"""


def adopt(*passed: int) -> list[str]:
    """What a process says to which systemd passes these file descriptors."""
    # Out of the way of 3 and up, onto which the child puts them as systemd does.
    high = [fd + 200 for fd in range(len(passed))]
    for fd, to in zip(passed, high, strict=True):
        os.dup2(fd, to)
    command = [sys.executable, "-c", ADOPT, *map(str, high)]
    done = subprocess.run(command, pass_fds=high, capture_output=True, text=True, check=True)
    for fd in high:
        os.close(fd)
    return done.stdout.splitlines()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        yield made


def test_the_sockets_are_adopted_once_and_not_inherited(
    listener: socket.socket, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    assert adopt(listener.fileno(), listener.fileno()) == [
        f"{path} False",
        f"{path} False",
        "[] []",
    ]


def test_what_cannot_be_served_on_is_refused(tmp_path: Path, listener: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as idle, socket.socket(socket.AF_INET) as internet:
        internet.listen()
        for wrong in (idle, internet):
            [complaint] = adopt(listener.fileno(), wrong.fileno())
            assert "Socket 4, passed by LISTEN_FDS, is no Unix stream socket" in complaint
    with (tmp_path / "file").open("w") as file:
        [complaint] = adopt(file.fileno())
    assert "File descriptor 3, passed by LISTEN_FDS, is no socket" in complaint


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
    ],
)
def test_what_is_passed_to_others_is_left_alone(env: dict[str, str]) -> None:
    assert listen_sockets(env) == []
    assert env == {}


# The unit files


@pytest.fixture
def analyze(tmp_path: Path) -> Callable[..., str]:
    """Runs systemd-analyze on the units, with a program in them that this host has."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    units = tmp_path / "units"
    shutil.copytree(UNITS, units)
    for unit in units.rglob("*.service"):
        unit.write_text(unit.read_text().replace("/usr/bin/buddyd", "/bin/true"))

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["systemd-analyze", *arguments],
            cwd=units,
            env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return done.stdout

    return run


def test_systemd_finds_nothing_to_say_about_the_units(analyze: Callable[..., str]) -> None:
    assert analyze("verify", "./buddyd.service", "./buddyd.socket") == ""
    units = ("./user/buddyd.service", "./user/buddyd.socket")
    assert analyze("--user", "verify", *units) == ""


def test_the_service_is_exposed_to_little(analyze: Callable[..., str]) -> None:
    report = analyze("security", "--offline=yes", "./buddyd.service")
    found = re.search(r"exposure level for buddyd.service: ([\d.]+)", report)
    assert found
    assert float(found[1]) <= EXPOSURE


def test_a_daemon_that_ends_again_and_again_never_reaches_the_start_limit() -> None:
    """The socket unit would fail with it, and nothing would start the daemon any more."""
    units = list(UNITS.rglob("*.service"))
    assert units
    for unit in units:
        found = re.findall(r"^(StartLimit\w+|RestartSec)=(\d+)$", unit.read_text(), re.MULTILINE)
        seconds = {key: int(value) for key, value in found}
        quickest = (seconds["StartLimitBurst"] - 1) * seconds["RestartSec"]
        assert quickest > seconds["StartLimitIntervalSec"]


def test_nothing_hides_the_uids_of_those_who_connect() -> None:
    for unit in UNITS.rglob("*.service"):
        assert not re.search(r"^PrivateUsers=", unit.read_text(), re.MULTILINE)
