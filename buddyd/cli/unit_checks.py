"""What `buddyctl doctor` makes of systemd's units. Pure, as `checks.py` is."""

from buddyd.cli.facts import Facts, Systemd, Unit
from buddyd.cli.verdict import Check

LISTENS_AFTER_BOOT = {"enabled", "enabled-runtime", "static", "linked"}


def unit(facts: Facts) -> Check:
    """Whether systemd runs the daemon."""
    systemd = facts.systemd
    if systemd is None:
        said = "systemd is not running here: nothing restarts the daemon when it ends."
        return Check("unit", "unknown", said)
    if systemd.units is None:
        manager = "The user's systemd" if systemd.is_user else "systemd"
        return Check("unit", "unknown", f"{manager} did not answer.")
    answers = facts.daemon.outcome == "answers"
    return (
        _missing(systemd, systemd.units, answers=answers)
        or _failing(systemd, systemd.units)
        or _listening(systemd, systemd.units, answers=answers)
    )


def _missing(systemd: Systemd, units: dict[str, Unit], *, answers: bool) -> Check | None:
    if all(unit.load != "not-found" for unit in units.values()):
        return None
    hint = f"`buddyd install{user_option(systemd)}`"
    return Check("unit", "note" if answers else "wrong", "It is not installed.", hint)


def _failing(systemd: Systemd, units: dict[str, Unit]) -> Check | None:
    reason = f"`journalctl{user_option(systemd)} -u buddyd -n 30` says why."
    if why := _given_up(units):
        said = f"systemd has given up on it ({why})."
        return Check("unit", "wrong", said, f"{reason} Then: `{reset_command(systemd)}`")
    if units["buddyd.service"].sub == "auto-restart":
        return Check("unit", "wrong", "It keeps exiting and being restarted.", reason)
    return None


def _given_up(units: dict[str, Unit]) -> str | None:
    """Why systemd does not start it any more; None where it does."""
    results = [unit.result for unit in units.values() if unit.active == "failed"]
    if any("start-limit-hit" in result for result in results):
        return "it was started too often"
    return results[0] if results else None


def _listening(systemd: Systemd, units: dict[str, Unit], *, answers: bool) -> Check:
    service, socket = units["buddyd.service"], units["buddyd.socket"]
    command = systemctl(systemd)
    if socket.active != "active":
        hint = f"`{command} enable --now buddyd.socket`"
        return Check("unit", "note" if answers else "wrong", "The socket is not listening.", hint)
    if socket.enabled not in LISTENS_AFTER_BOOT:
        said = "It is listening, but will not be after the next boot."
        return Check("unit", "note", said, f"`{command} enable buddyd.socket`")
    if service.needs_reload or socket.needs_reload:
        said = "Its files are newer than what systemd has read."
        return Check("unit", "note", said, f"`{command} daemon-reload`")
    return Check("unit", "ok", f"The socket is listening, the service is {service.active}.")


def watchdog(facts: Facts) -> Check:
    """Whether a daemon that hangs is ended."""
    units = facts.systemd.units if facts.systemd else None
    service = units["buddyd.service"] if units else None
    if service is None or service.load != "loaded":
        return Check("watchdog", "unknown", "There is no unit that could have one.")
    if service.watchdog in {"", "0", "infinity"}:
        command = f"{systemctl(facts.systemd)} edit buddyd.service"
        hint = f"Put WatchdogSec=30 under [Service] with `{command}`."
        return Check("watchdog", "note", "Nothing notices when the daemon hangs.", hint)
    said = f"A daemon that hangs is killed and restarted after {service.watchdog}."
    return Check("watchdog", "ok", said)


def given_up_advice(systemd: Systemd | None) -> str | None:
    """What to do where systemd has given up on the units; None where it has not."""
    if systemd is None or systemd.units is None or (why := _given_up(systemd.units)) is None:
        return None
    return f"systemd has given up on it ({why}): fix the cause, then `{reset_command(systemd)}`."


def reset_command(systemd: Systemd) -> str:
    """What has systemd start the units again that it has given up on."""
    command = systemctl(systemd)
    units = "buddyd.service buddyd.socket"
    return f"{command} reset-failed {units} && {command} start buddyd.socket"


def has_unit(facts: Facts) -> bool:
    """Whether it is for systemd to start the daemon."""
    units = facts.systemd.units if facts.systemd else None
    return units is not None and units["buddyd.socket"].load == "loaded"


def systemctl(systemd: Systemd | None) -> str:
    """How the manager is called."""
    return f"systemctl{user_option(systemd)}"


def user_option(systemd: Systemd | None) -> str:
    """What tells systemd's programs that a user's manager is meant."""
    return " --user" if systemd is not None and systemd.is_user else ""
