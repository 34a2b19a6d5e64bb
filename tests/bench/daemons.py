"""Daemons to measure: their start, what they take up, and databases that are full already."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import buddyd
from tests.bench import load
from tests.bench.load import Connection
from tests.support.outside import ObservedDaemon

BATCH = 500
IN_FLIGHT = 8
SPREAD_SECONDS = 22 * 3600.0
"""The time over which the records of a full database are spread; less than a day, so that none
of them expires during a run."""
FRESH_SECONDS = 1.5 * 3600.0
"""How long a full database can be used again."""
START_SECONDS = 300.0

Finished = Callable[[int], float]


class BenchDaemon(ObservedDaemon):
    """A daemon whose start and costs are measured."""

    def start_and_ask(self, method: str) -> float:
        """Start it; returns the seconds to its first answer."""
        message = load.request(method)
        begin = time.perf_counter()
        with self.log.open("ab") as log:
            process = self.process = subprocess.Popen(
                self.command, env=os.environ | self.env, stderr=log, text=True
            )
        while True:
            try:
                with Connection(self.socket) as connection:
                    connection.ask(message)
                    return time.perf_counter() - begin
            except OSError:
                if time.perf_counter() - begin > START_SECONDS or process.poll() is not None:
                    raise AssertionError(self.log.read_text()) from None
                time.sleep(0.001)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return self.figures().memory_bytes

    def cpu_seconds(self) -> float:
        """Processor time so far, of user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self) -> None:
        """Wait until every projection has folded what was recorded."""
        with Connection(self.socket) as connection:
            for method in ("get_all", "get_tool_recommendations"):
                connection.ask(load.request(method))


@contextmanager
def running(*, database: Path | None = None, settings: str = "") -> Iterator[BenchDaemon]:
    """A daemon in a folder of its own, on a copy of `database` where one is given."""
    with tempfile.TemporaryDirectory(prefix="buddyd-bench-") as name:
        folder = Path(name)
        configuration = folder / "buddyd.toml"
        configuration.write_text(settings)
        if database is not None:
            shutil.copyfile(database, folder / "analytics.db")
        daemon = BenchDaemon(folder, "--config", str(configuration))
        daemon.start_and_ask("ping")
        with daemon:
            yield daemon


def over_a_day(rows: int, end: float | None = None) -> Finished:
    """Times spread evenly, in order, up to `end` (now)."""
    last = time.time() if end is None else end
    return lambda index: last - SPREAD_SECONDS * (1 - (index + 1) / rows)


def fill(
    path: Path,
    rows: int,
    finished_at: Finished,
    *,
    agents: int = load.AGENTS,
    tools: int = load.TOOLS,
) -> float:
    """Record so many executions as fast as the daemon takes them; returns how many a second."""
    records = load.executions(rows, finished_at, agents=agents, tools=tools)
    return rows / load.drive(path, [load.batches(records, BATCH)], IN_FLIGHT)


class Databases:
    """Full databases, each made once by a daemon and copied for whoever needs it.

    They are kept in `folder` for as long as their records are younger than a day and the code
    that made them is the same.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def full(self, rows: int, *, agents: int = load.AGENTS, tools: int = load.TOOLS) -> Path:
        """A database of so many executions of the last day."""
        path = self._folder / f"{rows}-{agents}-{tools}-{_fingerprint()}.db"
        if path.exists() and time.time() - path.stat().st_mtime < FRESH_SECONDS:
            return path
        return made(path, rows, over_a_day(rows), agents=agents, tools=tools)


def made(
    path: Path,
    rows: int,
    finished_at: Finished,
    *,
    agents: int = load.AGENTS,
    tools: int = load.TOOLS,
    settings: str = "",
) -> Path:
    """A database that a daemon has filled and closed."""
    # To be durable is not what this database is for, and it is filled sooner without.
    with running(settings=f'durability = "normal"\n{settings}') as daemon:
        fill(daemon.socket, rows, finished_at, agents=agents, tools=tools)
        assert daemon.stop() == 0
        shutil.move(daemon.database, path)
    return path


def _fingerprint() -> str:
    """Of the code that decides what is in a database."""
    top = Path(buddyd.__file__).parent
    digest = hashlib.sha256()
    for folder in ("storage", "domain"):
        for file in sorted((top / folder).rglob("*.*")):
            if file.suffix in {".py", ".sql"}:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
