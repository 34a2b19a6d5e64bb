"""The examples run, as they are, beside a daemon."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.buddyctl import environment
from tests.support.process import DaemonProcess

EXAMPLES = Path(__file__).parent


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as daemon:
        yield daemon


def run(daemon: DaemonProcess, *command: str, **changes: str) -> str:
    """What an example prints."""
    done = subprocess.run(
        command,
        env=environment(daemon.socket, BUDDYD_SPOOL=str(daemon.folder / "spool"), **changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tools(daemon: DaemonProcess) -> dict[str, tuple[int, int]]:
    """What has been recorded: executions of each tool, and how many of them failed."""
    result: dict[str, Any] = daemon.call("get_task_pipeline")["result"]
    breakdown = result["last_24_hours"]["tool_breakdown"]
    return {name: (tool["total"], tool["failed"]) for name, tool in breakdown.items()}


def test_an_agent_with_threads(daemon: DaemonProcess) -> None:
    printed = run(daemon, sys.executable, str(EXAMPLES / "threads_agent.py"))
    assert "delivered=40" in printed
    assert tools(daemon) == {"web_search": (20, 0), "browser": (20, 4)}


def test_an_agent_with_threads_without_a_daemon(daemon: DaemonProcess) -> None:
    daemon.stop()
    run(daemon, sys.executable, str(EXAMPLES / "threads_agent.py"))
    daemon.start()
    assert "delivered=80" in run(daemon, sys.executable, str(EXAMPLES / "threads_agent.py"))
    assert tools(daemon) == {"web_search": (40, 0), "browser": (40, 8)}


def test_an_asyncio_agent(daemon: DaemonProcess) -> None:
    printed = run(daemon, sys.executable, str(EXAMPLES / "asyncio_agent.py"))
    assert sorted(printed.splitlines()) == ["geocode: 3 of 4", "route: 3 of 4"]


def test_a_shell_script(daemon: DaemonProcess) -> None:
    program = f"{sys.executable} -m buddyd.cli.entry"
    printed = run(daemon, "sh", str(EXAMPLES / "shell_agent.sh"), BUDDYCTL=program)
    assert "compared: 3" in printed
    pipeline = json.loads(printed.splitlines()[-1])
    assert pipeline["last_24_hours"]["total_tasks"] == 6
    assert tools(daemon) == {"list": (1, 0), "compare": (1, 1), "upload": (1, 1), "verify": (3, 0)}


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_a_client_in_javascript(daemon: DaemonProcess) -> None:
    printed = run(daemon, "node", str(EXAMPLES / "agent.mjs"), PATH=os.environ["PATH"])
    assert printed.splitlines() == [
        "as expected: SyntaxError",
        "accepted 100, duplicates 0",
        "accepted 0, duplicates 100",
        "-32602 $.limit",
        "104 tasks, 1 failed",
    ]
    assert tools(daemon) == {"fetch": (3, 0), "parse": (1, 1), "bulk": (100, 0)}
