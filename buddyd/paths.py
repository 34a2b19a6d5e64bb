"""Where the socket is: one rule for the daemon and all its clients.

Nothing beyond the standard library is imported here, and little of that: every call of
`buddyctl` waits for it.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from buddyd.errors import ConfigurationError

SOCKET_NAME = "buddyd.sock"
HOST_SOCKET = Path("/run/buddyd", SOCKET_NAME)


def socket_path(
    explicit: str | None, configured: str | None, env: Mapping[str, str] = os.environ
) -> Path:
    """The first that applies: `explicit`, $BUDDYD_SOCKET, `configured`, the customary place.

    Nothing is created. Raises ConfigurationError where the customary place is not safe to use.
    """
    chosen = explicit or env.get("BUDDYD_SOCKET") or configured
    if chosen:
        return Path(os.path.expanduser(chosen))  # noqa: PTH111 -- leaves an unknown ~user as it is
    return _customary(env)


def find_socket(explicit: str | None = None, env: Mapping[str, str] = os.environ) -> Path:
    """Where a client finds the daemon: by `socket_path`, with the configuration file read.

    A configuration that cannot be read is the daemon's to complain about: it is passed over.
    """
    decided = explicit or env.get("BUDDYD_SOCKET")
    return socket_path(decided, None if decided else _configured(env), env)


def config_file(env: Mapping[str, str] = os.environ) -> Path | None:
    """The user's configuration, else the host's; one that may not be seen counts as missing."""
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME") or "/", ".config"))
    files = (home / "buddyd/buddyd.toml", Path("/etc/buddyd/buddyd.toml"))
    return next((file for file in files if os.access(file, os.F_OK)), None)


def make_folder(socket: Path) -> None:
    """Create the folder of the daemon's socket where it is missing, for the own user alone.

    Raises OSError where it cannot be created, ConfigurationError where somebody else was faster.
    """
    folder = socket.parent
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if folder.name == _private_name():
            _refuse_unsafe(folder)


def spool_folder(socket: Path, env: Mapping[str, str] = os.environ) -> Path:
    """Where this user's records wait for the daemon at `socket`. Nothing is created.

    It lies in $BUDDYD_SPOOL, else in the user's state folder; each socket has a folder of its own,
    for what was meant for one daemon is not to reach another.
    """
    state = Path(env.get("XDG_STATE_HOME") or Path(env.get("HOME") or "/", ".local/state"))
    place = Path(os.path.abspath(socket))  # noqa: PTH100 -- Path.resolve would follow links
    name = str(place)[1:].replace("%", "%25").replace("/", "%2F")
    return Path(env.get("BUDDYD_SPOOL") or state / "buddyd/spool") / name


def _customary(env: Mapping[str, str]) -> Path:
    if folders := env.get("RUNTIME_DIRECTORY"):
        return Path(folders.split(":")[0]) / SOCKET_NAME
    if folder := env.get("XDG_RUNTIME_DIR"):
        return Path(folder, "buddyd", SOCKET_NAME)
    if os.geteuid() == 0:
        return HOST_SOCKET
    private = Path(env.get("TMPDIR") or "/tmp", _private_name())  # noqa: S108 -- checked next
    _refuse_unsafe(private)
    return private / SOCKET_NAME


def _private_name() -> str:
    return f"buddyd-{os.geteuid()}"


def _refuse_unsafe(folder: Path) -> None:
    """Raise ConfigurationError where `folder` exists and others could have put a socket there."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        reason = "is not a directory"
    elif found.st_uid != os.geteuid():
        reason = f"belongs to the user with uid {found.st_uid}"
    elif found.st_mode & 0o077:
        reason = f"has mode {stat.S_IMODE(found.st_mode):04o}, which lets others in"
    else:
        return
    raise ConfigurationError(
        f"{folder} is no safe place for the socket: it {reason}. Remove it, "
        "or name another place with --socket, BUDDYD_SOCKET or the configuration's `socket`."
    )


def _configured(env: Mapping[str, str]) -> str | None:
    """The configuration file's `socket`."""
    file = config_file(env)
    return _socket_key(file) if file else None


def _socket_key(file: Path) -> str | None:
    # Most clients are told the socket, or find no file.
    import tomllib  # noqa: PLC0415

    try:
        socket = tomllib.loads(file.read_bytes().decode()).get("socket")
    except (OSError, ValueError, RecursionError):
        return None
    return socket if isinstance(socket, str) else None
