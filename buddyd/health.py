"""How the daemon itself does: for `get_daemon_status`, for systemd, and for its watchdog."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
import structlog

from buddyd import __version__, config
from buddyd.actors.collector import Collector
from buddyd.actors.projecting import ProjectionActor
from buddyd.domain.answers import ActorStatus, DaemonStatus, DatabaseStatus, Pong, RecordCounts
from buddyd.domain.costs import Costs
from buddyd.domain.projection import Projection
from buddyd.domain.registry import Registry
from buddyd.domain.windows import rfc3339
from buddyd.errors import StorageBroken, StorageRefused
from buddyd.protocol.messages import PROTOCOL
from buddyd.runtime.supervisor import Child, Supervisor
from buddyd.server.session import Traffic
from buddyd.storage.database import Database
from buddyd.storage.journal import Journal
from buddyd.storage.schema import schema_version

log = structlog.get_logger()

P = TypeVar("P", bound=Projection)

STALLED_SECONDS = 45.0
"""An actor that is at one turn for longer than this makes no progress."""


class Health:
    """Looks at the parts of a running daemon. `settings` are those in force."""

    def __init__(
        self,
        *,
        settings: config.Settings,
        socket: Path,
        clock: Callable[[], float],
        supervisor: Supervisor,
        collector: Collector,
        journal: Journal,
        database: Database,
        traffic: Traffic,
    ) -> None:
        self.settings = settings
        self._socket = socket
        self._clock = clock
        self._supervisor = supervisor
        self._collector = collector
        self._journal = journal
        self._database = database
        self._traffic = traffic
        self._started = time.monotonic()

    def pong(self) -> Pong:
        """That it is there."""
        return Pong(version=__version__, protocol=PROTOCOL, uptime_seconds=self._uptime())

    def status(self) -> DaemonStatus:
        """Everything there is to tell."""
        return DaemonStatus(
            timestamp=rfc3339(self._clock()),
            version=__version__,
            protocol=PROTOCOL,
            pid=os.getpid(),
            uptime_seconds=self._uptime(),
            socket=str(self._socket),
            connections=self._traffic.connections,
            actors=[self._actor(child) for child in self._supervisor.children],
            records=self._records(),
            database=self._database_status(),
            settings=msgspec.to_builtins(self.settings),
        )

    def summary(self) -> str:
        """One line, for `systemctl status`."""
        registry, costs = self._projection(Registry), self._projection(Costs)
        last = self._journal.last_commit_at
        ago = "no commit yet" if last is None else f"last commit {_ago(self._clock() - last)}"
        return (
            f"{_short(len(registry.agents), 'agent')}, {_short(len(registry.tools), 'tool')}, "
            f"{_short(costs.records, 'record')}, "
            f"{_short(self._traffic.connections, 'connection')}, {ago}"
        )

    async def trouble(self, patience: float = STALLED_SECONDS) -> str | None:
        """What keeps the daemon from answering; None where every actor and the database get on.

        The database is given `patience` seconds.
        """
        if stalled := self._supervisor.stalled(STALLED_SECONDS):
            names = ", ".join(stalled)
            log.error("actors make no progress", actors=names)
            return f"No progress is made by {names}"
        if not await self._database_answers(patience):
            log.error("the database does not answer", seconds=patience)
            return "The database does not answer"
        return None

    async def _database_answers(self, patience: float) -> bool:
        with anyio.move_on_after(patience):
            try:
                await self._database.probe()
            except StorageRefused:
                # That is an answer: it is for others to wait until another program lets go.
                return True
            except StorageBroken:
                return False
            return True
        return False

    def _projection(self, kind: type[P]) -> P:
        actors = (child.actor for child in self._supervisor.children)
        projections = (a.projection for a in actors if isinstance(a, ProjectionActor))
        return next(each for each in projections if isinstance(each, kind))

    def _uptime(self) -> float:
        return time.monotonic() - self._started

    def _actor(self, child: Child) -> ActorStatus:
        folded = child.actor.seq if isinstance(child.actor, ProjectionActor) else None
        return ActorStatus(
            name=child.name,
            state=child.state.value,
            restarts=child.restarts,
            mailbox_depth=child.mailbox.depth,
            mailbox_capacity=child.mailbox.capacity,
            behind=0 if folded is None else self._journal.last_seq - folded,
            last_error=child.last_error,
        )

    def _records(self) -> RecordCounts:
        counts = self._collector.counts
        return RecordCounts(
            accepted=counts.accepted,
            duplicate=counts.duplicate,
            expired=counts.expired,
            refused=self._traffic.refusals,
        )

    def _database_status(self) -> DatabaseStatus:
        last = self._journal.last_commit_at
        return DatabaseStatus(
            path=str(self._database.path),
            size_bytes=self._database.size_on_disk(),
            sqlite_version=sqlite3.sqlite_version,
            schema_version=schema_version(),
            commits=self._journal.last_seq,
            last_commit=None if last is None else rfc3339(last),
        )


def _short(number: int, what: str) -> str:
    """How many, as it is said in passing: `1 tool`, `999 tools`, `1.2 k tools`, `1.2 M tools`."""
    if number == 1:
        return f"1 {what}"
    # From 999,950 on, thousands would be rounded to 1000.0.
    for unit, size, least in (("M", 1_000_000, 999_950), ("k", 1_000, 1_000)):
        if number >= least:
            return f"{number / size:.1f} {unit} {what}s"
    return f"{number} {what}s"


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"
