"""The six actors at work on a real database, without a socket."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from buddyd.actors.aggregator import AggregatorActor
from buddyd.actors.capacity import CapacityActor
from buddyd.actors.collector import Collector
from buddyd.actors.cost import CostActor
from buddyd.actors.messages import Asked, ProjectionMessage, PutAway
from buddyd.actors.news import MOST_ENTRIES, News
from buddyd.actors.projecting import Environment, ProjectionActor
from buddyd.actors.registry import RegistryActor
from buddyd.actors.risk import RiskActor
from buddyd.config import Retention as RetentionSettings
from buddyd.domain.answers import TaskPipeline, UsageAndCosting
from buddyd.domain.capacity import Capacity
from buddyd.domain.costs import Costs
from buddyd.domain.execution import Execution
from buddyd.domain.pipeline import Pipeline
from buddyd.domain.registry import Registry
from buddyd.domain.risk import Risks
from buddyd.domain.settings import DomainSettings
from buddyd.protocol.messages import GetApiUsageAndCosting, GetTaskPipeline, Request
from buddyd.runtime.channels import Mailbox, ask
from buddyd.runtime.supervisor import Child, RestartPolicy, State, Supervisor
from buddyd.storage.appending import Submitted
from buddyd.storage.database import Database, open_database
from buddyd.storage.journal import Journal
from buddyd.storage.projections import ProjectionStore
from buddyd.storage.retention import Retention
from tests.storage.records import NOW, records

NAMES = ("aggregator", "registry", "capacity", "cost", "risk")
QUICK = RestartPolicy(first_delay=0.001, longest_delay=0.001)
PATIENCE_SECONDS = 20.0


class House:
    """All actors of a daemon. Its clock stands still until `now` is set."""

    def __init__(
        self,
        database: Database,
        *,
        capacity: int = 128,
        woken: Sequence[str] = NAMES,
        news: int = MOST_ENTRIES,
        new_costs: Callable[[DomainSettings], Costs] = Costs,
        new_retention: type[Retention] = Retention,
        now: float = NOW,
    ) -> None:
        """`woken` are the projections that the collector wakes, `news` how many it keeps."""
        self.now = now
        self.database = database
        self.journal = Journal(database, 1000, 1000)
        self.store = ProjectionStore(database)
        self.settings = DomainSettings()
        self.news = News(NAMES, news)
        environment = Environment(
            self.journal, self.news, self.store, self._clock, lambda: self.settings
        )
        retention = new_retention(database, self.store, RetentionSettings(), folders=len(NAMES))
        self.actors: dict[str, ProjectionActor[Any]] = {
            "aggregator": AggregatorActor("aggregator", Pipeline, environment, retention),
            "registry": RegistryActor("registry", Registry, environment),
            "capacity": CapacityActor("capacity", Capacity, environment),
            "cost": CostActor("cost", new_costs, environment, database.size_on_disk),
            "risk": RiskActor("risk", Risks, environment),
        }
        self.mailboxes: dict[str, Mailbox[ProjectionMessage]] = {
            name: Mailbox(name, capacity) for name in NAMES
        }
        self.inbox: Mailbox[Submitted] = Mailbox("collector", 256)
        self.collector = Collector(
            self.journal, self.news, [self.mailboxes[name] for name in woken], self._clock
        )
        self.supervisor = Supervisor(QUICK)
        for name in NAMES:
            self.supervisor.add(self.actors[name], self.mailboxes[name])
        self.supervisor.add(self.collector, self.inbox)

    def _clock(self) -> float:
        return self.now

    def child(self, name: str) -> Child:
        return next(child for child in self.supervisor.children if child.name == name)

    async def record(self, *executions: Execution) -> object:
        """Record executions as one call; returns the receipt."""
        return await ask(self.inbox, records(*executions, received_at=self.now))

    async def query(self, name: str, request: Request) -> Any:  # noqa: ANN401 - of many types
        """Ask a projection as the dispatcher does: for all that was committed before."""
        return await ask(self.mailboxes[name], Asked(request, self.journal.last_seq))

    async def pipeline(self) -> TaskPipeline:
        answer = await self.query("aggregator", GetTaskPipeline())
        assert isinstance(answer, TaskPipeline)
        return answer

    async def costs(self) -> UsageAndCosting:
        answer = await self.query("cost", GetApiUsageAndCosting())
        assert isinstance(answer, UsageAndCosting)
        return answer

    async def put_away(self, *names: str) -> None:
        """Have projections write their checkpoints now."""
        for name in names or NAMES:
            await ask(self.mailboxes[name], PutAway(self.journal.last_seq))

    def reconfigure(self, settings: DomainSettings) -> None:
        """Let other settings be in force, and tell the actors."""
        self.settings = settings
        for mailbox in self.mailboxes.values():
            mailbox.wake()

    async def running(self, name: str) -> None:
        """Wait until an actor has (re)started."""
        await until(lambda: self.child(name).state is State.RUNNING)


@asynccontextmanager
async def at_work(
    path: Path,
    *,
    killed: bool = False,
    **arrangement: Any,  # noqa: ANN401 - that of a House
) -> AsyncIterator[House]:
    """A house whose actors run; at the end they are stopped in order, or `killed`."""
    async with open_database(path) as database:
        house = House(database, **arrangement)
        with anyio.fail_after(PATIENCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                await house.supervisor.start(tasks)
                try:
                    yield house
                finally:
                    if killed:
                        tasks.cancel_scope.cancel()
                    else:
                        await house.supervisor.stop(5.0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks bring about."""
    while not condition():  # noqa: ASYNC110 - it is nobody's business to tell tests
        await anyio.sleep(0.001)


async def statements(database: Database) -> list[str]:
    """What the writing connection runs from now on."""
    seen: list[str] = []

    def trace(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(seen.append)

    await database.maintain(trace)
    return seen
