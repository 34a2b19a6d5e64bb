"""What the host has too little of slows the daemon down; it loses nothing, and does not grow."""

import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from buddyd.protocol.framing import Encoding
from tests.support.outside import Client, ObservedDaemon, until
from tests.support.process import execution

MEGABYTE = 2**20
DISTINCT = int(os.environ.get("BUDDYD_TEST_NAMES", "30000"))
"""Distinct names of each kind in the name explosion; a million is the long mode."""
BATCH = 2_000


# File descriptors


def test_running_out_of_descriptors_is_told_and_survived(tmp_path: Path) -> None:
    with ObservedDaemon(tmp_path, most_files=64) as daemon, Client(daemon.socket) as inside:
        assert "result" in inside.ask("ping")
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(daemon.socket)) for _ in range(150)]
            for client in clients:
                client.raw.sendall(client.request("ping"))
            answers = [client.hear() for client in clients[:64]]
            refused = [a["error"]["code"] for a in answers if "error" in a]
            assert set(refused) == {-32000}
            assert 0 < len(refused) < 64
            # Who is in can still record, for the database has its descriptors.
            assert inside.ask("record_execution", **execution())["result"]["accepted"] == 1
            assert "result" in inside.ask("get_executions")
        until(lambda: "result" in daemon.call("ping"), "room for a connection")
        assert daemon.call("get_task_pipeline")["result"]["last_24_hours"]["total_tasks"] == 1
        assert daemon.stop() == 0


def test_it_takes_the_descriptors_that_its_connections_need(tmp_path: Path) -> None:
    with ObservedDaemon(tmp_path) as daemon:
        limits = Path(f"/proc/{daemon.pid}/limits").read_text()
        (line,) = [each for each in limits.splitlines() if each.startswith("Max open files")]
        soft, hard = line.split()[3:5]
        assert int(soft) >= min(1_024 + 128, int(hard))


# A disk, or a neighbour, that takes its time


class Pump:
    """A client that sends records as fast as it may, again where it is told to, and keeps count."""

    def __init__(self, daemon: ObservedDaemon, name: str) -> None:
        self.accepted: set[str] = set()
        self.sent = 0
        self.refused = 0
        self._daemon = daemon
        self._name = name
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._hear)]
        self._client = Client(daemon.socket)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait for the rest of the answers."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def _send(self) -> None:
        while not self._over.is_set():
            name = f"{self._name}-{self.sent}"
            params = execution(execution_id=name, task_id="x" * 256)
            message = {"id": name, "method": "record_execution", "params": params}
            self._send_all(self._client.encoded(message))
            self.sent += 1
        self._client.raw.shutdown(1)

    def _send_all(self, data: bytes) -> None:
        # A daemon that does not read for long is what is tested here.
        while data:
            try:
                data = data[self._client.raw.send(data) :]
            except TimeoutError:
                continue

    def _hear(self) -> None:
        while (answer := self._patient_hear()) is not None:
            if "result" in answer:
                self.accepted.add(answer["id"])
            else:
                assert answer["error"]["code"] == -32000
                self.refused += 1

    def _patient_hear(self) -> Any:  # noqa: ANN401 - whatever the daemon says
        return self._client.hear()


@contextmanager
def pumps(daemon: ObservedDaemon, count: int) -> Iterator[list[Pump]]:
    running = [Pump(daemon, f"pump{index}") for index in range(count)]
    for pump in running:
        pump.start()
    try:
        yield running
    finally:
        for pump in running:
            pump.stop()


def stored_ids(daemon: ObservedDaemon) -> list[str]:
    with closing(sqlite3.connect(f"file:{daemon.database}?mode=ro", uri=True)) as database:
        return [row[0] for row in database.execute("SELECT execution_id FROM tier1_raw_metrics")]


def assert_nothing_lost(daemon: ObservedDaemon, running: list[Pump]) -> None:
    stored = stored_ids(daemon)
    accepted = set().union(*(pump.accepted for pump in running))
    assert accepted <= set(stored)
    assert len(stored) == len(set(stored))
    # Without a kill, what was not acknowledged was refused: it is not there either.
    assert len(stored) == len(accepted)


def can_trace() -> bool:
    """Whether strace may trace another process here."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    return subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode == 0


@contextmanager
def slow_disk(daemon: ObservedDaemon, microseconds: int) -> Iterator[None]:
    """Every fdatasync of the daemon takes so long."""
    inject = f"inject=fdatasync,fsync:delay_enter={microseconds}"
    command = ["strace", "-f", "-q", "-e", "trace=fdatasync,fsync", "-e", inject]
    with (daemon.folder / "strace").open("wb") as output:
        tracer = subprocess.Popen([*command, "-p", str(daemon.pid)], stderr=output)
    try:
        until(lambda: _is_traced(daemon.pid), "strace to attach")
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def _is_traced(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return all("TracerPid:\t0" not in (task / "status").read_text() for task in tasks)


@pytest.mark.skipif(not can_trace(), reason="strace cannot trace processes here")
def test_a_slow_disk_makes_clients_wait_and_memory_stays_flat(tmp_path: Path) -> None:
    with ObservedDaemon(tmp_path) as daemon:
        with pumps(daemon, 4) as running:
            until(lambda: sum(len(p.accepted) for p in running) > 1_000, "the pumps to pump")
            with slow_disk(daemon, 700_000):
                # A second later everything that can be full is.
                time.sleep(1.5)
                full, sent = daemon.figures(), [pump.sent for pump in running]
                time.sleep(2.5)
                assert daemon.figures().memory_bytes - full.memory_bytes < 4 * MEGABYTE
                # At a group of requests for each sync, the rest waits at the clients.
                assert sum(p.sent for p in running) - sum(sent) < 4 * 128 * 8
                assert "result" in daemon.call("ping")
        assert_nothing_lost(daemon, running)
        assert daemon.stop() == 0


def test_an_outside_lock_on_the_database_is_an_honest_error_and_ends(tmp_path: Path) -> None:
    with ObservedDaemon(tmp_path) as daemon:
        with pumps(daemon, 2) as running:
            until(lambda: sum(len(p.accepted) for p in running) > 500, "the pumps to pump")
            before = daemon.figures().memory_bytes
            with closing(sqlite3.connect(daemon.database, isolation_level=None)) as outside:
                outside.execute("BEGIN IMMEDIATE")
                until(lambda: all(pump.refused for pump in running), "a refusal")
                assert "result" in daemon.call("get_all")
                outside.execute("ROLLBACK")
            accepted = [len(pump.accepted) for pump in running]
            until(
                lambda: all(len(p.accepted) > n for p, n in zip(running, accepted, strict=True)),
                "records to be taken again",
            )
            assert daemon.figures().memory_bytes - before < 48 * MEGABYTE
        assert_nothing_lost(daemon, running)


# Names without end


def exploding(begin: int, count: int) -> list[dict[str, object]]:
    return [
        execution(
            task_id=f"task-{index}",
            agent_id=f"agent-{index}",
            tool_name=f"tool-{index}",
            error_type=f"error-{index}",
            success=False,
            cost_actual=0.001,
            tokens_used=1,
        )
        for index in range(begin, begin + count)
    ]


def test_names_without_end_count_as_other_in_bounded_memory(tmp_path: Path) -> None:
    with ObservedDaemon(tmp_path) as daemon, Client(daemon.socket, Encoding.MSGPACK) as client:
        memory = []
        for begin in range(0, DISTINCT, BATCH):
            answer = client.ask("record_executions", executions=exploding(begin, BATCH))
            assert answer["result"]["accepted"] == BATCH
            # What waits to be folded takes memory, too, and is bounded by itself.
            everything = client.ask("get_all")["result"]
            memory.append(daemon.figures().memory_bytes)
        grown = memory[-1] - memory[len(memory) // 2]
        assert grown < 24 * MEGABYTE, [m // MEGABYTE for m in memory]

        pipeline = everything["pipeline"]["last_24_hours"]
        assert pipeline["total_tasks"] == pipeline["failed_tasks"] == DISTINCT
        assert len(pipeline["tool_breakdown"]) == 1_001
        assert pipeline["tool_breakdown"]["~other"]["total"] == DISTINCT - 1_000
        assert everything["agents"]["total_agents"] == 1_001
        usage = everything["costs"]
        assert usage["api_usage"]["total_tokens_24h"] == DISTINCT
        assert usage["costing"]["execution_costs_24h"] == pytest.approx(DISTINCT / 1_000, rel=1e-12)
        other = everything["risks"]["failure_patterns"]["~other"]
        assert sum(other["error_types"].values()) == DISTINCT - 1_000
        assert len(json.dumps(everything)) < 8 * MEGABYTE
        assert daemon.stop() == 0
