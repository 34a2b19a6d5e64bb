"""What a recording costs the agent: `python -m tests.bench.recorder`.

While the daemon runs, while it is down, and while it has stopped answering, from one thread and
from four; how long a durable recording takes; and what the import costs beside `import json`.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from buddyd.client import Recorder
from tests.support.outside import percentile
from tests.support.process import DaemonProcess

CALLS = 20_000
DURABLE_CALLS = 200
PAUSE_EVERY = 100
IMPORTS = 15
IMPORTED = (
    "import buddyd.client",
    "from buddyd.client import Recorder",
    "from buddyd.client.buddy import AnalyticsEngine",
    "from buddyd.client import Client",
    "import msgspec",
)

Act = Callable[[Recorder, int], object]


def record(recorder: Recorder, number: int) -> None:
    recorder.record_execution(f"t{number}", "scout", "web_search", 1.8, True, cost_actual=0.002)


def run(recorder: Recorder, number: int) -> None:
    with recorder.execution(f"t{number}", "web_search") as block:
        block.tokens = 100


def durable(recorder: Recorder, number: int) -> None:
    assert recorder.record_execution(f"t{number}", "scout", "x", 1.8, True, durable=True)


def timed(act: Act, recorder: Recorder, calls: int, into: list[float]) -> None:
    """Microseconds of each call; now and then a pause, as an agent that works makes them."""
    for number in range(calls):
        began = time.perf_counter()
        act(recorder, number)
        into.append((time.perf_counter() - began) * 1e6)
        if number % PAUSE_EVERY == 0:
            time.sleep(0.005)


def measured(act: Act, recorder: Recorder, calls: int, threads: int) -> list[float]:
    taken: list[list[float]] = [[] for _ in range(threads)]
    workers = [
        threading.Thread(target=timed, args=(act, recorder, calls // threads, mine))
        for mine in taken
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [each for mine in taken for each in mine]


@contextmanager
def daemon_that(state: str, folder: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(folder) as daemon:
        assert daemon.process is not None
        if state == "is down":
            daemon.stop(signal.SIGKILL)
        if state == "hangs":
            os.kill(daemon.process.pid, signal.SIGSTOP)
        yield daemon


def recordings() -> None:
    print(f"{'the daemon':12} {'call':18} {'threads':>7} {'median':>9} {'99 %':>9} {'max':>9}   µs")
    cases: list[tuple[str, Act, int, int]] = [
        ("record_execution", record, CALLS, 1),
        ("record_execution", record, CALLS, 4),
        ("execution block", run, CALLS, 1),
        ("durable=True", durable, DURABLE_CALLS, 1),
    ]
    for state in ("runs", "is down", "hangs"):
        for name, act, calls, threads in cases:
            with tempfile.TemporaryDirectory(prefix="buddyd-") as folder:
                place = Path(folder)
                with daemon_that(state, place) as daemon:
                    recorder = Recorder("scout", socket=daemon.socket, spool=place / "spool")
                    taken = measured(act, recorder, calls, threads)
                    recorder.close(timeout=0.1)
            figures = (percentile(taken, 0.5), percentile(taken, 0.99), max(taken))
            cells = " ".join(f"{figure:9.1f}" for figure in figures)
            print(f"{state:12} {name:18} {threads:7} {cells}", flush=True)


def seconds(statement: str) -> float:
    """The best of several processes that do nothing else."""
    best = float("inf")
    for _ in range(IMPORTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        best = min(best, time.perf_counter() - began)
    return best


def imports() -> None:
    base = seconds("import json")
    print(f"\nimport json takes {base * 1000:.1f} ms of process; beyond that")
    for statement in IMPORTED:
        print(f"{statement:48} {(seconds(statement) - base) * 1000:6.1f} ms")


if __name__ == "__main__":
    recordings()
    imports()
