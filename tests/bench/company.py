"""Others who use the daemon during a measurement, each a process of its own.

    python -m tests.bench.company feed SOCKET RECORDS_A_SECOND
    python -m tests.bench.company ask SOCKET METHOD

They go on until their standard input ends; then `ask` prints how many seconds each answer took.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import load
from tests.bench.load import Connection

BATCH = 20
PAUSE_SECONDS = 0.002


class Company:
    """A process that keeps the daemon company."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # Its first line says that it has begun.
        assert self._process.stdout.readline() == "begun\n"

    def leave(self) -> list[float]:
        """Have it end; returns what it measured, in seconds."""
        output, _ = self._process.communicate()
        assert self._process.returncode == 0, output
        return list(json.loads(output))


@contextmanager
def feeding(socket: Path, per_second: int) -> Iterator[list[float]]:
    """So many records a second arrive meanwhile; gives, in the end, how many it came to."""
    feeder = Company("feed", str(socket), str(per_second))
    came_to: list[float] = []
    try:
        yield came_to
    finally:
        seconds, *took = feeder.leave()
        came_to.append(BATCH * len(took) / seconds)


def _called_off(seconds: float) -> bool:
    """Whether standard input ended within this time."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _feed(connection: Connection, per_second: int) -> list[float]:
    """Record at a steady pace; the first figure is how long it took in all."""
    interval = BATCH / per_second
    took: list[float] = []
    begin = due = time.perf_counter()
    while not _called_off(max(0.0, due - time.perf_counter())):
        (frame,) = load.batches(load.executions(BATCH, seed=len(took)), BATCH)
        took.append(connection.time(frame))
        due += interval
    return [time.perf_counter() - begin, *took]


def _ask(connection: Connection, method: str) -> list[float]:
    message = load.request(method)
    took = []
    while not _called_off(PAUSE_SECONDS):
        took.append(connection.time(message))
    return took


def main() -> None:
    """The process."""
    what, path, argument = sys.argv[1:]
    with Connection(Path(path)) as connection:
        print("begun", flush=True)
        took = _feed(connection, int(argument)) if what == "feed" else _ask(connection, argument)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
