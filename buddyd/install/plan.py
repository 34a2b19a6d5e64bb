"""What there is to do for an installation, or to undo it, as a list of steps."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from msgspec import Struct

from buddyd.install.steps import Keep, Remove, Run, Step, Write
from buddyd.systemd import program_line

SERVICE, SOCKET = "buddyd.service", "buddyd.socket"
RELOAD_SINCE = 253
"""The version of systemd that knows Type=notify-reload."""


class Place(Struct, frozen=True, kw_only=True):
    """Where things go, and whose they are to be."""

    units: Path
    settings: Path
    """The folder of the configuration."""
    sysusers: Path | None = None
    tmpfiles: Path | None = None
    catalog: Path | None = None
    is_user: bool = False
    root: Path = Path("/")
    """What `/` stands for; only on the host itself can programs be run."""
    data: str
    """Where the database is, for people."""

    @property
    def is_live(self) -> bool:
        """Whether it is this host, and not a folder that will become one."""
        return self.root == Path("/")


# Where things go


def host_place(root: Path, prefix: str) -> Place:
    """A host's instance. What is under `prefix` is the package's, what is in /etc the host's."""
    lib = _below(root, f"{prefix}/lib")
    return Place(
        units=lib / "systemd/system",
        settings=_below(root, "/etc/buddyd"),
        sysusers=lib / "sysusers.d/buddyd.conf",
        tmpfiles=lib / "tmpfiles.d/buddyd.conf",
        catalog=lib / "systemd/catalog/buddyd.catalog",
        root=root,
        data="/var/lib/buddyd, with its owner, the user buddyd",
    )


def user_place(root: Path) -> Place:
    """A user's own instance."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local/state")
    return Place(
        units=_below(root, data) / "systemd/user",
        settings=_below(root, config) / "buddyd",
        is_user=True,
        root=root,
        data=str(state / "buddyd"),
    )


def _below(root: Path, path: str | Path) -> Path:
    return root / str(path).lstrip("/")


# What is to be done


def steps_to_install(place: Place, program: Sequence[str], systemd: int | None) -> list[Step]:
    """What there is to do; `systemd` is its version, None where it does not run here."""
    files = list(_wanted(place, program, systemd or 0))
    changed = [Write(path, content) for path, content in files if not _holds(path, content)]
    steps: list[Step] = [*changed, *_configuration(place)]
    if place.is_live and systemd is not None:
        steps += _activation(place, {step.path for step in changed})
    return steps


def steps_to_uninstall(place: Place, *, systemd: bool) -> list[Step]:
    """What there is to undo. Data stay, and so does a configuration that was changed."""
    ours = [path for path, _ in _wanted(place, ("buddyd",), RELOAD_SINCE) if path.exists()]
    steps: list[Step] = []
    if place.is_live and systemd and ours:
        steps.append(_systemctl(place, "disable", "--now", SOCKET, SERVICE))
    steps += [Remove(path) for path in ours]
    config = place.settings / "buddyd.toml"
    for path in (config, _news(config)):
        if _holds(path, _default_configuration(place)):
            steps.append(Remove(path))
        elif path.exists():
            steps.append(Keep(str(path), "it was changed"))
    if place.is_live and systemd and ours:
        steps.append(_systemctl(place, "daemon-reload"))
        if place.catalog is not None:
            steps.append(Run(("journalctl", "--update-catalog"), optional=True))
    return [*steps, Keep(place.data, "your data")]


def _wanted(place: Place, program: Sequence[str], systemd: int) -> Iterator[tuple[Path, bytes]]:
    """The package's own files and what they hold."""
    source = package_files("systemd")
    units = source / "user" if place.is_user else source
    service = (units / SERVICE).read_text()
    line = program_line(program)
    yield place.units / SERVICE, service.replace("ExecStart=/usr/bin/buddyd", line).encode()
    yield place.units / SOCKET, (units / SOCKET).read_bytes()
    if systemd >= RELOAD_SINCE:
        drop_in = place.units / f"{SERVICE}.d/notify-reload.conf"
        yield drop_in, (source / "notify-reload.conf").read_bytes()
    for path, name in (
        (place.sysusers, "buddyd.sysusers.conf"),
        (place.tmpfiles, "buddyd.tmpfiles.conf"),
        (place.catalog, "buddyd.catalog"),
    ):
        if path is not None:
            yield path, (source / name).read_bytes()


def _configuration(place: Place) -> Iterator[Step]:
    """What is someone's own is never written over; the new one is laid beside it."""
    path, default = place.settings / "buddyd.toml", _default_configuration(place)
    if not path.exists():
        yield Write(path, default)
    elif not _holds(path, default):
        news = _news(path)
        yield Keep(str(path), f"it was changed; the default is in {news.name}")
        if not _holds(news, default):
            yield Write(news, default)


def _default_configuration(place: Place) -> bytes:
    text = (package_files("config") / "buddyd.toml").read_text()
    if not place.is_user:
        # Every user's buddyctl finds the host's daemon by it.
        text = text.replace("# socket = ", "socket = ")
    return text.encode()


def _activation(place: Place, changed: set[Path]) -> Iterator[Step]:
    """Make known what was written, and have systemd listen."""
    if place.sysusers in changed:
        yield Run(("systemd-sysusers", str(place.sysusers)))
    if place.tmpfiles in changed:
        yield Run(("systemd-tmpfiles", "--create", str(place.tmpfiles)))
    if place.catalog in changed:
        yield Run(("journalctl", "--update-catalog"), optional=True)
    if any(path.is_relative_to(place.units) for path in changed):
        yield _systemctl(place, "daemon-reload")
    if not _is(place, "enabled") or not _is(place, "active"):
        yield _systemctl(place, "enable", "--now", SOCKET)


def _systemctl(place: Place, *arguments: str) -> Run:
    return Run(("systemctl", *["--user"] * place.is_user, *arguments))


def _is(place: Place, state: str) -> bool:
    """Whether the socket is, say, `active`."""
    command = _systemctl(place, f"is-{state}", "--quiet", SOCKET).command
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 -- see Run
    return done.returncode == 0


def _news(config: Path) -> Path:
    return config.with_name(f"{config.name}.new")


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


def package_files(folder: str) -> Traversable:
    """A folder that comes with the package; in a checkout it lies beside the package."""
    packaged = resources.files("buddyd") / "host" / folder
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / folder
