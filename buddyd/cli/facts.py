"""What `buddyctl doctor` looks at: gathered here, judged in `checks.py`.

Nothing here decides what is well. What could not be seen is None.
"""

import ctypes
import os
import pwd
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from grp import getgrgid
from pathlib import Path
from typing import Literal, TypeVar

from msgspec import Struct

from buddyd import __version__, config
from buddyd.client import Call, Client, DaemonError, TimedOut, calls
from buddyd.client.errors import NotRunning
from buddyd.domain.answers import Answer, DaemonStatus, Pong
from buddyd.errors import BuddydError, ConfigurationError
from buddyd.paths import find_socket

T = TypeVar("T")
R = TypeVar("R", bound=Answer)

Kind = Literal["missing", "socket", "other", "hidden"]
Outcome = Literal["answers", "nobody", "silent", "refused"]
Role = Literal["record", "query", "admin"]

UNITS = ("buddyd.service", "buddyd.socket")
PROGRAM_SECONDS = 5.0
TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronized."""

# What each role may do that can be asked for without doing anything: the daemon looks first
# whether it is permitted, and then refuses it for what it says.
PROBES: dict[Role, Call[Answer]] = {
    "record": calls.start_execution("", "", ""),
    "query": calls.get_executions(limit=-1),
    "admin": calls.backup(""),
}


class Place(Struct, frozen=True):
    """A file or a folder, as `stat` tells of it."""

    path: str
    kind: Kind
    owner: str = ""
    group: str = ""
    mode: int = 0
    may_write: bool = False
    """Whether the user of buddyctl may."""


class Daemon(Struct, frozen=True):
    """What came of asking the daemon."""

    outcome: Outcome
    problem: str = ""
    pong: Pong | None = None
    status: DaemonStatus | None = None
    roles: tuple[Role, ...] | None = None
    ahead_seconds: float | None = None
    """How far the daemon's clock is ahead of the host's."""


class Unit(Struct, frozen=True):
    """A unit as `systemctl show` tells of it."""

    load: str
    active: str
    sub: str = ""
    result: str = ""
    enabled: str = ""
    watchdog: str = ""
    needs_reload: bool = False


class Systemd(Struct, frozen=True):
    """The manager that would run the daemon. `units` is None where it does not answer."""

    is_user: bool
    units: dict[str, Unit] | None = None


class Disk(Struct, frozen=True):
    """Where the database is."""

    database: str
    folder: Place
    free_bytes: int | None = None
    log_bytes: int | None = None
    """What the write-ahead log takes."""


class Clock(Struct, frozen=True):
    """What time it is."""

    now: float
    """Unix seconds."""
    installed_at: float
    """When this buddyd was installed; it cannot be earlier now."""
    synchronized: bool | None = None


class Facts(Struct, frozen=True):
    """Everything there is to judge."""

    version: str
    user: str
    configuration_error: str | None
    socket: Place
    daemon: Daemon
    systemd: Systemd | None
    """None where no systemd runs."""
    disk: Disk
    clock: Clock


def gather(socket: str | None, timeout: float) -> Facts:
    """Look at everything; nothing waits for longer than `timeout` or PROGRAM_SECONDS."""
    settings, error = _configuration()
    path = find_socket(socket)
    is_user = is_of_user(path)
    daemon = _daemon(path, timeout)
    return Facts(
        version=__version__,
        user=_name(pwd.getpwuid, os.geteuid()),
        configuration_error=error,
        socket=look_at(path),
        daemon=daemon,
        systemd=ask_systemd(is_user=is_user),
        disk=_disk(_database(settings, daemon, is_user=is_user)),
        clock=Clock(time.time(), Path(__file__).stat().st_mtime, _synchronized()),
    )


def _configuration() -> tuple[config.Settings, str | None]:
    try:
        return config.load(None).settings, None
    except ConfigurationError as error:
        return config.Settings(), str(error)


def is_of_user(socket: Path) -> bool:
    """Whether it is where a user's own instance listens."""
    folder = os.environ.get("XDG_RUNTIME_DIR")
    return bool(folder) and socket.is_relative_to(str(folder))


def look_at(path: Path) -> Place:
    """What is at `path`."""
    try:
        found = path.stat()
    except PermissionError:
        return Place(str(path), "hidden")
    except OSError:
        return Place(str(path), "missing")
    return Place(
        str(path),
        "socket" if stat.S_ISSOCK(found.st_mode) else "other",
        _name(pwd.getpwuid, found.st_uid),
        _name(getgrgid, found.st_gid),
        stat.S_IMODE(found.st_mode),
        os.access(path, os.W_OK),
    )


def _name(look_up: Callable[[int], tuple[object, ...]], number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def _daemon(path: Path, timeout: float) -> Daemon:
    try:
        with Client(path, timeout=timeout) as client:
            # What this user may not ask is as good an answer.
            pong = _permitted_answer(client, calls.ping())
            status = _permitted_answer(client, calls.get_daemon_status())
            return Daemon("answers", "", pong, status, _roles(client), _ahead(status))
    except NotRunning as error:
        return Daemon("nobody", str(error))
    except TimedOut as error:
        return Daemon("silent", str(error))
    except BuddydError as error:
        return Daemon("refused", str(error))


def _permitted_answer(client: Client, call: Call[R]) -> R | None:
    try:
        return client.call(call)
    except DaemonError:
        return None


def _ahead(status: DaemonStatus | None) -> float | None:
    if status is None:
        return None
    return datetime.fromisoformat(status.timestamp).timestamp() - time.time()


def _roles(client: Client) -> tuple[Role, ...]:
    return tuple(role for role, probe in PROBES.items() if _permitted(client, probe))


def _permitted(client: Client, probe: Call[Answer]) -> bool:
    try:
        client.call_plain(probe)
    except DaemonError as error:
        return error.blames_params
    return True


def ask_systemd(*, is_user: bool) -> Systemd | None:
    """How the units are; None where no systemd runs."""
    if not Path("/run/systemd/system").is_dir():
        return None
    names = "LoadState,ActiveState,SubState,Result,UnitFileState,WatchdogUSec,NeedDaemonReload"
    manager = ["--user"] if is_user else []
    said = _output("systemctl", *manager, "show", *UNITS, f"--property={names}")
    blocks = said.strip().split("\n\n") if said else []
    if len(blocks) != len(UNITS):
        return Systemd(is_user)
    return Systemd(is_user, dict(zip(UNITS, map(_unit, blocks), strict=True)))


def _unit(block: str) -> Unit:
    said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    return Unit(
        load=said.get("LoadState", ""),
        active=said.get("ActiveState", ""),
        sub=said.get("SubState", ""),
        result=said.get("Result", ""),
        enabled=said.get("UnitFileState", ""),
        watchdog=said.get("WatchdogUSec", ""),
        needs_reload=said.get("NeedDaemonReload") == "yes",
    )


def _output(*command: str) -> str | None:
    """What a program prints; None where there is none, or it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 -- systemd's own tools, from PATH
            command, capture_output=True, text=True, check=True, timeout=PROGRAM_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _database(settings: config.Settings, daemon: Daemon, *, is_user: bool) -> Path:
    if daemon.status is not None:
        return Path(daemon.status.database.path)
    if settings.database is None and not is_user and Path("/var/lib/buddyd").is_dir():
        return Path("/var/lib/buddyd/analytics.db")
    return config.database_path(settings)


def _disk(database: Path) -> Disk:
    folder = look_at(database.parent)
    return Disk(
        str(database),
        folder,
        _or_none(lambda: _free_bytes(database.parent)),
        # By its size alone: to open it is SQLite's.
        _or_none(lambda: Path(f"{database}-wal").stat().st_size),
    )


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _or_none(look: Callable[[], T]) -> T | None:
    try:
        return look()
    except OSError:
        return None


def _synchronized() -> bool | None:
    if sys.platform != "linux":
        return None
    # A struct timex of zeros asks, and changes nothing; it is smaller than this.
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    return None if state < 0 else state != TIME_ERROR
