"""What `buddyctl doctor` makes of the facts: a sentence for each check, and how to mend it.

Pure: every check is a function of the facts alone.
"""

from collections.abc import Callable

from buddyd.cli.facts import Facts, Place
from buddyd.cli.render.cells import size, span
from buddyd.cli.unit_checks import has_unit, systemctl, unit, watchdog
from buddyd.cli.verdict import Check

LONGEST_PATH_BYTES = 107
"""What the address of a socket has room for."""
MIB = 2**20
FEWEST_FREE_BYTES, FEW_FREE_BYTES = 100 * MIB, 1024 * MIB
LARGE_LOG_BYTES = 256 * MIB
"""The daemon empties its log at 64 MiB, where nothing keeps it from it."""
FAR_AHEAD_SECONDS = 5.0
DAY = 86_400.0
SQLITE_FAULT = ((3, 7, 0), (3, 51, 2))
"""The first and the last version in which a write-ahead log can be reset wrongly."""


def examine(facts: Facts) -> list[Check]:
    """Every check, in the order in which things are best mended."""
    return [check(facts) for check in _CHECKS]


def configuration(facts: Facts) -> Check:
    """The file that buddyctl and the daemon read."""
    if facts.configuration_error is None:
        return Check("configuration", "ok", "It is valid.")
    hint = "Correct the file; `buddyd --check-config` says when it is right."
    return Check("configuration", "wrong", facts.configuration_error, hint)


def socket(facts: Facts) -> Check:
    """The socket's file: there, ours to open, and not too long."""
    found = facts.socket
    if len(found.path.encode()) > LONGEST_PATH_BYTES:
        said = f"{found.path} is too long: a socket's path has room for {LONGEST_PATH_BYTES} bytes."
        return Check("socket", "wrong", said, "Set a shorter `socket` in the configuration.")
    if found.kind == "missing":
        return Check("socket", "wrong", f"There is nothing at {found.path}.", _start(facts))
    if found.kind == "other":
        hint = "Move it away, and start the daemon again."
        return Check("socket", "wrong", f"{found.path} is no socket.", hint)
    if found.kind == "hidden" or not found.may_write:
        return _forbidden(facts, found)
    return _reachable(facts, found)


def _reachable(facts: Facts, found: Place) -> Check:
    if facts.daemon.outcome == "nobody":
        said = f"Nothing listens at {found.path}: a daemon that is gone left it behind."
        return Check("socket", "wrong", said, f"{_start(facts)} It takes over the socket.")
    if found.mode & 0o002:
        said = f"Everybody on this host may open {found.path}."
        hint = "If that is not intended, set SocketMode=0660 in buddyd.socket, or use [access]."
        return Check("socket", "note", said, hint)
    return Check("socket", "ok", f"{found.path}, of {found.owner} and the group {found.group}.")


def _forbidden(facts: Facts, found: Place) -> Check:
    if found.kind == "hidden":
        said = f"{facts.user} may not look into the folder of {found.path}."
        return Check("socket", "wrong", said, "Ask the administrator of the host for access.")
    said = (
        f"{facts.user} may not open {found.path}: it is {found.owner}'s, "
        f"the group {found.group}'s, mode {found.mode:04o}."
    )
    hint = f"As root: `usermod --append --groups {found.group} {facts.user}`; then log in again."
    return Check("socket", "wrong", said, hint)


def answers(facts: Facts) -> Check:
    """Whether the daemon answers, in time."""
    daemon = facts.daemon
    if daemon.pong is not None:
        up = span(daemon.pong.uptime_seconds)
        return Check("daemon", "ok", f"It answers, and has been up for {up}.")
    if daemon.outcome == "answers":
        return Check("daemon", "ok", f"It answers, but {facts.user} may not query it.")
    if daemon.outcome == "silent":
        restart = f"`{systemctl(facts.systemd)} restart buddyd`" if has_unit(facts) else "Kill it"
        hint = f"{restart}; its log may say why."
        return Check("daemon", "wrong", f"It hangs: {daemon.problem}", hint)
    return Check("daemon", "wrong", daemon.problem, "Fix the socket first.")


def versions(facts: Facts) -> Check:
    """Whether buddyctl and the daemon are of one version."""
    pong = facts.daemon.pong
    if pong is None:
        return Check("versions", "unknown", f"buddyctl is {facts.version}.")
    if pong.version == facts.version:
        return Check("versions", "ok", f"Daemon and buddyctl are {facts.version}.")
    said = f"The daemon is {pong.version}, buddyctl {facts.version}."
    hint = f"Restart the daemon (`{systemctl(facts.systemd)} restart buddyd`), or reinstall both."
    return Check("versions", "note", said, hint)


def role(facts: Facts) -> Check:
    """What the user may do."""
    roles = facts.daemon.roles
    if roles is None:
        return Check("role", "unknown", f"Only the daemon can say what {facts.user} may do.")
    said = f"{facts.user} may {', '.join(roles) or 'nothing'}."
    if "query" in roles and "record" in roles:
        return Check("role", "ok", said)
    hint = "The configuration gives roles under [access], to users and groups."
    return Check("role", "note" if roles else "wrong", said, hint)


def actors(facts: Facts) -> Check:
    """Whether every part of the daemon works."""
    status = facts.daemon.status
    if status is None:
        return Check("actors", "unknown", "Only the daemon can say how they are.")
    down = [actor.name for actor in status.actors if actor.state != "running"]
    if down:
        hint = "They are being restarted; the log says why."
        return Check("actors", "wrong", f"Not running: {', '.join(down)}.", hint)
    crashed = [actor for actor in status.actors if actor.restarts]
    if crashed:
        said = ", ".join(f"{a.name} ({a.restarts} times)" for a in crashed)
        hint = "`journalctl -u buddyd -p err` has the tracebacks: please report them."
        return Check("actors", "note", f"Restarted after a fault: {said}.", hint)
    return Check("actors", "ok", f"All {len(status.actors)} are running.")


def folder(facts: Facts) -> Check:
    """The folder of the database."""
    found = facts.disk.folder
    if found.kind == "hidden":
        said = f"{facts.user} may not look at {found.path}, which is as it should be."
        return Check("folder", "unknown", said)
    if found.kind == "missing":
        said = f"{found.path} does not exist yet: the daemon creates it."
        return Check("folder", "note", said, _start(facts))
    if found.mode & 0o022:
        said = f"Users other than {found.owner} may change what is in {found.path}."
        return Check("folder", "wrong", said, f"`chmod go-w {found.path}`")
    return Check("folder", "ok", f"{found.path} is {found.owner}'s.")


def space(facts: Facts) -> Check:
    """The room on the disk."""
    free = facts.disk.free_bytes
    if free is None:
        return Check(
            "disk", "unknown", f"The free space at {facts.disk.folder.path} cannot be seen."
        )
    said = f"{size(free).text} is free for {facts.disk.database}."
    hint = "Nothing can be recorded on a full disk: make room."
    if free < FEWEST_FREE_BYTES:
        return Check("disk", "wrong", said, hint)
    return Check("disk", "note", said, hint) if free < FEW_FREE_BYTES else Check("disk", "ok", said)


def log(facts: Facts) -> Check:
    """The write-ahead log, which is emptied unless somebody reads on and on."""
    size_bytes = facts.disk.log_bytes
    if size_bytes is None:
        return Check("log", "unknown", "The write-ahead log cannot be seen.")
    said = f"The write-ahead log takes {size(size_bytes).text}."
    if size_bytes < LARGE_LOG_BYTES:
        return Check("log", "ok", said)
    hint = f"A program keeps reading: `fuser -v {facts.disk.database}` names it; end it."
    return Check("log", "wrong", said, hint)


def sqlite(facts: Facts) -> Check:
    """The library that the daemon keeps its records with."""
    status = facts.daemon.status
    if status is None:
        return Check("sqlite", "unknown", "Only the daemon can say its version.")
    version = status.database.sqlite_version
    first, last = SQLITE_FAULT
    if not first <= tuple(int(part) for part in version.split(".")) <= last:
        return Check("sqlite", "ok", f"SQLite {version}.")
    said = f"SQLite {version} can damage a database that two connections write at once (rare)."
    hint = (
        "The daemon writes over one connection only: let other programs only read. 3.51.3 fixes it."
    )
    return Check("sqlite", "note", said, hint)


def clock(facts: Facts) -> Check:
    """Whether the time can be believed."""
    ahead = facts.daemon.ahead_seconds
    if facts.clock.now < facts.clock.installed_at - DAY:
        said = "It shows a time before buddyd was installed."
        return Check("clock", "wrong", said, "Set it: `timedatectl set-ntp true`.")
    if ahead is not None and abs(ahead) > FAR_AHEAD_SECONDS:
        way = "ahead of" if ahead > 0 else "behind"
        said = f"The daemon's clock is {span(abs(ahead))} {way} the host's, which has jumped."
        hint = "The daemon accepts the new time once it has lasted; see `journalctl -u buddyd`."
        return Check("clock", "note", said, hint)
    if facts.clock.synchronized is False:
        said = "It is not synchronized."
        return Check("clock", "note", said, "`timedatectl set-ntp true`")
    return Check("clock", "ok", "It is right, as far as can be seen.")


_CHECKS: tuple[Callable[[Facts], Check], ...] = (
    configuration,
    unit,
    watchdog,
    socket,
    answers,
    versions,
    role,
    actors,
    folder,
    space,
    log,
    sqlite,
    clock,
)


def _start(facts: Facts) -> str:
    command = f"{systemctl(facts.systemd)} start buddyd.socket" if has_unit(facts) else "buddyd"
    return f"Start it: `{command}`."
