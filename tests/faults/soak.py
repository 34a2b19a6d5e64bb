"""An hour of mixed load with faults, through which the daemon has to stay as it is.

    python -m tests.faults.soak --minutes 60

Good clients record and ask, rough ones send garbage, break off, do not read, hold a lock on the
database, have copies made. Every minute a line is printed; at the end a verdict. It exits 1 where
a figure was not flat, an acknowledged record is missing, or the log tells of a fault.
"""

import argparse
import contextlib
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from msgspec import Struct

from buddyd.protocol.framing import Encoding
from tests.support.outside import Client, ObservedDaemon, percentile
from tests.support.process import execution

MEGABYTE = 2**20
RECORDERS = 3
BATCH = 20
PAUSE_SECONDS = 0.05
CHAOS_SECONDS = 0.5
MOST_GROWTH = 0.10
GROWTH_BYTES = 8 * MEGABYTE
MOST_WAL_BYTES = 64 * MEGABYTE
MOST_SECONDS = 1.0
"""What the slowest hundredth of the calls may take, with a neighbour's lock of half a second."""


class Line(Struct, frozen=True):
    """The figures of a minute."""

    minute: float
    memory: int
    descriptors: int
    threads: int
    wal: int
    calls: int
    p50: float
    p99: float
    accepted: int
    refused: int

    def __str__(self) -> str:
        return (
            f"{self.minute:7.1f} {self.memory / MEGABYTE:9.1f} {self.descriptors:5} "
            f"{self.threads:8} {self.wal / MEGABYTE:7.1f} {self.calls:8} {self.p50 * 1e3:8.2f} "
            f"{self.p99 * 1e3:8.2f} {self.accepted:10} {self.refused:8}"
        )


HEADINGS = "minutes memory/MB   fds  threads  WAL/MB    calls   p50/ms   p99/ms   accepted  refused"


class Soak:
    """The load, and what it sees."""

    def __init__(self, daemon: ObservedDaemon) -> None:
        self.daemon = daemon
        self.accepted = 0
        self.refused = 0
        self._took: list[float] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: list[str] = []

    def start(self) -> None:
        """Let everybody in."""
        self._run(self._ask)
        self._run(self._rage)
        for index in range(RECORDERS):
            self._run(lambda index=index: self._record(index))  # type: ignore[misc]

    def _run(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:
                self.failures.append(repr(error))

        thread = threading.Thread(target=guarded)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """See everybody out."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _record(self, index: int) -> None:
        encoding = Encoding.MSGPACK if index % 2 else Encoding.JSON
        chance = random.Random(index)
        with Client(self.daemon.socket, encoding) as client:
            while not self._over.wait(PAUSE_SECONDS):
                batch = [self._execution(chance) for _ in range(BATCH)]
                answer = self._timed(client, "record_executions", executions=batch)
                with self._lock:
                    if "result" in answer:
                        self.accepted += BATCH
                    else:
                        self.refused += BATCH

    @staticmethod
    def _execution(chance: random.Random) -> dict[str, object]:
        return execution(
            task_id=f"task-{chance.randrange(10**9)}",
            agent_id=f"agent-{chance.randrange(50)}",
            tool_name=f"tool-{chance.randrange(40)}",
            success=chance.random() < 0.9,
            duration_seconds=chance.expovariate(0.2),
            cost_actual=chance.random(),
        )

    def _ask(self) -> None:
        with Client(self.daemon.socket) as client:
            while not self._over.wait(PAUSE_SECONDS):
                self._timed(client, "ping")
                self._timed(client, "get_all")
                self._timed(client, "get_executions", limit=100)

    def _timed(self, client: Client, method: str, **params: object) -> dict[str, object]:
        begin = time.monotonic()
        answer: dict[str, object] = client.ask(method, **params)
        with self._lock:
            self._took.append(time.monotonic() - begin)
        return answer

    def _rage(self) -> None:
        chance = random.Random(0)
        faults = (
            self._garbage,
            self._break_off,
            self._deaf,
            self._storm,
            self._lock_out,
            self._copy,
        )
        while not self._over.wait(CHAOS_SECONDS):
            with contextlib.suppress(ConnectionError, TimeoutError):
                chance.choice(faults)()

    def _garbage(self) -> None:
        with Client(self.daemon.socket) as client:
            client.raw.sendall(b"{" + os.urandom(100_000).replace(b"\n", b"") + b"\n")
            client.hear()

    def _break_off(self) -> None:
        for _ in range(20):
            with Client(self.daemon.socket) as client:
                client.raw.sendall(client.request("get_all") + b'{"id":')

    def _deaf(self) -> None:
        with Client(self.daemon.socket) as client:
            client.raw.settimeout(0.5)
            client.raw.sendall(client.request("get_all") * 5_000)

    def _storm(self) -> None:
        with ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(Client(self.daemon.socket))

    def _lock_out(self) -> None:
        with closing(sqlite3.connect(self.daemon.database, isolation_level=None)) as outside:
            outside.execute("PRAGMA busy_timeout = 5000")
            outside.execute("BEGIN IMMEDIATE")
            self._over.wait(0.5)
            outside.execute("ROLLBACK")

    def _copy(self) -> None:
        copy = self.daemon.folder / "copy.db"
        copy.unlink(missing_ok=True)
        self.daemon.call("backup", path=str(copy))

    def line(self, minute: float) -> Line:
        """The figures since the last line."""
        with self._lock:
            took, self._took = self._took, []
        figures = self.daemon.figures()
        wal = Path(f"{self.daemon.database}-wal")
        return Line(
            minute=minute,
            memory=figures.memory_bytes,
            descriptors=figures.descriptors,
            threads=figures.threads,
            wal=wal.stat().st_size if wal.exists() else 0,
            calls=len(took),
            p50=percentile(took or [0.0], 0.5),
            p99=percentile(took or [0.0], 0.99),
            accepted=self.accepted,
            refused=self.refused,
        )


def verdict(lines: list[Line]) -> list[str]:
    """What was not flat; the first fifth of the time is for warming up."""
    flat = lines[len(lines) // 5 :]
    half = len(flat) // 2
    before, after = flat[:half] or flat, flat[half:]
    found = []
    if _top(after, "memory") > _top(before, "memory") * (1 + MOST_GROWTH) + GROWTH_BYTES:
        found.append("memory grew")
    # A storm of connections may go on in the moment of a line.
    if min(line.descriptors for line in after) > min(line.descriptors for line in before) + 8:
        found.append("descriptors grew")
    if min(line.threads for line in after) > _top(before, "threads"):
        found.append("threads grew")
    if _top(after, "wal") > MOST_WAL_BYTES:
        found.append("the write-ahead log grew")
    if _top(after, "p99") > MOST_SECONDS:
        found.append("calls became slow")
    return found


def _top(lines: list[Line], name: str) -> float:
    return max(float(getattr(line, name)) for line in lines)


def run(minutes: float, every: float) -> list[str]:
    """Soak a daemon; returns what was wrong."""
    with tempfile.TemporaryDirectory() as folder, ObservedDaemon(Path(folder)) as daemon:
        soak = Soak(daemon)
        soak.start()
        print(HEADINGS)
        lines = []
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < minutes * 60:
            time.sleep(min(every, minutes * 60 - passed))
            lines.append(soak.line((time.monotonic() - begin) / 60))
            print(lines[-1], flush=True)
        soak.stop()
        answer = daemon.call("get_task_pipeline")["result"]["last_24_hours"]
        faults = [e["event"] for e in daemon.events() if e["level"] in {"error", "critical"}]
        ended = daemon.stop()
    wrong = verdict(lines) + soak.failures + [f"the log says: {fault}" for fault in faults]
    if answer["total_tasks"] != soak.accepted:
        wrong.append(f"{soak.accepted} acknowledged, {answer['total_tasks']} counted")
    if ended != 0:
        wrong.append(f"it ended with {ended}")
    return wrong


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two lines")
    given = parser.parse_args()
    wrong = run(given.minutes, given.every)
    print("flat, and nothing lost" if not wrong else "NOT WELL: " + "; ".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
