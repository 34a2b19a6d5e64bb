"""Recorders against a real daemon that is killed, and killed themselves: every record, once.

BUDDYD_FAULT_ROUNDS and BUDDYD_FAULT_SEED count here as in `test_kill.py`.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from buddyd.client import Recorder
from tests.faults.kill_support import ROUNDS, SEED, committed, needs_strace
from tests.support.outside import until
from tests.support.process import DaemonProcess

FLUSH_INTERVAL = 0.5
AGENTS = 2
THREADS = 2

# Says on standard output what it has recorded, and when: each line after the call has returned.
AGENT = """
import os, sys, threading, time
from buddyd.client import Recorder

name, socket, spool, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
recorder = Recorder(name, socket=socket, spool=spool, flush_interval=0.5)
stop = threading.Event()

def work(thread):
    number = 0
    while not stop.is_set():
        task = f"{name}-{thread}-{number}"
        assert recorder.record_execution(task, name, "tool", 0.001, True)
        os.write(1, f"{time.time()} {task}\\n".encode())
        number += 1
        time.sleep(0.001)

workers = [threading.Thread(target=work, args=[thread]) for thread in range(threads)]
for worker in workers:
    worker.start()
sys.stdin.read()
stop.set()
for worker in workers:
    worker.join()
"""


class Agent:
    """A process that records from its start on, until it is told to end or killed."""

    def __init__(self, name: str, daemon: DaemonProcess, spool: Path) -> None:
        self._said = daemon.folder / f"{name}.said"
        command = [sys.executable, "-c", AGENT, name, str(daemon.socket), str(spool), str(THREADS)]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.DEVNULL
            )

    def recorded(self, before: float = float("inf")) -> list[str]:
        """The tasks whose recording it has said to be done before that time."""
        *whole, _ = self._said.read_text().split("\n")
        said = [line.split(" ") for line in whole]
        return [task for at, task in said if float(at) < before]

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def kill(self) -> float:
        """Kill it; the time just before."""
        at = time.time()
        self.process.kill()
        self.process.wait(60)
        return at

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        if self.process.stdin is not None:
            self.process.stdin.close()


@contextmanager
def agents(count: int, daemon: DaemonProcess, spool: Path) -> Iterator[list[Agent]]:
    running = [Agent(f"a{number}", daemon, spool) for number in range(count)]
    try:
        yield running
    finally:
        for agent in running:
            agent.close()


def stored(database: Path) -> list[str]:
    """The tasks that the daemon has, in the order of its commits; it must be dead."""
    entries = committed(database)
    return [
        execution.task_id
        for entry in entries
        for execution in getattr(entry.request, "executions", [])
    ]


def deliver_the_rest(daemon: DaemonProcess, spool: Path) -> None:
    """What the next agent of this user does, as soon as it records anything."""
    with Recorder("next", socket=daemon.socket, spool=spool) as recorder:
        recorder.record_execution("next", "next", "tool", 0.001, True)
        assert recorder.flush(60)


def older_than_a_second(agent: Agent) -> int:
    return len(agent.recorded(before=time.time() - 1.0))


def in_order(tasks: list[str]) -> bool:
    """Whether the records of each thread came in the order in which it made them."""
    last: dict[str, int] = {}
    for task in tasks:
        thread, _, number = task.rpartition("-")
        if int(number) != last.get(thread, -1) + 1:
            return False
        last[thread] = int(number)
    return True


def test_daemon_and_agents_are_killed_at_random_and_every_record_arrives_once(
    tmp_path: Path,
) -> None:
    print(f"seed {SEED}")
    luck = random.Random(SEED)
    daemon, spool = DaemonProcess(tmp_path), tmp_path / "spool"
    with daemon, agents(AGENTS, daemon, spool) as running:
        for _ in range(max(3, ROUNDS // 2)):
            time.sleep(luck.uniform(0.0, 0.4))
            daemon.stop(signal.SIGKILL)
            time.sleep(luck.uniform(0.0, 0.4))
            daemon.start()
        for agent in running:
            agent.end()
        deliver_the_rest(daemon, spool)
        said = [task for agent in running for task in agent.recorded()]
        assert daemon.stop() == 0
    found = [task for task in stored(daemon.database) if task != "next"]
    assert sorted(found) == sorted(said)
    assert in_order(found)
    assert len(said) > 100
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("daemon_is", ["up", "down", "stopped"])
def test_a_killed_agent_loses_nothing_that_is_older_than_the_flush_interval(
    tmp_path: Path, daemon_is: str
) -> None:
    daemon, spool = DaemonProcess(tmp_path), tmp_path / "spool"
    with daemon:
        if daemon_is == "down":
            daemon.stop(signal.SIGKILL)
        with agents(AGENTS, daemon, spool) as running:
            until(lambda: all(older_than_a_second(agent) > 50 for agent in running), "records")
            if daemon_is == "stopped":
                assert daemon.process is not None
                os.kill(daemon.process.pid, signal.SIGSTOP)
                time.sleep(2 * FLUSH_INTERVAL)
            killed_at = {agent: agent.kill() for agent in running}
            if daemon_is == "stopped":
                os.kill(daemon.process.pid, signal.SIGCONT)
            if daemon_is == "down":
                daemon.start()
            deliver_the_rest(daemon, spool)
            assert daemon.stop() == 0
            found = stored(daemon.database)
            for agent, at in killed_at.items():
                kept = agent.recorded(before=at - FLUSH_INTERVAL)
                assert len(kept) > 50
                assert set(kept) - set(found) == set()
    assert len(found) == len(set(found))
    assert in_order([task for task in found if task != "next"])


def test_a_durable_record_is_synced_with_its_name_before_the_call_returns(tmp_path: Path) -> None:
    needs_strace()
    program = """
import os, sys
from buddyd.client import Recorder
recorder = Recorder("a", socket="/nowhere", spool=sys.argv[1])
assert recorder.record_execution("t", "a", "tool", 1.0, True, durable=True)
os.write(1, b"returned")
"""
    trace, spool = tmp_path / "trace", tmp_path / "spool"
    strace = ["strace", "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=fdatasync,fsync,write"]
    command = [*strace, sys.executable, "-c", program, str(spool)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"returned"
    before, _, _ = trace.read_text().partition('"returned"')
    assert re.search(rf"fdatasync\(\d+<{re.escape(str(spool))}/.*\.spool>", before)
    assert re.search(rf"fsync\(\d+<{re.escape(str(spool))}>", before)
