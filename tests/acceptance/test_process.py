"""The daemon as its host sees it: a process with a socket, a database, signals and exit codes."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.outside import until
from tests.support.process import PATIENCE_SECONDS, DaemonProcess, PatchedDaemon, execution

QUERIES = [
    "get_agents_status",
    "get_predictive_capacity",
    "get_task_pipeline",
    "get_api_usage_and_costing",
    "get_system_learning",
    "get_risk_patterns",
    "get_tool_recommendations",
]
SAMPLE = Path(__file__).parent.parent / "data" / "tau2_sample.jsonl"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as running:
        yield running


def sample_shifted_to(end: float) -> list[dict[str, object]]:
    records = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    shift = end - max(record["finished_at"] for record in records)
    return [record | {"finished_at": record["finished_at"] + shift} for record in records]


def comparable(answers: list[dict[str, object]]) -> list[object]:
    """Answers without what changes with every moment."""
    kept = json.loads(json.dumps([answer["result"] for answer in answers]))
    for result in kept:
        result.pop("timestamp")
        result.get("storage", {}).pop("database_size_mb", None)
        for forecast in result.get("forecasts", []):
            forecast.pop("predicted_completion_time")
            # While the first window is open, a share of the time that has passed.
            for key in ("estimated_available_capacity", "capacity_low", "capacity_high"):
                forecast.pop(key)
    return kept


def test_every_query_is_answered_with_real_executions(daemon: DaemonProcess) -> None:
    receipt = daemon.call("record_executions", executions=sample_shifted_to(time.time()))
    assert receipt["result"] == {"accepted": 260, "duplicates": 0, "expired": 0}

    answers = daemon.call_all([(query, {}) for query in QUERIES])

    agents, _, pipeline, _, learning, risks, recommendations = (a["result"] for a in answers)
    assert [agent["agent_id"] for agent in agents["agents"]] == ["whissle"]
    assert pipeline["last_24_hours"]["total_tasks"] == 260
    assert learning["confidence_distribution"]["low_confidence"] >= 1
    assert "book_reservation" in risks["failure_patterns"]
    assert recommendations["recommendations"][0]["tool"] == "book_reservation"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_answers_are_the_same_after_a_restart(daemon: DaemonProcess, end: signal.Signals) -> None:
    daemon.call("record_executions", executions=sample_shifted_to(time.time() - 60))
    daemon.call("start_execution", task_id="open", agent_id="starter", tool_name="tool")
    daemon.call("report_agent", agent_id="reporter", queue_depth=3, concurrency=2)
    before = comparable(daemon.call_all([(query, {}) for query in QUERIES]))

    daemon.stop(end)
    daemon.start()

    assert comparable(daemon.call_all([(query, {}) for query in QUERIES])) == before


def test_a_stop_is_clean(daemon: DaemonProcess) -> None:
    daemon.call("record_execution", **execution())

    assert daemon.stop(signal.SIGTERM) == 0

    assert not daemon.socket.exists()
    assert not Path(f"{daemon.database}-wal").exists()
    with sqlite3.connect(daemon.database) as database:
        assert database.execute("SELECT count(*) FROM tier1_raw_metrics").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM tier2_hourly_summaries").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM tier3_tool_profiles").fetchone() == (1,)


def test_an_idle_connection_does_not_hold_up_a_stop(daemon: DaemonProcess) -> None:
    with socket.socket(socket.AF_UNIX) as idle:
        idle.connect(str(daemon.socket))
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 5
        assert idle.recv(1) == b""


@pytest.mark.parametrize("round_", range(8))
def test_a_stop_at_any_moment_of_the_start_is_clean(tmp_path: Path, round_: int) -> None:
    daemon = DaemonProcess(tmp_path)
    with daemon:
        daemon.call("record_execution", **execution())
        daemon.stop(signal.SIGKILL)
        daemon.process = subprocess.Popen(daemon.command, stderr=subprocess.PIPE, text=True)
        until(lambda: listens_to(daemon, signal.SIGTERM), "it to listen to signals")
        time.sleep(round_ * 0.005)
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.call("get_task_pipeline")["result"]["last_24_hours"]["total_tasks"] == 1


def listens_to(daemon: DaemonProcess, number: signal.Signals) -> bool:
    """Whether a signal is the daemon's business, and not the kernel's any more."""
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    [caught] = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


CHECKS_LONG = """
import time
from buddyd.storage import recovery
make_sound = recovery.make_sound
def slowly(*arguments):
    print('{"event": "it checks"}', file=sys.stderr, flush=True)
    time.sleep(1.0)
    make_sound(*arguments)
recovery.make_sound = slowly
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_the_database_is_checked_is_clean(
    tmp_path: Path, number: signal.Signals
) -> None:
    daemon = PatchedDaemon(tmp_path, CHECKS_LONG)
    daemon.process = subprocess.Popen(daemon.command, stderr=subprocess.PIPE, text=True)
    with daemon:
        daemon.wait_for("it checks")
        daemon.process.send_signal(number)
        # At once, though what is under way has to end first.
        assert daemon.wait_for("stopping")["signal"] == number.name
        _, said = daemon.process.communicate(timeout=PATIENCE_SECONDS)
    assert daemon.process.returncode == 0
    assert "Traceback" not in said
    assert not daemon.socket.exists()


def test_a_reload_while_the_database_is_checked_comes_later(tmp_path: Path) -> None:
    daemon = PatchedDaemon(tmp_path, CHECKS_LONG)
    daemon.process = subprocess.Popen(daemon.command, stderr=subprocess.PIPE, text=True)
    with daemon:
        daemon.wait_for("it checks")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("configuration reloaded")
        daemon.wait_for("started")
        assert daemon.stop() == 0


def test_a_stop_answers_what_it_has_received(daemon: DaemonProcess) -> None:
    requests = [
        {"id": index, "method": "record_execution", "params": execution(execution_id=f"id-{index}")}
        for index in range(100)
    ]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(daemon.socket))
        connection.sendall("".join(json.dumps(request) + "\n" for request in requests).encode())
        lines = connection.makefile()
        first = json.loads(lines.readline())
        assert daemon.stop() == 0
        answered = [first, *(json.loads(line) for line in lines)]
    with sqlite3.connect(daemon.database) as database:
        (stored,) = database.execute("SELECT count(*) FROM tier1_raw_metrics").fetchone()
    assert sum(answer["result"]["accepted"] for answer in answered) == stored


def test_a_start_in_the_far_past_spoils_no_answer(daemon: DaemonProcess) -> None:
    start = {"task_id": "old", "agent_id": "agent", "tool_name": "tool"}
    refused = daemon.call("start_execution", started_at=-1e11, **start)
    assert refused["error"]["data"]["path"] == "$.started_at"
    daemon.call("start_execution", started_at=-6e10, **start)
    daemon.call("report_agent", agent_id="agent")
    answer = daemon.call("get_all")
    assert answer["result"]["agents"]["agents"][0]["current_task_id"] is None


def test_what_was_acknowledged_survives_a_kill(daemon: DaemonProcess) -> None:
    acknowledged: list[str] = []

    def record() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(daemon.socket))
            with connection.makefile() as lines:
                for index in range(100_000):
                    params = execution(execution_id=f"id-{index}")
                    request = {"id": index, "method": "record_execution", "params": params}
                    try:
                        connection.sendall(json.dumps(request).encode() + b"\n")
                        answer = lines.readline()
                    except OSError:
                        return
                    if not answer.endswith("\n"):
                        return
                    acknowledged.append(f"id-{index}")
                    if len(acknowledged) == 200:
                        enough.set()

    enough = threading.Event()
    recorder = threading.Thread(target=record)
    recorder.start()
    assert enough.wait(PATIENCE_SECONDS)
    daemon.stop(signal.SIGKILL)
    recorder.join()
    daemon.start()

    stored: list[str] = []
    cursor = None
    while True:
        page = daemon.call("get_executions", limit=1000, before=cursor)["result"]
        stored += [row["execution_id"] for row in page["executions"]]
        if (cursor := page["next"]) is None:
            break
    assert set(acknowledged) <= set(stored)
    assert len(stored) - len(acknowledged) <= 1
    assert len(set(stored)) == len(stored)


def test_it_is_found_again_by_its_lines_in_json(daemon: DaemonProcess) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(daemon.socket))
        connection.sendall(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        answer = json.loads(connection.makefile().readline())
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] == 1
    assert answer["result"]["protocol"] == 1


def test_a_second_daemon_leaves_the_first_one_alone(daemon: DaemonProcess, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    same_database = DaemonProcess(elsewhere)
    same_database.database = daemon.database
    same_socket = DaemonProcess(elsewhere)
    same_socket.socket = daemon.socket
    for second, text in (same_database, "has the database"), (same_socket, "listens at"):
        done = subprocess.run(second.command, capture_output=True, text=True, check=False)
        assert done.returncode == 75
        assert text in done.stderr
    assert daemon.call("ping")["result"]["protocol"] == 1
    assert daemon.call("record_execution", **execution())["result"]["accepted"] == 1


def test_a_socket_that_a_dead_daemon_left_is_taken_over(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        daemon.stop(signal.SIGKILL)
        assert daemon.socket.exists()
        daemon.start()
        assert "result" in daemon.call("ping")


def test_nothing_it_makes_can_be_read_by_others(daemon: DaemonProcess) -> None:
    daemon.call("record_execution", **execution())
    modes = {
        file.name: stat.S_IMODE(file.stat().st_mode)
        for file in daemon.folder.iterdir()
        if file.name.startswith(("analytics.db", "s"))
    }
    assert modes.pop("s") == 0o660
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[retention]\ntier1_hours = 3\n", "retention.tier1_hours"),
        ("[limits]\nmax_agent = 3\n", "limits.max_agent"),
        ("durability = \n", "line 1"),
    ],
)
def test_a_wrong_configuration_is_named_and_exits_78(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "buddyd.toml"
    file.write_text(text)
    for option in ([], ["--check-config"]):
        command = [sys.executable, "-m", "buddyd", "--config", str(file), *option]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 78
        assert str(file) in done.stderr
        assert reason in done.stderr


def test_a_database_that_cannot_be_opened_exits_74(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    daemon.database.mkdir()
    done = subprocess.run(daemon.command, capture_output=True, text=True, check=False)
    assert done.returncode == 74
    assert str(daemon.database) in done.stderr


def test_a_database_that_another_program_keeps_locked_exits_74(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        daemon.stop()
    with sqlite3.connect(daemon.database, isolation_level=None) as locker:
        locker.execute("BEGIN EXCLUSIVE")
        done = subprocess.run(daemon.command, capture_output=True, text=True, check=False)
    locker.close()
    assert done.returncode == 74
    assert str(daemon.database) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_database_of_a_newer_buddyd_is_not_touched(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        daemon.stop()
    with sqlite3.connect(daemon.database) as database:
        database.execute("PRAGMA user_version = 999")
    database.close()
    before = daemon.database.read_bytes()
    done = subprocess.run(daemon.command, capture_output=True, text=True, check=False)
    assert done.returncode == 74
    assert "newer buddyd" in done.stderr
    assert daemon.database.read_bytes() == before


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="there is no sqlite3 program here")
def test_the_sqlite3_program_reads_the_database_while_it_runs(daemon: DaemonProcess) -> None:
    daemon.call("record_execution", **execution(tool_name="search"))
    query = "SELECT tool_name, duration_seconds FROM tier1_raw_metrics"
    done = subprocess.run(
        ["sqlite3", "-readonly", str(daemon.database), query],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "search|1.0\n"
    assert daemon.call("record_execution", **execution())["result"]["accepted"] == 1


def test_where_it_is_started_without_a_standard_error_its_log_goes_into_no_file(
    tmp_path: Path,
) -> None:
    daemon = DaemonProcess(tmp_path)
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    daemon.process = subprocess.Popen([*shell, *daemon.command])
    with daemon:
        while not daemon.socket.exists():
            time.sleep(0.01)
        assert "result" in daemon.call("ping")
        folder = Path(f"/proc/{daemon.process.pid}/fd")
        assert [(folder / number).readlink().name for number in "012"] == ["null"] * 3
        assert daemon.stop() == 0


def test_sighup_takes_over_a_changed_configuration(tmp_path: Path) -> None:
    file = tmp_path / "buddyd.toml"
    file.write_text("[learning]\nhigh_success_rate = 0.95\n")
    with DaemonProcess(tmp_path, "--config", str(file)) as daemon:
        executions = [execution(success=index > 0) for index in range(10)]
        daemon.call("record_executions", executions=executions)
        assert level_of_the_tool(daemon) == "MEDIUM"

        file.write_text("[learning]\nhigh_success_rate = 0.9\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("configuration reloaded")
        assert level_of_the_tool(daemon) == "HIGH"

        file.write_text("[learning]\nhigh_rate = 0.5\n")
        daemon.process.send_signal(signal.SIGHUP)
        assert (
            "high_rate"
            in daemon.wait_for("configuration not reloaded, the old one stays")["reason"]
        )
        assert level_of_the_tool(daemon) == "HIGH"


# What systemd does between fork and exec: the socket is descriptor 3 of its process.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def level_of_the_tool(daemon: DaemonProcess) -> str:
    return daemon.call("get_system_learning")["result"]["tool_profiles"][0]["confidence_level"]


def test_it_serves_the_socket_that_systemd_passes_and_leaves_its_file(tmp_path: Path) -> None:
    path = tmp_path / "activated"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        daemon = DaemonProcess(tmp_path)
        daemon.socket = path
        daemon.process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *daemon.command],
            env=os.environ | {"LISTEN_FDS": "1"},
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        with daemon:
            assert daemon.wait_for("started")["socket"] == str(path)
            assert "result" in daemon.call("ping")
            assert daemon.stop() == 0
    assert path.exists()


def test_it_tells_systemd_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_SECONDS)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with DaemonProcess(tmp_path, env=env) as daemon:
            told = [manager.recv(4096).decode()]
            while told[-1] != "READY=1":
                told.append(manager.recv(4096).decode())
            # While it starts, it asks for the time that it takes.
            assert told[0].startswith("EXTEND_TIMEOUT_USEC=")
            assert "result" in daemon.call("ping")
            daemon.stop()
            while (message := manager.recv(4096).decode()) != "STOPPING=1":
                assert message.startswith("STATUS=") or message == "READY=1"
