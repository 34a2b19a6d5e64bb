"""How the daemon itself does: for `get_daemon_status`, for systemd, and for its watchdog."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import structlog

from buddyd import __version__, config
from buddyd.actors.collector import Collector
from buddyd.actors.projecting import ProjectionActor
from buddyd.domain.answers import ActorStatus, DaemonStatus, DatabaseStatus, Pong, RecordCounts
from buddyd.domain.windows import rfc3339
from buddyd.protocol.messages import PROTOCOL
from buddyd.runtime.supervisor import Child, Supervisor
from buddyd.server.session import Traffic
from buddyd.storage.database import Database
from buddyd.storage.journal import Journal
from buddyd.storage.schema import schema_version

log = structlog.get_logger()

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
        last = self._journal.last_commit_at
        ago = "none yet" if last is None else f"{max(0.0, self._clock() - last):.0f} s ago"
        return (
            f"{self._records().accepted:,} executions recorded since the start, "
            f"{self._traffic.connections} connections, last commit {ago}"
        )

    async def is_well(self) -> bool:
        """Whether every actor makes progress, and the database answers."""
        if stalled := self._supervisor.stalled(STALLED_SECONDS):
            log.error("actors make no progress", actors=", ".join(stalled))
            return False
        with anyio.move_on_after(STALLED_SECONDS):
            await self._database.read(lambda connection: connection.execute("SELECT 1").fetchone())
            return True
        return False

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
