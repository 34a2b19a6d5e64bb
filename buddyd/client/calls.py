"""Every method of the protocol as a call: its arguments, and what it answers.

Written once, for both clients: they offer each of these functions as a method of their own.
`None` leaves an argument out. Arguments are checked by the daemon.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from buddyd.domain import answers
from buddyd.domain.answers import Answer, FindingKind, ReportedPeriod, ReportedState
from buddyd.domain.execution import Execution, new_execution_id
from buddyd.protocol import messages
from buddyd.protocol.messages import METHODS, Request

R_co = TypeVar("R_co", bound=Answer, covariant=True)
T = TypeVar("T")

_NAMES = {method.params: name for name, method in METHODS.items()}


class Call(Struct, Generic[R_co], frozen=True):
    """One question to the daemon, and the type of its answer."""

    params: Request | Execution
    repeatable: bool = True
    """Whether it may be sent again when nobody knows if it was carried out."""

    @property
    def method(self) -> str:
        """The name that it travels under."""
        return _NAMES[type(self.params)]


# Recording


def record_execution(execution: Execution) -> Call[answers.Receipt]:
    """Record one execution; it is committed when the answer comes."""
    return Call(_identified(execution))


def record_executions(executions: Iterable[Execution]) -> Call[answers.Receipt]:
    """Record at least one execution, all of them or none."""
    return Call(messages.RecordExecutions(executions=[_identified(each) for each in executions]))


def start_execution(
    task_id: str, agent_id: str, tool_name: str, *, started_at: float | None = None
) -> Call[answers.Done]:
    """Mark the agent busy with a task until an execution of it is recorded.

    `started_at` is in Unix seconds, by default the time of receipt.
    """
    return Call(
        messages.StartExecution(
            task_id=task_id, agent_id=agent_id, tool_name=tool_name, started_at=_given(started_at)
        )
    )


def report_agent(
    agent_id: str,
    *,
    queue_depth: int | None = None,
    status: ReportedState | None = None,
    concurrency: int | None = None,
) -> Call[answers.Done]:
    """An agent's heartbeat: how many tasks wait, and how many it can run at once."""
    return Call(
        messages.ReportAgent(
            agent_id=agent_id,
            queue_depth=_given(queue_depth),
            status=_given(status),
            concurrency=_given(concurrency),
        )
    )


def report_costs(
    source: str,
    total_actual_usd: float,
    total_estimated_usd: float | None = None,
    *,
    mission_id: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> Call[answers.Done]:
    """What a cost tracker has counted itself, of a mission or of all, between two times.

    `since` and `until` are in Unix seconds; the totals were zero at `since`.
    """
    return Call(
        messages.ReportCosts(
            source=source,
            total_actual_usd=total_actual_usd,
            total_estimated_usd=_given(total_estimated_usd),
            mission_id=_given(mission_id),
            since=_given(since),
            until=_given(until),
        )
    )


def report_budget(
    service: str, limit_usd: float, spent_usd: float, *, period: ReportedPeriod
) -> Call[answers.Done]:
    """What a budget tracker allows a service, and what was spent since its period began."""
    return Call(
        messages.ReportBudget(
            service=service, limit_usd=limit_usd, period=period, spent_usd=spent_usd
        )
    )


# Queries


def get_agents_status() -> Call[answers.AgentsStatus]:
    """How the agents are."""
    return Call(messages.GetAgentsStatus())


def get_predictive_capacity() -> Call[answers.PredictiveCapacity]:
    """What the agents can take on in the next window."""
    return Call(messages.GetPredictiveCapacity())


def get_task_pipeline() -> Call[answers.TaskPipeline]:
    """What was done in the last day, and what runs and waits now."""
    return Call(messages.GetTaskPipeline())


def get_api_usage_and_costing() -> Call[answers.UsageAndCosting]:
    """What the agents used, and what it cost."""
    return Call(messages.GetApiUsageAndCosting())


def get_system_learning() -> Call[answers.SystemLearning]:
    """What was learned about the tools."""
    return Call(messages.GetSystemLearning())


def get_risk_patterns() -> Call[answers.RiskPatterns]:
    """What goes wrong."""
    return Call(messages.GetRiskPatterns())


def get_tool_recommendations() -> Call[answers.ToolRecommendations]:
    """What to do about the tools that fail."""
    return Call(messages.GetToolRecommendations())


def get_risk_history(
    *,
    since: float | None = None,
    limit: int = 100,
    kind: FindingKind | None = None,
    agent_id: str | None = None,
    tool_name: str | None = None,
) -> Call[answers.RiskHistory]:
    """What was found in the last 30 days, newest first.

    `since` (Unix seconds) leaves out what had ended before.
    """
    return Call(
        messages.GetRiskHistory(
            since=_given(since),
            limit=limit,
            kind=_given(kind),
            agent_id=_given(agent_id),
            tool_name=_given(tool_name),
        )
    )


def get_all() -> Call[answers.Everything]:
    """The six answers at once."""
    return Call(messages.GetAll())


def ping() -> Call[answers.Pong]:
    """Whether the daemon is there."""
    return Call(messages.Ping())


def get_executions(
    *,
    limit: int = 100,
    agent_id: str | None = None,
    tool_name: str | None = None,
    task_id: str | None = None,
    success: bool | None = None,
    since: float | None = None,
    before: str | None = None,
) -> Call[answers.Executions]:
    """A page of the raw records, newest first.

    `since` is in Unix seconds; `before` is the `next` of the page before.
    """
    return Call(
        messages.GetExecutions(
            limit=limit,
            agent_id=_given(agent_id),
            tool_name=_given(tool_name),
            task_id=_given(task_id),
            success=_given(success),
            since=_given(since),
            before=before,
        )
    )


def get_hourly_summaries(
    *, since: float | None = None, until: float | None = None
) -> Call[answers.HourlySummaries]:
    """The summaries of the hours that begin in [since, until), in Unix seconds, oldest first."""
    return Call(messages.GetHourlySummaries(since=_given(since), until=_given(until)))


def get_daemon_status() -> Call[answers.DaemonStatus]:
    """How the daemon itself does."""
    return Call(messages.GetDaemonStatus())


# Notifications; see the clients' `subscribe`, which takes a connection of its own for them


def subscribe(
    *events: answers.EventName,
    agent_id: str | None = None,
    tool_name: str | None = None,
    task_id: str | None = None,
    success: bool | None = None,
) -> Call[answers.Subscribed]:
    """Be told of `events`: each committed `execution` that fits, and what `changed`."""
    return Call(
        messages.Subscribe(
            events=list(events),
            agent_id=_given(agent_id),
            tool_name=_given(tool_name),
            task_id=_given(task_id),
            success=_given(success),
        )
    )


def unsubscribe(subscription: int) -> Call[answers.Done]:
    """Be told no more of it."""
    return Call(messages.Unsubscribe(subscription=subscription))


# Administration


def run_hourly_aggregation() -> Call[answers.Aggregation]:
    """Bring the hourly summaries up to date now."""
    return Call(messages.RunHourlyAggregation())


def cleanup_old_data() -> Call[answers.Cleanup]:
    """Remove now what its retention no longer keeps."""
    return Call(messages.CleanupOldData())


def backup(path: str) -> Call[answers.BackupDone]:
    """Write a consistent copy of the database to `path`, as the daemon sees the file system."""
    return Call(messages.Backup(path=path), repeatable=False)


def _identified(execution: Execution) -> Execution:
    # The id is given before the first attempt: sent again after a lost connection, the record
    # still counts once.
    if not isinstance(execution.execution_id, UnsetType):
        return execution
    return msgspec.structs.replace(execution, execution_id=new_execution_id())


def _given(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value
