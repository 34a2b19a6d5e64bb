"""Every request that the daemon answers: one closed, documented set.

A request is a frozen struct; its fields are the `params` of the JSON-RPC message, and `METHODS`
says under which name it travels, what it answers and which role may ask it. The same structs are
what the actors receive, so this file is the list of everything that can be asked of the daemon.
"""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from buddyd.domain import answers
from buddyd.domain.answers import (
    Answer,
    EventName,
    FindingKind,
    ReportedPeriod,
    ReportedState,
)
from buddyd.domain.execution import Execution, Name, UnixTime

PROTOCOL = 1
"""The number of this protocol, as `ping` tells it."""


class Role(StrEnum):
    """What a peer may do."""

    RECORD = "record"
    QUERY = "query"
    ADMIN = "admin"


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Anything that can be asked of the daemon; the fields are the parameters."""


# Recording


class RecordExecutions(Request, frozen=True):
    """Record executions, all of them or none; answered once they are committed."""

    executions: Annotated[list[Execution], Meta(min_length=1)]


class StartExecution(Request, frozen=True):
    """An agent has begun a task: it is busy until an execution of that task is recorded."""

    task_id: Name
    agent_id: Name
    tool_name: Name
    started_at: UnixTime | UnsetType = UNSET
    """Unix seconds; the time of receipt where it is left out."""


class ReportAgent(Request, frozen=True):
    """An agent's heartbeat. What it leaves out stays as it was, `status` apart."""

    agent_id: Name
    queue_depth: Annotated[int, Meta(ge=0, le=10**9)] | UnsetType = UNSET
    """How many tasks wait."""
    status: ReportedState | UnsetType = UNSET
    """Holds until the next report; left out, the daemon works the status out itself."""
    concurrency: Annotated[int, Meta(ge=1, le=10**6)] | UnsetType = UNSET
    """How many tasks it can run at once."""


MAX_TOTAL_DOLLARS = 1_000_000_000.0
LEAST_LIMIT_DOLLARS = 1e-9
"""Money is counted in billionths of a dollar; a limit of less would be none."""
Total = Annotated[float, Meta(ge=0.0, le=MAX_TOTAL_DOLLARS)]
"""US dollars that add up over many executions."""


class ReportCosts(Request, frozen=True):
    """What a cost tracker has counted itself so far; the next report of it takes its place."""

    source: Name
    """Who counts."""
    total_actual_usd: Total
    total_estimated_usd: Total | UnsetType = UNSET
    """Left out where the source does not estimate."""
    mission_id: Name | UnsetType = UNSET
    """What the totals are of; left out, they are of all that the source counts."""
    since: UnixTime | UnsetType = UNSET
    """Unix seconds: when the totals were zero."""
    until: UnixTime | UnsetType = UNSET
    """Unix seconds: up to when they count; the time of receipt where it is left out."""


class ReportBudget(Request, frozen=True):
    """What a budget tracker allows a service, and what was spent of it."""

    service: Name
    limit_usd: Annotated[float, Meta(ge=LEAST_LIMIT_DOLLARS, le=MAX_TOTAL_DOLLARS)]
    period: ReportedPeriod
    """When what was spent begins at zero again."""
    spent_usd: Total
    """Since the period began."""


# Queries


class GetAgentsStatus(Request, frozen=True):
    """How the agents are."""


class GetPredictiveCapacity(Request, frozen=True):
    """What the agents can take on in the next window."""


class GetTaskPipeline(Request, frozen=True):
    """What was done in the last day, and what runs and waits now."""


class GetApiUsageAndCosting(Request, frozen=True):
    """What the agents used, and what it cost."""


class GetSystemLearning(Request, frozen=True):
    """What was learned about the tools."""


class GetRiskPatterns(Request, frozen=True):
    """What goes wrong."""


class GetToolRecommendations(Request, frozen=True):
    """What to do about the tools that fail."""


class GetRiskHistory(Request, frozen=True):
    """What was found in the last 30 days, newest first."""

    since: UnixTime | UnsetType = UNSET
    """Unix seconds: findings that lasted then or later."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    kind: FindingKind | UnsetType = UNSET
    agent_id: Name | UnsetType = UNSET
    tool_name: Name | UnsetType = UNSET


class GetAll(Request, frozen=True):
    """The six answers at once."""


class Ping(Request, frozen=True):
    """Whether the daemon is there."""


class GetExecutions(Request, frozen=True):
    """A page of the raw records of Tier 1, newest first."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    agent_id: Name | UnsetType = UNSET
    tool_name: Name | UnsetType = UNSET
    task_id: Name | UnsetType = UNSET
    success: bool | UnsetType = UNSET
    since: UnixTime | UnsetType = UNSET
    """Unix seconds: executions that finished at or after this time."""
    before: Annotated[str, Meta(max_length=64)] | None = None
    """The `next` of the page before."""


class GetHourlySummaries(Request, frozen=True):
    """Tier 2, oldest first: the hours that begin in [since, until)."""

    since: UnixTime | UnsetType = UNSET
    until: UnixTime | UnsetType = UNSET


class GetDaemonStatus(Request, frozen=True):
    """How the daemon itself does."""


# Notifications


class Subscribe(Request, frozen=True):
    """Tell this connection, from now on and without being asked, what happens."""

    events: Annotated[list[EventName], Meta(min_length=1, max_length=2)]
    agent_id: Name | UnsetType = UNSET
    """This and the next three choose among the executions; `changed` is told whatever they say."""
    tool_name: Name | UnsetType = UNSET
    task_id: Name | UnsetType = UNSET
    success: bool | UnsetType = UNSET


class Unsubscribe(Request, frozen=True):
    """Tell this connection no more of it."""

    subscription: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """The number that the answer to `subscribe` gave."""


# Administration


class RunHourlyAggregation(Request, frozen=True):
    """Bring Tier 2 up to date now."""


class CleanupOldData(Request, frozen=True):
    """Remove now what its retention no longer keeps."""


class Backup(Request, frozen=True):
    """Write a consistent copy of the database to `path` while records keep coming."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]


class Method(Struct, frozen=True):
    """How a request travels: what carries its parameters, what answers it, who may ask."""

    params: type[Request] | type[Execution]
    result: type[Answer]
    role: Role


METHODS: dict[str, Method] = {
    "record_execution": Method(Execution, answers.Receipt, Role.RECORD),
    "record_executions": Method(RecordExecutions, answers.Receipt, Role.RECORD),
    "start_execution": Method(StartExecution, answers.Done, Role.RECORD),
    "report_agent": Method(ReportAgent, answers.Done, Role.RECORD),
    "report_costs": Method(ReportCosts, answers.Done, Role.RECORD),
    "report_budget": Method(ReportBudget, answers.Done, Role.RECORD),
    "get_agents_status": Method(GetAgentsStatus, answers.AgentsStatus, Role.QUERY),
    "get_predictive_capacity": Method(
        GetPredictiveCapacity, answers.PredictiveCapacity, Role.QUERY
    ),
    "get_task_pipeline": Method(GetTaskPipeline, answers.TaskPipeline, Role.QUERY),
    "get_api_usage_and_costing": Method(GetApiUsageAndCosting, answers.UsageAndCosting, Role.QUERY),
    "get_system_learning": Method(GetSystemLearning, answers.SystemLearning, Role.QUERY),
    "get_risk_patterns": Method(GetRiskPatterns, answers.RiskPatterns, Role.QUERY),
    "get_tool_recommendations": Method(
        GetToolRecommendations, answers.ToolRecommendations, Role.QUERY
    ),
    "get_risk_history": Method(GetRiskHistory, answers.RiskHistory, Role.QUERY),
    "get_all": Method(GetAll, answers.Everything, Role.QUERY),
    "ping": Method(Ping, answers.Pong, Role.QUERY),
    "get_executions": Method(GetExecutions, answers.Executions, Role.QUERY),
    "get_hourly_summaries": Method(GetHourlySummaries, answers.HourlySummaries, Role.QUERY),
    "get_daemon_status": Method(GetDaemonStatus, answers.DaemonStatus, Role.QUERY),
    "subscribe": Method(Subscribe, answers.Subscribed, Role.QUERY),
    "unsubscribe": Method(Unsubscribe, answers.Done, Role.QUERY),
    "run_hourly_aggregation": Method(RunHourlyAggregation, answers.Aggregation, Role.ADMIN),
    "cleanup_old_data": Method(CleanupOldData, answers.Cleanup, Role.ADMIN),
    "backup": Method(Backup, answers.BackupDone, Role.ADMIN),
}
"""Every method of the protocol. `record_execution` carries one bare execution."""


# Errors


class ErrorCode:
    """The codes of JSON-RPC 2.0, and the two of this protocol."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    UNAVAILABLE = -32000
    NOT_PERMITTED = -32001


class ErrorData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an error says beside its sentence; which members there are depends on the code."""

    reason: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    retry_after_seconds: float | UnsetType = UNSET


class ErrorObject(Struct, frozen=True, kw_only=True):
    """Why a request has no result: a code, one sentence to act on, and the particulars."""

    code: int
    message: str
    data: ErrorData


# Whole numbers that both encodings can carry back.
RequestId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | str | None


class SuccessResponse(Struct, frozen=True, kw_only=True):
    """An answer."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: RequestId
    result: Answer


class ErrorResponse(Struct, frozen=True, kw_only=True):
    """A refusal. `id` is None where the request's own could not be read."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: RequestId
    error: ErrorObject
