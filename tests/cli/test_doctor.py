"""buddyctl doctor, and what it makes of an installation that is not well."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from buddyd import __version__
from buddyd.cli import checks
from buddyd.cli.facts import Clock, Daemon, Disk, Facts, Place, Systemd, Unit
from buddyd.cli.unit_checks import given_up_advice
from buddyd.cli.verdict import Check
from buddyd.domain.answers import Pong
from tests.support.buddyctl import buddyctl, on_terminal, seen
from tests.support.process import DaemonProcess
from tests.support.samples import ANSWERS

STATUS = ANSWERS["get_daemon_status"]


def doctor(socket: Path, *arguments: str, **env: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the checks by name."""
    done = buddyctl("doctor", "--json", *arguments, socket=socket, **env)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["ok"] is (done.returncode == 0)
    return done.returncode, {check["name"]: check for check in told["checks"]}


# With real conditions


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as running:
        yield running


def test_a_daemon_that_is_well_is_found_well(daemon: DaemonProcess) -> None:
    code, found = doctor(daemon.socket)
    assert code == 0
    for name in ("configuration", "socket", "daemon", "versions", "role", "actors", "folder"):
        assert found[name]["state"] == "ok", found[name]
    assert found["role"]["sentence"].endswith("may record, query, admin.")
    assert str(daemon.database) in found["disk"]["sentence"]
    assert found["log"]["sentence"].startswith("The write-ahead log takes ")


def test_looking_records_nothing_and_writes_nothing(daemon: DaemonProcess) -> None:
    doctor(daemon.socket)
    status = daemon.call("get_daemon_status")["result"]
    assert status["database"]["commits"] == 0
    assert status["records"]["refused"] == 0


def test_a_daemon_that_hangs_is_found_in_time(daemon: DaemonProcess) -> None:
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        code, found = doctor(daemon.socket, "--timeout", "0.5")
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert code == 1
    assert found["daemon"]["state"] == "wrong"
    assert "hangs" in found["daemon"]["sentence"]
    assert found["socket"]["state"] == "ok"


def test_a_socket_that_a_dead_daemon_left_is_named(daemon: DaemonProcess) -> None:
    daemon.stop(signal.SIGKILL)
    code, found = doctor(daemon.socket)
    assert code == 1
    assert found["socket"]["state"] == "wrong"
    assert "a daemon that is gone left it behind" in found["socket"]["sentence"]
    assert found["daemon"]["state"] == "wrong"


def test_what_is_no_socket_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("")
    code, found = doctor(tmp_path / "s")
    assert code == 1
    assert "is no socket" in found["socket"]["sentence"]


def test_nothing_where_the_socket_should_be(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / "s")
    assert code == 1
    assert found["socket"]["sentence"] == f"There is nothing at {tmp_path}/s."
    assert found["socket"]["hint"] == "Start it: `buddyd`."


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / ("s" * 120))
    assert code == 1
    assert "room for 107 bytes" in found["socket"]["sentence"]


def test_what_listens_and_is_no_buddyd_is_found_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        code, found = doctor(tmp_path / "s", "--timeout", "0.3")
    assert code == 1
    assert found["daemon"]["state"] == "wrong"


def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "buddyd/buddyd.toml"
    file.parent.mkdir()
    file.write_text("[learning]\nrate = 1\n")
    _, found = doctor(tmp_path / "s", XDG_CONFIG_HOME=str(tmp_path))
    assert found["configuration"]["state"] == "wrong"
    assert "learning.rate" in found["configuration"]["sentence"]
    assert str(file) in found["configuration"]["sentence"]


def test_a_person_sees_marks_and_hints_within_80_columns(daemon: DaemonProcess) -> None:
    code, output = on_terminal("doctor", socket=daemon.socket, columns=80)
    lines = seen(output).splitlines()
    assert code == 0
    assert lines[0] == "All is well"
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("✓  socket ") for line in lines)
    daemon.stop()
    code, output = on_terminal("doctor", socket=daemon.socket, columns=80)
    lines = seen(output).splitlines()
    assert code == 1
    assert lines[0] == "Something is wrong"
    [wrong] = [number for number, line in enumerate(lines) if line.startswith("✗  socket ")]
    assert any("→ Start it: `buddyd`." in line for line in lines[wrong + 1 : wrong + 4])


# By the facts alone

SERVICE = Unit("loaded", "active", "running", "success", "disabled", "30s")
LISTENING = Unit("loaded", "active", "running", "success", "enabled")
WELL = Facts(
    version=__version__,
    user="ada",
    configuration_error=None,
    socket=Place("/run/buddyd/buddyd.sock", "socket", "buddyd", "buddyd", 0o660, may_write=True),
    daemon=Daemon(
        "answers",
        "",
        Pong(version=__version__, protocol=1, uptime_seconds=60.0),
        STATUS,
        ("record", "query"),
        0.0,
    ),
    systemd=Systemd(False, {"buddyd.service": SERVICE, "buddyd.socket": LISTENING}),
    disk=Disk(
        "/var/lib/buddyd/analytics.db",
        Place("/var/lib/buddyd", "other", "buddyd", "buddyd", 0o750),
        10**11,
        4096,
    ),
    clock=Clock(1e9, 1e9, True),
)


def units(service: Unit = SERVICE, socket: Unit = LISTENING, *, user: bool = False) -> Facts:
    found = {"buddyd.service": service, "buddyd.socket": socket}
    return msgspec.structs.replace(WELL, systemd=Systemd(user, found))


def but(**changes: Any) -> Facts:  # noqa: ANN401 - fields of facts
    """The facts of an installation that is well, but for one thing."""
    [(name, changed)] = changes.items()
    if isinstance(changed, dict):
        changed = msgspec.structs.replace(getattr(WELL, name), **changed)
    return msgspec.structs.replace(WELL, **{name: changed})


FAILED = Unit("loaded", "failed", "failed", "exit-code", "disabled", "30s")
LIMIT = Unit("loaded", "failed", "failed", "service-start-limit-hit", "enabled")
GONE = Unit("not-found", "inactive")


@pytest.mark.parametrize(
    ("check", "facts", "state", "told"),
    [
        (checks.unit, WELL, "ok", "the service is active"),
        (checks.unit, but(systemd=None), "unknown", "not running here"),
        (checks.unit, but(systemd=Systemd(True)), "unknown", "user's systemd did not answer"),
        (checks.unit, units(FAILED), "wrong", "(exit-code)"),
        (checks.unit, units(FAILED, LIMIT), "wrong", "(it was started too often)"),
        (
            checks.unit,
            units(FAILED, LIMIT),
            "wrong",
            "systemctl reset-failed buddyd.service buddyd.socket && systemctl start buddyd.socket",
        ),
        (checks.unit, units(FAILED, LIMIT, user=True), "wrong", "systemctl --user reset-failed"),
        (checks.unit, units(GONE, GONE), "note", "`buddyd install`"),
        (checks.unit, units(GONE, GONE, user=True), "note", "`buddyd install --user`"),
        (
            checks.unit,
            units(Unit("loaded", "activating", "auto-restart")),
            "wrong",
            "keeps exiting",
        ),
        (checks.unit, units(socket=Unit("loaded", "inactive")), "note", "not listening"),
        (
            checks.unit,
            units(socket=Unit("loaded", "active", enabled="disabled")),
            "note",
            "`systemctl enable buddyd.socket`",
        ),
        (
            checks.unit,
            units(msgspec.structs.replace(SERVICE, needs_reload=True)),
            "note",
            "daemon-reload",
        ),
        (checks.watchdog, WELL, "ok", "after 30s"),
        (checks.watchdog, units(Unit("loaded", "active")), "note", "WatchdogSec=30"),
        (checks.watchdog, but(systemd=None), "unknown", "no unit"),
        (checks.socket, WELL, "ok", "the group buddyd"),
        (checks.socket, but(socket={"may_write": False}), "wrong", "--groups buddyd ada"),
        (checks.socket, but(socket={"kind": "hidden"}), "wrong", "may not look into"),
        (checks.socket, but(socket={"kind": "missing"}), "wrong", "systemctl start buddyd.socket"),
        (checks.socket, but(socket={"mode": 0o666}), "note", "Everybody"),
        (checks.answers, but(daemon=Daemon("silent", "No.")), "wrong", "systemctl restart buddyd"),
        (checks.versions, WELL, "ok", __version__),
        (checks.versions, but(version="9.9"), "note", "buddyctl 9.9"),
        (checks.role, WELL, "ok", "ada may record, query."),
        (checks.role, but(daemon={"roles": ("record",)}), "note", "[access]"),
        (checks.role, but(daemon={"roles": ()}), "wrong", "ada may nothing."),
        (checks.folder, but(disk={"folder": Place("/d", "other", mode=0o777)}), "wrong", "go-w"),
        (checks.folder, but(disk={"folder": Place("/d", "missing")}), "note", "does not exist yet"),
        (checks.space, WELL, "ok", "93.1 GiB"),
        (checks.space, but(disk={"free_bytes": 500 * 2**20}), "note", "make room"),
        (checks.space, but(disk={"free_bytes": 50 * 2**20}), "wrong", "make room"),
        (checks.log, WELL, "ok", "4.0 KiB"),
        (checks.log, but(disk={"log_bytes": 2**30}), "wrong", "fuser"),
        (checks.log, but(disk={"log_bytes": None}), "unknown", "log cannot be seen"),
        (checks.clock, WELL, "ok", "right"),
        (checks.clock, but(clock={"now": 0.0}), "wrong", "before buddyd was installed"),
        (checks.clock, but(clock={"synchronized": False}), "note", "timedatectl"),
        (checks.clock, but(daemon={"ahead_seconds": -3600.0}), "note", "1 h behind"),
    ],
)
def test_each_check_says_what_is_wrong_and_how_to_mend_it(
    check: Any,  # noqa: ANN401 - a check
    facts: Facts,
    state: str,
    told: str,
) -> None:
    found: Check = check(facts)
    assert found.state == state
    assert told in f"{found.sentence} {found.hint or ''}"
    assert state != "wrong" or found.hint


@pytest.mark.parametrize(
    ("version", "state"),
    [("3.6.23", "ok"), ("3.7.0", "note"), ("3.51.2", "note"), ("3.51.3", "ok"), ("3.100.0", "ok")],
)
def test_versions_of_sqlite_with_the_fault_are_noted(version: str, state: str) -> None:
    database = msgspec.structs.replace(STATUS.database, sqlite_version=version)
    status = msgspec.structs.replace(STATUS, database=database)
    assert checks.sqlite(but(daemon={"status": status})).state == state


def test_actors_that_are_down_are_named() -> None:
    down = [msgspec.structs.replace(actor, state="crashed") for actor in STATUS.actors[:1]]
    status = msgspec.structs.replace(STATUS, actors=down)
    found = checks.actors(but(daemon={"status": status}))
    assert found.state == "wrong"
    assert down[0].name in found.sentence


def test_where_nothing_can_be_seen_nothing_is_claimed() -> None:
    blind = msgspec.structs.replace(
        WELL,
        daemon=Daemon("nobody", "Nobody."),
        systemd=None,
        disk=Disk("/d/a.db", Place("/d", "hidden")),
    )
    states = {check.name: check.state for check in checks.examine(blind)}
    for name in ("unit", "watchdog", "versions", "role", "actors", "folder", "disk", "log"):
        assert states[name] == "unknown"


def test_only_who_was_given_up_gets_the_advice() -> None:
    assert given_up_advice(None) is None
    assert given_up_advice(Systemd(False)) is None
    assert given_up_advice(WELL.systemd) is None
    advice = given_up_advice(units(FAILED, LIMIT).systemd)
    assert advice is not None
    assert "systemctl reset-failed buddyd.service buddyd.socket" in advice
