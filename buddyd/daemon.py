"""The composition root: what the daemon is made of, and the story of its life.

Storage, channels, actors, server, notify: read from top to bottom it is the start; the way back is
the stop, in reverse order. Configuration and log come before it, in `program.py`.
"""

import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from msgspec import Struct

from buddyd import config, log, paths
from buddyd.actors.aggregator import AggregatorActor
from buddyd.actors.capacity import CapacityActor
from buddyd.actors.collector import Collector
from buddyd.actors.cost import CostActor
from buddyd.actors.messages import CollectorMessage, ProjectionMessage
from buddyd.actors.news import News
from buddyd.actors.projecting import Environment, ProjectionActor
from buddyd.actors.registry import RegistryActor
from buddyd.actors.risk import RiskActor
from buddyd.dispatch import OWNERS, Dispatcher
from buddyd.domain.capacity import Capacity
from buddyd.domain.costs import Costs
from buddyd.domain.pipeline import Pipeline
from buddyd.domain.registry import Registry
from buddyd.domain.risk import Risks
from buddyd.errors import ConfigurationError, FatalError, StorageBroken, StorageRefused
from buddyd.feed import Feed
from buddyd.health import Health
from buddyd.in_force import domain_settings, without_what_is_fixed
from buddyd.runtime import background
from buddyd.runtime.channels import Mailbox
from buddyd.runtime.supervisor import Supervisor
from buddyd.server.listener import Server, listening_socket
from buddyd.server.peers import AccessPolicy
from buddyd.server.session import SessionSettings, Traffic
from buddyd.storage.database import Database, open_database
from buddyd.storage.journal import Journal
from buddyd.storage.projections import ProjectionStore
from buddyd.storage.retention import Retention
from buddyd.systemd import Notifier, watchdog_interval

logger = log.get_logger()

COLLECTOR_MAILBOX = 256
PROJECTION_MAILBOX = 128
DRAIN_SECONDS = 10.0
STOP_SECONDS = 50.0
"""How long a stop may take: what it waits for adds up to less, unless something hangs."""
STATUS_SECONDS = 10.0
LONGEST_START_SECONDS = 3600.0
"""Rows are saved from a damaged database meanwhile, or a long journal is folded."""
LONGEST_STOP_SECONDS = 120.0


class Options(Struct, frozen=True, kw_only=True):
    """Where a daemon lives, and by which clock."""

    socket_path: Path
    database: Path
    inherited: Sequence[socket.socket] = ()
    """Sockets that listen already; where there are some, `socket_path` is not made."""
    clock: Callable[[], float] = time.time
    """Tells the time in Unix seconds."""
    in_doubt: Callable[[], bool] = lambda: False
    """Whether the clock may be behind, because it does not believe a jump of the host's yet."""
    reload: Callable[[], config.Settings] | None = None
    """Reads the configuration anew, at SIGHUP."""
    end_after: Callable[[float], None] = lambda _: None
    """Sees to it that the process ends within so many seconds, come what may."""


class Orders:
    """What a daemon is told from outside. It may be told while it cannot do it yet."""

    def __init__(self, stop: anyio.Event) -> None:
        self.stop = stop
        """Set when it is time to stop."""
        self._reload = anyio.Event()

    def reload(self) -> None:
        """The configuration is to be read again; told twice before that, it is read once."""
        self._reload.set()

    async def told_to_reload(self) -> None:
        """Wait until it is to be read again."""
        await self._reload.wait()
        self._reload = anyio.Event()


class Daemon:
    """The parts of a daemon, put together but not yet alive."""

    def __init__(self, settings: config.Settings, options: Options, database: Database) -> None:
        self.options = options
        self._database = database
        self._in_force = domain_settings(settings)
        # Storage.
        self._store = store = ProjectionStore(database)
        self.journal = Journal(database, settings.limits.max_agents, settings.limits.max_tools)
        self._retention = Retention(database, store, settings.retention, folders=len(OWNERS))
        # Channels.
        self._inbox: Mailbox[CollectorMessage] = Mailbox("collector", COLLECTOR_MAILBOX)
        self._mailboxes: dict[str, Mailbox[ProjectionMessage]] = {
            name: Mailbox(name, PROJECTION_MAILBOX) for name in OWNERS
        }
        self._news = News(self._mailboxes)
        self.feed = Feed(options.clock)
        # Actors: the consumers before the producer that feeds them.
        self.supervisor = Supervisor()
        for actor in self._projections():
            self.supervisor.add(actor, self._mailboxes[actor.name])
        collector = self._collector()
        self.supervisor.add(collector, self._inbox)
        # The server.
        traffic = Traffic()
        self.health = self._health(settings, collector, traffic)
        self.server = self._server(settings, traffic)

    def _projections(self) -> list[ProjectionActor[Any]]:
        clock, database, retention = self.options.clock, self._database, self._retention
        environment = Environment(
            self.journal, self._news, self._store, clock, lambda: self._in_force
        )
        return [
            AggregatorActor("aggregator", Pipeline, environment, retention),
            RegistryActor("registry", Registry, environment),
            CapacityActor("capacity", Capacity, environment),
            CostActor("cost", Costs, environment, database.size_on_disk),
            RiskActor("risk", Risks, environment, self.feed.all_changed),
        ]

    def _collector(self) -> Collector:
        mailboxes = list(self._mailboxes.values())
        clock, announce = self.options.clock, self.feed.publish
        return Collector(self.journal, self._news, mailboxes, clock, announce)

    def _health(self, settings: config.Settings, collector: Collector, traffic: Traffic) -> Health:
        return Health(
            settings=settings,
            socket=self.options.socket_path,
            clock=self.options.clock,
            supervisor=self.supervisor,
            collector=collector,
            journal=self.journal,
            database=self._database,
            traffic=traffic,
        )

    def _server(self, settings: config.Settings, traffic: Traffic) -> Server:
        dispatcher = Dispatcher(
            collector=self._inbox,
            projections=self._mailboxes,
            journal=self.journal,
            database=self._database,
            retention=self._retention,
            clock=self.options.clock,
            in_doubt=self.options.in_doubt,
            health=self.health,
            escalate=self.supervisor.escalate,
            feed=self.feed,
        )
        limits = settings.limits
        sessions = SessionSettings(dispatcher.dispatch, limits.max_message_bytes, traffic)
        policy = AccessPolicy(settings.access).roles
        return Server(sessions, policy, limits.max_connections)

    def reconfigure(self, settings: config.Settings, policy: AccessPolicy) -> None:
        """Take over what can change while the daemon runs; say what cannot."""
        self.server.policy = policy.roles
        self.health.settings = without_what_is_fixed(settings, self.health.settings)
        log.set_level(settings.log.level)
        self._in_force = domain_settings(self.health.settings)
        for mailbox in self._mailboxes.values():
            # Each sees by itself that others are in force; one that is busy is not waited for.
            mailbox.wake()
        self.feed.all_changed()


async def run(
    settings: config.Settings,
    options: Options,
    *,
    stop: anyio.Event | None = None,
    ready: anyio.Event | None = None,
) -> None:
    """Run a daemon until SIGTERM, SIGINT or `stop`; everything accepted is on disk on return.

    Sets `ready` once it answers. Raises FatalError where it cannot start or go on.
    """
    orders = Orders(stop or anyio.Event())
    failure: FatalError | None = None
    with _sockets(options) as sockets, closing(Notifier()) as notifier:
        async with anyio.create_task_group() as tasks:
            # First of all and to the very end, so that no signal ends it in the middle.
            await tasks.start(_obey_signals, orders)
            tasks.start_soon(_begin_to_stop, options, notifier, orders.stop)
            try:
                await _live(settings, options, orders, notifier, sockets=sockets, ready=ready)
            except FatalError as error:
                # Caught here, because a group of tasks would wrap it up.
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    logger.info("stopped")


async def _live(
    settings: config.Settings,
    options: Options,
    orders: Orders,
    notifier: Notifier,
    *,
    sockets: Sequence[socket.socket],
    ready: anyio.Event | None,
) -> None:
    """Open the database, and run a daemon on it until it is time to stop; raises FatalError."""
    notifier.starting(LONGEST_START_SECONDS)
    notifier.status("Opening the database")
    async with open_database(options.database, settings.durability) as database:
        if orders.stop.is_set():
            return
        daemon = Daemon(settings, options, database)
        await _load(daemon.journal, options.database)
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as actors:
            tasks.start_soon(_reload_when_told, daemon, orders, notifier)
            tasks.start_soon(_stop_on_failure, daemon.supervisor, orders.stop)
            try:
                notifier.status("Taking up what was recorded")
                if await _start(daemon, actors, orders.stop):
                    await _serve(daemon, sockets, notifier, orders.stop, ready)
            finally:
                with anyio.CancelScope(shield=True):
                    notifier.stopping(LONGEST_STOP_SECONDS)
                    notifier.status("Putting everything away")
                    await daemon.supervisor.stop()
                tasks.cancel_scope.cancel()
    if daemon.supervisor.failure is not None:
        raise daemon.supervisor.failure


async def _load(journal: Journal, path: Path) -> None:
    try:
        await journal.load()
    except StorageRefused as error:
        # Nobody waits for an answer yet; whoever started the daemon is told, and tries again.
        message = f"The database {path} cannot be used for now: {error.reason}"
        raise StorageBroken(message) from error


async def _start(daemon: Daemon, actors: anyio.abc.TaskGroup, stop: anyio.Event) -> bool:
    """Start the actors; False where it is time to stop already."""
    async with anyio.create_task_group() as starting:

        async def give_up() -> None:
            await stop.wait()
            starting.cancel_scope.cancel()

        starting.start_soon(give_up)
        await daemon.supervisor.start(actors)
        starting.cancel_scope.cancel()
    return daemon.supervisor.failure is None and not stop.is_set()


async def _serve(
    daemon: Daemon,
    sockets: Sequence[socket.socket],
    notifier: Notifier,
    stop: anyio.Event,
    ready: anyio.Event | None,
) -> None:
    """Answer until it is time to stop; then answer what was received, and return."""
    async with anyio.create_task_group() as sessions, anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.server.serve, sockets, sessions)
        tasks.start_soon(daemon.feed.run)
        # Where the database does not answer now, systemd is not told what is not true.
        if await daemon.health.trouble() is None:
            _announce(daemon, notifier, ready)
        tasks.start_soon(_notify, daemon.health, notifier)
        await stop.wait()
        notifier.status("Answering what was asked")
        # No new connections first, so that there is an end to what has to be answered.
        await daemon.server.stop(DRAIN_SECONDS)
        tasks.cancel_scope.cancel()
        sessions.cancel_scope.cancel()


def _announce(daemon: Daemon, notifier: Notifier, ready: anyio.Event | None) -> None:
    options = daemon.options
    logger.info("started", socket=str(options.socket_path), database=str(options.database))
    notifier.ready()
    if ready is not None:
        ready.set()


async def _obey_signals(orders: Orders, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                orders.reload()
            else:
                logger.info("stopping", signal=signal.Signals(number).name)
                orders.stop.set()


async def _reload_when_told(daemon: Daemon, orders: Orders, notifier: Notifier) -> None:
    read = daemon.options.reload
    while True:
        await orders.told_to_reload()
        if read is not None:
            await _reload(daemon, read, orders, notifier)


async def _reload(
    daemon: Daemon, read: Callable[[], config.Settings], orders: Orders, notifier: Notifier
) -> None:
    def load() -> tuple[config.Settings, AccessPolicy]:
        settings = read()
        return settings, AccessPolicy(settings.access)

    told = notifier.reloading()
    try:
        # Names of users are looked up, and who knows whether the user database answers.
        daemon.reconfigure(*await background.begin(load))
        logger.info("configuration reloaded")
    except ConfigurationError as error:
        logger.warning("configuration not reloaded, the old one stays", reason=str(error))
    if told and not orders.stop.is_set():
        notifier.ready()


async def _stop_on_failure(supervisor: Supervisor, stop: anyio.Event) -> None:
    await supervisor.failed.wait()
    logger.critical("giving up", reason=str(supervisor.failure))
    stop.set()


async def _begin_to_stop(options: Options, notifier: Notifier, stop: anyio.Event) -> None:
    await stop.wait()
    notifier.stopping(LONGEST_STOP_SECONDS)
    # A thread of the database that hangs can neither be cancelled nor left behind.
    options.end_after(STOP_SECONDS)


async def _notify(health: Health, notifier: Notifier) -> None:
    """Tell systemd that all is well, as long as it is."""
    interval = watchdog_interval()
    pause = min(interval or STATUS_SECONDS, STATUS_SECONDS)
    if not notifier.status(health.summary()):
        return
    while True:
        began = anyio.current_time()
        # What is wrong has to be said before the watchdog ends the daemon, two intervals after
        # the last sign of life; and there is to be time for one more look.
        trouble = await health.trouble(0.75 * pause)
        if interval is not None and trouble is None:
            notifier.watchdog()
        notifier.status(trouble or health.summary())
        await anyio.sleep_until(began + pause)


@contextmanager
def _sockets(options: Options) -> Iterator[Sequence[socket.socket]]:
    if options.inherited:
        yield options.inherited
        return
    with listening_socket(options.socket_path, paths.make_folder) as listener:
        yield [listener]
