"""SIGHUP to a real daemon that has something to do: the new settings hold, and nothing is lost."""

import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from buddyd.client import Client
from tests.support.outside import Client as Asking
from tests.support.outside import ObservedDaemon, until
from tests.support.process import DaemonProcess, PatchedDaemon, execution
from tests.support.samples import execution as sample

RELOADS, BATCH = 10, 50
STARTS_SLOWLY = """
import sys
import anyio
from buddyd.actors.registry import RegistryActor
start = RegistryActor.start
async def start_slowly(actor):
    await start(actor)
    print('{"event": "nearly started"}', file=sys.stderr, flush=True)
    await anyio.sleep(1.5)
RegistryActor.start = start_slowly
"""
IS_BUSY = """
import sys
import anyio
from buddyd.actors.registry import RegistryActor
turn = RegistryActor.turn
async def be_busy(actor, envelopes):
    if envelopes:
        print('{"event": "busy"}', file=sys.stderr, flush=True)
        await anyio.sleep_forever()
    return await turn(actor, envelopes)
RegistryActor.turn = be_busy
daemon.PROJECTION_MAILBOX = 1
"""


def rates(high: float) -> str:
    """A configuration under which a tool is HIGH from this success rate on."""
    return f"[learning]\nhigh_success_rate = {high}\n"


def reload(daemon: DaemonProcess, configuration: str) -> None:
    (daemon.folder / "buddyd.toml").write_text(configuration)
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("configuration reloaded")


def the_tool(daemon: DaemonProcess) -> dict[str, Any]:
    tool: dict[str, Any] = daemon.call("get_system_learning")["result"]["tool_profiles"][0]
    return tool


def test_records_that_flow_meanwhile_are_counted_once_by_all(tmp_path: Path) -> None:
    file = tmp_path / "buddyd.toml"
    file.write_text(rates(0.95))
    with ObservedDaemon(tmp_path, "--config", str(file)) as daemon, Client(daemon.socket) as client:
        batches, enough = 0, threading.Event()

        def record() -> None:
            nonlocal batches
            while not enough.is_set():
                client.record_executions(
                    sample(success=n % 10 > 0, cost_actual=0.001) for n in range(BATCH)
                )
                batches += 1

        writer = threading.Thread(target=record)
        writer.start()
        until(lambda: batches > 0, "the first records")
        for n in range(RELOADS):
            reload(daemon, rates(0.85 if n % 2 else 0.95))
            assert the_tool(daemon)["confidence_level"] == ("HIGH" if n % 2 else "MEDIUM")
        enough.set()
        writer.join()
        count = batches * BATCH
        found = daemon.call("get_all")["result"]
        assert found["pipeline"]["last_24_hours"]["total_tasks"] == count
        assert found["costs"]["costing"]["execution_costs_24h"] == round(count * 0.001, 9)
        assert found["learning"]["tool_profiles"][0]["failed_executions"] == count // 10
        assert found["risks"]["failure_patterns"]["web_search"]["total"] == count
        assert [agent["executions_24h"] for agent in found["agents"]["agents"]] == [count]
        actors = daemon.call("get_daemon_status")["result"]["actors"]
        assert {actor["restarts"] for actor in actors} == {0}


def test_a_change_that_comes_while_the_daemon_starts_is_not_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "buddyd.toml"
    file.write_text(rates(0.95))
    with DaemonProcess(tmp_path, "--config", str(file)) as before:
        before.call("record_executions", executions=[execution(success=n > 0) for n in range(10)])
        assert the_tool(before)["confidence_level"] == "MEDIUM"
        before.stop()
    daemon = PatchedDaemon(tmp_path, STARTS_SLOWLY)
    daemon.arguments = ("--config", str(file))
    daemon.process = subprocess.Popen(daemon.command, stderr=subprocess.PIPE, text=True)
    with daemon:
        daemon.wait_for("nearly started")
        reload(daemon, rates(0.9))
        daemon.wait_for("started")
        assert the_tool(daemon)["confidence_level"] == "HIGH"


def test_what_takes_a_restart_is_named_and_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "buddyd.toml"
    file.write_text("")
    with DaemonProcess(tmp_path, "--config", str(file)) as daemon:
        assert daemon.process is not None
        before = daemon.call("get_daemon_status")["result"]["settings"]
        file.write_text('[limits]\nmax_tools = 7\n[log]\nformat = "console"\nlevel = "warning"\n')
        daemon.process.send_signal(signal.SIGHUP)
        warning = daemon.wait_for("these settings take a restart to change")
        assert warning["keys"] == "limits, log.format"
        until(lambda: log_settings(daemon)["level"] == "warning", "the reload")
        after = daemon.call("get_daemon_status")["result"]["settings"]
        assert after["limits"] == before["limits"]
        assert after["log"] == {"level": "warning", "format": "auto"}


def log_settings(daemon: DaemonProcess) -> dict[str, Any]:
    settings: dict[str, Any] = daemon.call("get_daemon_status")["result"]["settings"]["log"]
    return settings


def test_an_order_to_stop_is_heard_though_a_busy_actor_has_not_reloaded_yet(tmp_path: Path) -> None:
    file = tmp_path / "buddyd.toml"
    file.write_text(rates(0.95))
    daemon = PatchedDaemon(tmp_path, IS_BUSY)
    daemon.arguments = ("--config", str(file))
    with daemon, Asking(daemon.socket) as client:
        client.raw.sendall(client.request("get_system_learning"))
        daemon.wait_for("busy")
        # All that there is room for.
        client.raw.sendall(client.request("get_system_learning"))
        until(lambda: waiting(daemon, "registry") == 1, "a full mailbox")
        reload(daemon, rates(0.9))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for("stopping")


def waiting(daemon: DaemonProcess, name: str) -> int:
    """How many requests wait for an actor."""
    actors = daemon.call("get_daemon_status")["result"]["actors"]
    return next(int(actor["mailbox_depth"]) for actor in actors if actor["name"] == name)
