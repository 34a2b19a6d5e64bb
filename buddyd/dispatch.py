"""Which actor, or which reading of the database, answers a request."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import structlog
from msgspec import UNSET

from buddyd.actors.messages import Asked, CollectorMessage, ProjectionMessage, PutAway, PutAwayDone
from buddyd.domain.answers import (
    Answer,
    BackupDone,
    Cleanup,
    DaemonStatus,
    Everything,
    Executions,
    Findings,
    RiskHistory,
    RiskPatterns,
)
from buddyd.domain.execution import MAX_AHEAD_SECONDS, Execution
from buddyd.domain.reporting import history_with_budgets, with_budgets
from buddyd.domain.windows import rfc3339
from buddyd.errors import FatalError, InvalidParams, Unavailable
from buddyd.feed import Feed
from buddyd.health import Health
from buddyd.protocol.messages import (
    Backup,
    CleanupOldData,
    GetAgentsStatus,
    GetAll,
    GetApiUsageAndCosting,
    GetDaemonStatus,
    GetExecutions,
    GetHourlySummaries,
    GetPredictiveCapacity,
    GetRiskHistory,
    GetRiskPatterns,
    GetSystemLearning,
    GetTaskPipeline,
    GetToolRecommendations,
    Ping,
    RecordExecutions,
    ReportAgent,
    ReportBudget,
    ReportCosts,
    Request,
    RunHourlyAggregation,
    StartExecution,
    Subscribe,
    Unsubscribe,
)
from buddyd.runtime.channels import Deliver, Envelope, Mailbox, ask, ask_each, outcome
from buddyd.server.outlet import Outlet
from buddyd.storage import backup, tier1
from buddyd.storage.appending import Submission, Submitted
from buddyd.storage.database import Database
from buddyd.storage.journal import Journal
from buddyd.storage.retention import Retention

log = structlog.get_logger()

Desk = Callable[[Request], Awaitable[Answer]]
"""Answers requests of one type that are no single actor's."""

# Which of the five projections answers which request.
OWNERS: dict[str, tuple[type[Request], ...]] = {
    "aggregator": (GetTaskPipeline, GetHourlySummaries, RunHourlyAggregation, CleanupOldData),
    "registry": (GetAgentsStatus, GetSystemLearning),
    "capacity": (GetPredictiveCapacity,),
    "cost": (GetApiUsageAndCosting,),
    "risk": (GetRiskPatterns, GetToolRecommendations, GetRiskHistory),
}

BUDGETS = "cost"
"""Who has the findings about budgets, and is asked for its share where others have the rest."""

# What `get_all` asks, by the name under which it answers.
_SIX: dict[str, Request] = {
    "agents": GetAgentsStatus(),
    "capacity": GetPredictiveCapacity(),
    "pipeline": GetTaskPipeline(),
    "costs": GetApiUsageAndCosting(),
    "learning": GetSystemLearning(),
    "risks": GetRiskPatterns(),
}


class Dispatcher:
    """Takes a request to whoever answers it. `projections` are their mailboxes, by name."""

    def __init__(
        self,
        *,
        collector: Mailbox[CollectorMessage],
        projections: Mapping[str, Mailbox[ProjectionMessage]],
        journal: Journal,
        database: Database,
        retention: Retention,
        clock: Callable[[], float],
        in_doubt: Callable[[], bool],
        health: Health,
        escalate: Callable[[FatalError], None],
        feed: Feed,
    ) -> None:
        self._collector = collector
        self._projections = projections
        self._owners = {
            request: projections[name] for name, requests in OWNERS.items() for request in requests
        }
        self._journal = journal
        self._database = database
        self._retention = retention
        self._clock = clock
        self._in_doubt = in_doubt
        self._health = health
        self._escalate = escalate
        self._feed = feed
        self._desks: dict[type[Request], Desk] = {
            GetAll: self._everything,
            GetExecutions: self._executions,
            GetDaemonStatus: self._daemon_status,
            CleanupOldData: self._clean_up,
            Backup: self._backup,
        }

    async def dispatch(
        self, request: Request | Execution, deliver: Deliver, outlet: Outlet
    ) -> None:
        """Take a request on; its outcome, an answer or an error, goes to `deliver`.

        What is subscribed to goes to `outlet` from then on.
        Waits while the mailbox of the actor that it is for is full. What no single actor answers
        is done before it returns, so that a connection has one such answer in memory at a time.
        Raises InvalidParams.
        """
        match request:
            case (
                Execution()
                | RecordExecutions()
                | StartExecution()
                | ReportAgent()
                | ReportCosts()
                | ReportBudget()
            ):
                submitted = self._submitted(request)
                await self._collector.put(Envelope(submitted, deliver))
            case GetRiskPatterns() | GetRiskHistory():
                asked = {"risks": self._asked(request), "budgets": self._asked(request, BUDGETS)}
                await ask_each(asked, _then(partial(_risks, request), deliver))
            case Ping():
                deliver(self._health.pong())
            case Subscribe():
                deliver(self._feed.subscribe(request, outlet, self._journal.last_seq))
            case Unsubscribe(subscription=number):
                deliver(self._feed.unsubscribe(number, outlet))
            case _ if desk := self._desks.get(type(request)):
                deliver(await self._at(desk, request))
            case _:
                mailbox, message = self._asked(request)
                await mailbox.put(Envelope(message, deliver))

    async def _at(self, desk: Desk, request: Request) -> Answer:
        """What a desk answers; what cannot be survived is not survived here either."""
        try:
            return await desk(request)
        except FatalError as error:
            self._escalate(error)
            reason = "The daemon is ending after a fatal error, which its log explains."
            raise Unavailable(reason, 5.0) from error

    def _submitted(self, request: Execution | Submission) -> Submitted:
        now = self._clock()
        match request:
            case Execution():
                self._check_time(request.finished_at, now, "$.finished_at")
                return Submitted(RecordExecutions(executions=[request]), now)
            case RecordExecutions(executions=executions):
                self._check_times(executions, now)
            case StartExecution(started_at=started_at):
                self._check_time(started_at, now, "$.started_at")
            case ReportCosts(since=since, until=until):
                self._check_time(until, now, "$.until")
                self._check_time(since, now, "$.since")
                if since is not UNSET and since > (now if until is UNSET else until):
                    raise InvalidParams("`since` is later than `until`", "$.since")
            case ReportAgent() | ReportBudget():
                pass
        return Submitted(request, now)

    def _check_times(self, executions: Sequence[Execution], now: float) -> None:
        times = [each.finished_at for each in executions if each.finished_at is not UNSET]
        if times and max(times) > now + MAX_AHEAD_SECONDS:
            for index, each in enumerate(executions):
                self._check_time(each.finished_at, now, f"$.executions[{index}].finished_at")

    def _check_time(self, time: float | msgspec.UnsetType, now: float, path: str) -> None:
        if time is UNSET or time <= now + MAX_AHEAD_SECONDS:
            return
        if self._in_doubt():
            reason = (
                "The host's clock has jumped forward, and it is not known yet whether it stays."
            )
            raise Unavailable(reason, 60.0)
        raise InvalidParams(
            f"The time is {time - now:.0f} s ahead of the daemon's clock; at most "
            f"{MAX_AHEAD_SECONDS:.0f} s are allowed (Unix seconds, now {now:.0f})",
            path,
        )

    def _asked(
        self, request: Request, name: str | None = None
    ) -> tuple[Mailbox[ProjectionMessage], ProjectionMessage]:
        """Whom to ask, by default whose request it is, and the message that does."""
        mailbox = self._owners[type(request)] if name is None else self._projections[name]
        return mailbox, Asked(request, self._journal.last_seq)

    async def _ask(self, request: Request) -> Answer:
        answer = await ask(*self._asked(request))
        assert isinstance(answer, Answer)  # noqa: S101 - anything else was raised
        return answer

    async def _everything(self, _: Request) -> Answer:
        asked = {name: self._asked(request) for name, request in _SIX.items()}
        asked["budgets"] = self._asked(_SIX["risks"], BUDGETS)
        answers = await outcome(partial(ask_each, asked))
        assert isinstance(answers, dict)  # noqa: S101 - anything else was raised
        answers["risks"] = _risks(_SIX["risks"], answers)
        del answers["budgets"]
        # msgspec's constructors check nothing, but each name stands beside its own request.
        return Everything(timestamp=rfc3339(self._clock()), **answers)

    async def _executions(self, request: Request) -> Executions:
        assert isinstance(request, GetExecutions)  # noqa: S101 - the table says so
        floor = self._retention.tier1_floor(self._clock())
        return await self._database.read(lambda connection: tier1.page(connection, request, floor))

    async def _daemon_status(self, _: Request) -> DaemonStatus:
        return self._health.status()

    async def _clean_up(self, request: Request) -> Cleanup:
        # Nothing may go before every projection has put away what it made of it.
        put_away = PutAway(self._journal.last_seq)
        deleted = 0
        for mailbox in self._projections.values():
            done = await ask(mailbox, put_away)
            deleted += done.rows_deleted if isinstance(done, PutAwayDone) else 0
        cleanup = await self._ask(request)
        assert isinstance(cleanup, Cleanup)  # noqa: S101 - the protocol says so
        return msgspec.structs.replace(cleanup, tier3_deleted=deleted)

    async def _backup(self, request: Request) -> BackupDone:
        assert isinstance(request, Backup)  # noqa: S101 - the table says so
        path = Path(request.path)
        size = await backup.write(self._database.path, path)
        log.info("backup written", path=str(path), bytes=size)
        return BackupDone(timestamp=rfc3339(self._clock()), path=str(path), size_bytes=size)


def _then(combine: Callable[[dict[str, object]], Answer], deliver: Deliver) -> Deliver:
    """Delivers what `combine` makes of several answers; an error stands for all of them."""

    def take(answers: object) -> None:
        deliver(combine(answers) if isinstance(answers, dict) else answers)

    return take


def _risks(request: Request, answers: dict[str, object]) -> Answer:
    """What the risk actor answered, with the findings about budgets."""
    risks, of_budgets = answers["risks"], answers["budgets"]
    assert isinstance(of_budgets, Findings)  # noqa: S101 - so the actors answer this request
    if isinstance(request, GetRiskHistory):
        assert isinstance(risks, RiskHistory)  # noqa: S101 - the same
        return history_with_budgets(risks, of_budgets, request.limit)
    assert isinstance(risks, RiskPatterns)  # noqa: S101 - the same
    return with_budgets(risks, of_budgets)
