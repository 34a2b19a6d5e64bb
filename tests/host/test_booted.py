"""The service as a real systemd runs it, from `buddyd install` to `buddyd uninstall`."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from buddyd.events import MESSAGE_IDS
from tests.support.booted import Host, Unbootable, booted, until
from tests.support.process import execution

SOCKET = "/run/buddyd/buddyd.sock"
CONFIG = "/etc/buddyd/buddyd.toml"
INSTALL = ("buddyd", "install", "--program", "/usr/local/bin/buddyd")
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """One host for all tests of a worker, with buddyd installed."""
    try:
        with booted() as host:
            host.run(*INSTALL)
            host.run("cp", CONFIG, "/run/as-installed.toml")
            yield host
    except Unbootable as reason:
        pytest.skip(f"no systemd can be booted here: {reason}")


RESET = """
systemctl stop buddyd.socket buddyd.service
systemctl reset-failed buddyd.socket buddyd.service
rm -rf /var/lib/buddyd /run/systemd/system/buddyd.service.d
cp /run/as-installed.toml /etc/buddyd/buddyd.toml
systemctl daemon-reload
systemctl start buddyd.socket
"""


@pytest.fixture
def service(host: Host) -> "Service":
    """Listening, with nothing recorded, and as it was installed, whatever was done to it before."""
    return Service(host)


class Service:
    """buddyd on a host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.socket = host.path(SOCKET)
        host.run("sh", "-e", "-c", RESET)
        self.since = time.time()

    def change(self, **directives: str) -> None:
        """Other directives of [Service], for this test."""
        folder = self.host.path("/run/systemd/system/buddyd.service.d")
        folder.mkdir(parents=True)
        lines = [f"{name}={value}" for name, value in directives.items()]
        (folder / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))
        self.host.run("systemctl", "daemon-reload")

    def call(self, method: str, **params: object) -> Any:  # noqa: ANN401 - whatever it says
        """The result of a call over a connection of its own."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(self.socket))
            request = {"id": 1, "method": method, "params": params}
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile() as answers:
                return json.loads(answers.readline())["result"]

    def records(self) -> int:
        total: int = self.call("get_task_pipeline")["last_24_hours"]["total_tasks"]
        return total

    def state(self) -> str:
        return self.host.show("buddyd.service", "ActiveState")

    def pid(self) -> int:
        return int(self.host.show("buddyd.service", "MainPID"))

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """What it has logged in this test."""
        since = f"--since=@{self.since:.6f}"
        lines = self.host.journal("--unit=buddyd", since, *matches).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, event: str) -> list[dict[str, Any]]:
        """The entries of an event, found by its id alone."""
        return self.journal(f"MESSAGE_ID={MESSAGE_IDS[event]}")


def test_the_first_query_starts_it(service: Service) -> None:
    assert service.state() == "inactive"
    service.call("record_execution", **execution())
    assert service.state() == "active"
    assert service.host.show("buddyd.service", "StatusText") != ""
    assert service.host.show("buddyd.service", "NRestarts") == "0"


def test_its_status_is_worth_reading(service: Service) -> None:
    service.call("record_executions", executions=[execution(agent_id=f"a{n}") for n in range(3)])
    service.host.run("systemctl", "restart", "buddyd")
    status = service.host.show("buddyd.service", "StatusText")
    assert status.startswith("3 agents, 1 tool, 3 records, 0 connections, last commit ")


def test_a_restart_loses_no_connection(service: Service) -> None:
    answered, failures, stop = 0, [], threading.Event()

    def keep_asking() -> None:
        nonlocal answered
        while not stop.is_set():
            try:
                service.call("ping")
            except (OSError, ValueError) as error:
                failures.append(error)
            answered += 1

    service.call("ping")
    clients = [threading.Thread(target=keep_asking) for _ in range(3)]
    for client in clients:
        client.start()
    pids = {service.pid()}
    for _ in range(2):
        service.host.run("systemctl", "restart", "buddyd")
        pids.add(service.pid())
        before = answered
        until(lambda: answered > before + 20, "more answers")  # noqa: B023
    stop.set()
    for client in clients:
        client.join(PATIENCE_SECONDS)
    assert failures == []
    assert len(pids) == 3


def test_a_daemon_that_hangs_is_killed_and_started_again(service: Service) -> None:
    service.change(WatchdogSec="3", RestartSec="100ms")
    service.call("record_execution", **execution())
    service.host.run("kill", "-STOP", str(service.pid()))
    until(lambda: service.host.show("buddyd.service", "NRestarts") != "0", "the watchdog")
    assert service.records() == 1
    # Where it hung is in the journal, too.
    said = " ".join(str(entry["MESSAGE"]) for entry in service.journal())
    assert "Watchdog timeout" in said
    assert "Fatal Python error: Aborted" in said


def test_a_kill_loses_nothing(service: Service) -> None:
    service.change(RestartSec="100ms")
    for _ in range(2):
        service.call("record_execution", **execution())
        service.host.run("kill", "-KILL", str(service.pid()))
    assert service.records() == 2


def test_a_reload_takes_over_a_changed_configuration(service: Service) -> None:
    service.call("record_executions", executions=[execution(success=n > 0) for n in range(10)])
    pid = service.pid()
    config = service.host.path(CONFIG)
    config.write_text("[learning]\nhigh_success_rate = 0.9\n")
    service.host.run("systemctl", "reload", "buddyd")
    until(lambda: len(service.events("configuration reloaded")) == 1, "the reload")
    [tool] = service.call("get_system_learning")["tool_profiles"]
    assert tool["confidence_level"] == "HIGH"
    config.write_text("[learning]\nrate = 0.9\n")
    service.host.run("systemctl", "reload", "buddyd")
    event = "configuration not reloaded, the old one stays"
    until(lambda: len(service.events(event)) == 1, "the refusal")
    assert service.state() == "active"
    assert service.pid() == pid


def test_a_stop_is_quick_and_clean_and_the_records_survive(service: Service) -> None:
    service.call("record_execution", **execution())
    with socket.socket(socket.AF_UNIX) as idle:
        idle.connect(str(service.socket))
        began = time.monotonic()
        service.host.run("systemctl", "stop", "buddyd")
        assert time.monotonic() - began < 10
    assert service.host.show("buddyd.service", "Result") == "success"
    assert service.host.show("buddyd.service", "ExecMainStatus") == "0"
    assert len(service.events("stopped")) == 1
    assert service.records() == 1


SLOW = """\
import time
from buddyd import program
from buddyd.storage import database, recovery
make_sound, close = recovery.make_sound, database.Database.close
def slow_make_sound(*arguments):
    time.sleep(7)
    make_sound(*arguments)
async def slow_close(self):
    await close(self)
    time.sleep(4)
recovery.make_sound, database.Database.close = slow_make_sound, slow_close
program.main([])
"""


def test_a_start_and_a_stop_that_take_long_are_waited_for(service: Service) -> None:
    service.host.path("/run/slow.py").write_text(SLOW)
    launcher = service.host.path("/usr/local/bin/buddyd").read_text()
    slow = service.host.path("/usr/local/bin/slow-buddyd")
    slow.write_text(launcher.replace("-m buddyd", "/run/slow.py"))
    slow.chmod(0o755)
    start = "\nExecStart=/usr/local/bin/slow-buddyd"
    service.change(ExecStart=start, TimeoutStartSec="5", TimeoutStopSec="2")
    service.call("record_execution", **execution())
    assert service.state() == "active"
    service.host.run("systemctl", "stop", "buddyd")
    assert service.host.show("buddyd.service", "Result") == "success"
    assert service.host.show("buddyd.service", "NRestarts") == "0"


def test_a_wrong_configuration_is_not_tried_again_and_again(service: Service) -> None:
    service.host.path(CONFIG).write_text("[retention]\ntier1_hours = 3\n")
    service.host.run("systemctl", "start", "buddyd", check=False)
    assert service.state() == "failed"
    assert service.host.show("buddyd.service", "ExecMainStatus") == "78"
    assert service.host.show("buddyd.service", "NRestarts") == "0"


def test_what_actors_find_is_in_the_journal_with_its_fields(service: Service) -> None:
    agent = "scout=1 \N{RIGHT-TO-LEFT OVERRIDE}PRIORITY=0"
    costs = [0.01] * 10 + [0.05]
    service.call(
        "record_executions",
        executions=[
            execution(agent_id=agent, tool_name="broken", success=False, cost_actual=cost)
            for cost in costs
        ],
    )
    # Whatever is to be put away is put away, and told, at the stop.
    service.host.run("systemctl", "restart", "buddyd")
    [anomaly] = service.journal("BUDDYD_ACTOR=risk", f"MESSAGE_ID={MESSAGE_IDS['cost anomaly']}")
    assert anomaly["BUDDYD_AGENT_ID"] == agent
    assert anomaly["BUDDYD_TOOL_NAME"] == "broken"
    assert anomaly["PRIORITY"] == "4"
    assert anomaly["CODE_FILE"].endswith("buddyd/actors/risk.py")
    assert anomaly["MESSAGE"].isprintable()
    [low] = service.journal("BUDDYD_ACTOR=registry", "BUDDYD_EVENT=tool became LOW")
    assert low["MESSAGE_ID"] == MESSAGE_IDS["tool became LOW"]
    service.host.run("systemctl", "restart", "buddyd")
    assert len(service.events("cost anomaly")) == len(service.events("tool became LOW")) == 1


def test_nothing_that_a_client_sends_forges_an_entry(service: Service) -> None:
    config = service.host.path(CONFIG)
    config.write_text(config.read_text().replace('level = "info"', 'level = "debug"'))
    for sent in (
        b'{"id":1,"method":"x\\nPRIORITY=0\\nFORGED=1\\u001b[2J"}\n',
        b'{"id":1,"method":"ping"}\nPRIORITY=0\nFORGED=1\n',
        b"\x00\x00\x00\x1f\x1b[2J\nMESSAGE=forged\nFORGED=1\n\n",
        b"\x1b]0;forged\x07" + bytes(range(256)),
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(service.socket))
            connection.sendall(sent)
            # It leaves before it has read its answer, which is said at this level.
    service.call("record_execution", **execution(tool_name="x FORGED=1 PRIORITY=0"))
    service.host.run("systemctl", "stop", "buddyd")
    entries = service.journal("SYSLOG_IDENTIFIER=buddyd")
    assert len(service.events("stopped")) == 1
    assert not any("FORGED" in entry for entry in entries)
    assert all(str(entry["MESSAGE"]).isprintable() for entry in entries)
    assert {entry["PRIORITY"] for entry in entries} <= {"6", "7"}


def test_journalctl_explains_an_event(service: Service) -> None:
    service.call("ping")
    said = service.host.run("journalctl", "--unit=buddyd", "--catalog", "--no-pager")
    assert "Subject: buddyd answers" in said
    assert f"answered at {SOCKET}" in said


def test_only_who_is_let_in_can_ask(service: Service) -> None:
    service.call("ping")
    ask = ("setpriv", "--reuid=nobody", "--clear-groups", "buddyctl", "ping")
    assert "You may not open the socket" in service.host.run(*ask, check=False)
    assert "answers" in service.host.run(*ask[:2], "--groups=buddyd", *ask[3:])


def doctor(service: Service, *who: str) -> dict[str, Any]:
    """What the doctor tells, by the names of its checks."""
    told = json.loads(service.host.run(*who, "buddyctl", "doctor", "--json", check=False))
    return {check["name"]: check for check in told["checks"]}


def test_the_doctor_finds_a_new_installation_well(service: Service) -> None:
    service.call("ping")
    found = doctor(service)
    assert [name for name, check in found.items() if check["state"] == "wrong"] == []
    for name in ("unit", "watchdog", "socket", "daemon", "role", "actors", "folder", "log"):
        assert found[name]["state"] == "ok", found[name]
    assert found["watchdog"]["sentence"].endswith("after 30s.")


def test_the_doctor_tells_others_what_they_may_do(service: Service) -> None:
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup")
    found = doctor(service, *nobody, "--clear-groups")
    assert "--groups buddyd nobody" in found["socket"]["hint"]
    service.host.path(CONFIG).write_text(
        'socket = "/run/buddyd/buddyd.sock"\n[access]\nrecord = ["*"]\nquery = []\n'
    )
    found = doctor(service, *nobody, "--groups=buddyd")
    assert found["role"]["sentence"] == "nobody may record."
    assert "[access]" in found["role"]["hint"]


def test_where_systemd_has_given_up_everybody_is_told_what_to_do(service: Service) -> None:
    service.change(ExecStart="\nExecStart=/bin/false", RestartSec="10ms")
    ask = ("buddyctl", "--timeout", "2", "ping")
    service.host.run(*ask, check=False)
    until(lambda: service.host.show("buddyd.socket", "ActiveState") == "failed", "the start limit")
    command = "systemctl reset-failed buddyd.service buddyd.socket && systemctl start buddyd.socket"
    said = service.host.run(*ask, check=False)
    assert said.count("\n") == 1
    assert "it was started too often" in said
    assert f"`{command}`" in said
    assert f"`{command}`" in doctor(service)["unit"]["hint"]
    service.host.run("rm", "-r", "/run/systemd/system/buddyd.service.d")
    service.host.run("systemctl", "daemon-reload")
    service.host.run("sh", "-c", command)
    assert "answers" in service.host.run(*ask)


def test_a_user_has_an_instance_of_the_own(host: Host) -> None:
    host.run("useradd", "--create-home", "ada")
    uid = host.run("id", "-u", "ada").strip()
    runtime = f"/run/user/{uid}"
    host.run("install", "-d", "-o", "ada", "-g", "ada", "-m", "0700", runtime)
    # Nobody logs in here, so that the manager is started as one program among others.
    manager = ("--uid=ada", "--unit=manager", "--property=Delegate=yes")
    env = (f"--setenv=XDG_RUNTIME_DIR={runtime}", "--setenv=HOME=/home/ada")
    host.run("systemd-run", *manager, *env, "/lib/systemd/systemd", "--user")
    ada = ("setpriv", "--reuid=ada", "--regid=ada", "--init-groups", "env", "HOME=/home/ada")
    ada = (*ada, f"XDG_RUNTIME_DIR={runtime}")
    try:
        until(lambda: host.path(f"{runtime}/systemd/private").exists(), "the manager")
        host.run(*ada, *INSTALL, "--user")
        said = host.run(*ada, "buddyctl", "ping")
        assert said.startswith("buddyd ")
        active = host.run(*ada, "systemctl", "--user", "show", "buddyd", "--property=ActiveState")
        assert active == "ActiveState=active\n"
        told = json.loads(host.run(*ada, "buddyctl", "doctor", "--json", check=False))
        [unit] = [check for check in told["checks"] if check["name"] == "unit"]
        assert unit["state"] == "ok"
        said = host.run(*ada, "buddyd", "uninstall", "--user")
        assert "= /home/ada/.local/state/buddyd" in said
        assert host.path("/home/ada/.local/state/buddyd/analytics.db").exists()
    finally:
        host.run("systemctl", "kill", "--signal=KILL", "manager", check=False)


def test_installing_again_changes_nothing(service: Service) -> None:
    service.call("record_execution", **execution())
    pid = service.pid()
    assert service.host.run(*INSTALL) == "There is nothing to do.\n"
    assert service.pid() == pid


def test_uninstalling_leaves_the_data(service: Service) -> None:
    service.call("record_execution", **execution())
    said = service.host.run("buddyd", "uninstall")
    try:
        assert service.host.show("buddyd.service", "LoadState") == "not-found"
        assert not service.socket.exists()
        assert service.host.path("/var/lib/buddyd/analytics.db").exists()
        assert "/var/lib/buddyd" in said
    finally:
        service.host.run(*INSTALL)
    assert service.records() == 1
