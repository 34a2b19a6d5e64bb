"""What the answers say: one struct for each object of an answer, without any arithmetic.

Counts are exact. Durations are seconds, money is US dollars, rates lie in [0, 1], times are
RFC 3339 UTC strings that end in `Z`. `None` means that there is nothing to tell.
"""

from typing import Literal

from msgspec import Struct

from buddyd.domain.execution import EffortLevel

AgentState = Literal["OFFLINE", "IDLE", "BUSY", "ERROR"]
ReportedState = Literal["IDLE", "BUSY", "ERROR"]
BudgetPeriod = Literal["day", "month"]
ReportedPeriod = Literal["day", "month", "total"]
BudgetScope = Literal["all", "agent", "tool", "service"]
Level = Literal["HIGH", "MEDIUM", "LOW"]
Trend = Literal["improving", "stable", "degrading"]
Pattern = Literal["streak", "high_failure_rate", "dominant_error", "degrading"]
AnomalyKind = Literal["spike", "rise"]
QueueSource = Literal["reported", "started", "estimated"]
Severity = Literal["info", "warning", "alarm"]
FindingKind = Literal[
    "streak",
    "high_failure_rate",
    "dominant_error",
    "degrading",
    "cost_spike",
    "cost_rise",
    "slow_down",
    "loop",
    "silent",
    "budget",
]
EventName = Literal["execution", "changed"]
AnswerName = Literal["agents", "capacity", "pipeline", "costs", "learning", "risks"]
"""The six, as `get_all` names them."""


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """Any object of an answer.

    None can be part of a cycle, so the garbage collector need not look at a thousand of them: they
    would have it look at all that the daemon holds now and then, which takes longer than a query.
    """


# Recording


class Receipt(Answer, frozen=True):
    """What became of the executions of one call; their sum is the number that was sent."""

    accepted: int
    """Committed now, and never to be lost."""
    duplicates: int
    """Accepted before under the same `execution_id`."""
    expired: int
    """From an hour before the 30-day window; nothing was kept."""


class Done(Answer, frozen=True):
    """`{}`: it is committed."""


# get_agents_status


class AgentStatus(Answer, frozen=True):
    """One agent, as it is now."""

    agent_id: str
    status: AgentState
    current_task_id: str | None
    """The open task that was started last."""
    tasks_completed_today: int
    """Executions that finished since midnight, failed ones too."""
    executions_24h: int
    avg_response_time: float
    success_rate: float
    queue_depth: int
    last_activity: str
    """The latest of its executions' ends, its reports and its starts."""


class AgentsStatus(Answer, frozen=True):
    """Every agent with an execution or a report in the 24-hour window, by `agent_id`."""

    timestamp: str
    total_agents: int
    agents: list[AgentStatus]


# get_predictive_capacity


class Forecast(Answer, frozen=True):
    """What an agent can take on in the next window, in whole percent."""

    agent_id: str
    estimated_available_capacity: int
    capacity_low: int
    capacity_high: int
    """The bounds of an 80 % interval."""
    current_queue_depth: int
    queue_source: QueueSource
    """Whether it reports what waits; or at least starts what runs; or both are estimated."""
    predicted_completion_time: str | None
    bottleneck_tools: list[str]
    """The tools that hold the agent up, the worst first."""
    forecast_error: float | None
    """Mean absolute error of its past forecasts, in percentage points."""
    interval_coverage: float | None
    """The share of the past windows that lay in the interval forecast for them."""


class PredictiveCapacity(Answer, frozen=True):
    """A forecast for each agent of `get_agents_status`."""

    timestamp: str
    window_seconds: int
    forecasts: list[Forecast]


# get_task_pipeline


class ToolBreakdown(Answer, frozen=True):
    """A tool's executions of the last 24 hours."""

    total: int
    successful: int
    failed: int
    success_rate: float
    avg_duration: float


class BrowserUse(Answer, frozen=True):
    """How many executions used a browser, and how many did not."""

    used: int
    not_used: int


class LastDay(Answer, frozen=True):
    """All executions of the last 24 hours."""

    total_tasks: int
    successful_tasks: int
    failed_tasks: int
    success_rate: float
    tool_breakdown: dict[str, ToolBreakdown]
    by_effort_level: dict[EffortLevel, int]
    """All three levels."""
    by_browser: BrowserUse


class HourCount(Answer, frozen=True):
    """The executions of one UTC hour, named by its start."""

    hour: str
    total_tasks: int
    failed_tasks: int


class TaskPipeline(Answer, frozen=True):
    """What was done in the last day, and what runs and waits now."""

    timestamp: str
    last_24_hours: LastDay
    in_flight: int
    queued: int
    hourly: list[HourCount]
    """24 UTC hours, the current one last."""


# get_api_usage_and_costing


class ApiUsage(Answer, frozen=True):
    """Tasks and tokens of the last 24 hours."""

    total_tasks_24h: int
    total_tokens_24h: int
    avg_tokens_per_task: float


class Costing(Answer, frozen=True):
    """Dollars of the last 24 hours, and a day's storage."""

    execution_costs_24h: float
    estimated_costs_24h: float
    storage_costs_daily: float
    total_daily_cost: float
    by_tool: dict[str, float]
    by_agent: dict[str, float]


class StorageUsage(Answer, frozen=True):
    """How much is kept."""

    tier1_raw_records: int
    tier2_hourly_summaries: int
    estimated_size_mb: float
    """By the rule of thumb of 500 bytes a record and 200 bytes a summary."""
    database_size_mb: float
    """What the database takes on disk, its write-ahead log included."""


class NotCompared(Answer, frozen=True):
    """How many of a source's totals stand beside nothing, by the reason."""

    no_beginning: int
    """It is not known from when on they count: `since` was left out, and they are of a mission, or
    one report alone came."""
    too_old: int
    """The last report is older than the 24-hour window."""


class Comparison(Answer, frozen=True):
    """What a source counted, and what was recorded in the same time.

    A difference is the former less the latter. What was estimated is None where the source does
    not say it of all.
    """

    since: str
    until: str
    missions: int
    executions: int
    reported_actual: float
    recorded_actual: float
    difference_actual: float
    reported_estimated: float | None
    recorded_estimated: float
    difference_estimated: float | None


class Reconciliation(Answer, frozen=True):
    """What one source of costs has reported, and how it fits what was recorded."""

    source: str
    missions: int
    """How many totals of it are known."""
    last_report: str
    reported_actual: float
    """The sum of those totals, however old they are."""
    reported_estimated: float | None
    compared: Comparison | None
    not_compared: NotCompared


class BudgetWarning(Answer, frozen=True):
    """A budget is used up, will be, or may be before its period ends."""

    severity: Severity
    message: str


class BudgetUse(Answer, frozen=True):
    """How much of a budget is used, and when it will be used up at the present rate."""

    scope: BudgetScope
    name: str | None
    """Of the agent, the tool or the service."""
    period: ReportedPeriod
    period_start: str | None
    period_end: str | None
    """None for a budget that never begins anew."""
    limit: float
    used: float | None
    """None where a service has reported nothing since the period began."""
    share_used: float | None
    counted_since: str | None
    """From when on all that was spent is counted; None for a service, whose tracker counts."""
    reported_at: str | None
    """When a service last reported."""
    rate: float
    """Dollars per hour, over `rate_hours`."""
    rate_hours: float
    exhausted: bool
    exhausted_at: str | None
    exhausted_low: str | None
    exhausted_high: str | None
    """The bounds of an 80 % interval; each is None where it does not lie within the period."""
    warning: BudgetWarning | None


class UsageAndCosting(Answer, frozen=True):
    """What the agents used, and what it cost."""

    timestamp: str
    api_usage: ApiUsage
    costing: Costing
    storage: StorageUsage
    budgets: list[BudgetUse]
    """Those of the configuration in its order, then the reported ones by name."""
    reconciliation: list[Reconciliation]
    """By `source`."""


# get_system_learning


class ConfidenceDistribution(Answer, frozen=True):
    """How many tools have each level."""

    high_confidence: int
    medium_confidence: int
    low_confidence: int


class ToolProfile(Answer, frozen=True):
    """What is known about one tool over the 30-day window."""

    tool_name: str
    total_executions: int
    successful_executions: int
    failed_executions: int
    success_rate: float
    success_rate_low: float
    success_rate_high: float
    """The bounds of the 95 % Wilson score interval."""
    avg_duration: float
    avg_cost: float
    avg_tokens: float
    confidence_level: Level
    level_probability: float
    """How probable it is, given the counts, that the true rate lies in the level's band."""
    trend: Trend
    last_execution: str
    level_changed_at: str | None
    """When its level became another one; None, as are the next two, while it has not."""
    previous_level: Level | None
    level_change_reason: str | None


class SystemLearning(Answer, frozen=True):
    """What was learned about the tools, most executions first, then by name."""

    timestamp: str
    confidence_distribution: ConfidenceDistribution
    tool_profiles: list[ToolProfile]


# get_risk_patterns


class RecentFailure(Answer, frozen=True):
    """One failed execution."""

    task_id: str
    agent_id: str
    timestamp: str
    duration: float
    error_type: str | None


class FailurePattern(Answer, frozen=True):
    """How a tool failed in the last 24 hours."""

    total: int
    failed: int
    failure_rate: float
    consecutive_failures: int
    """Its latest executions that failed, in the order they were recorded."""
    error_types: dict[str, int]
    patterns: list[Pattern]
    recent_failures: list[RecentFailure]
    """The newest ten."""


class CostAnomaly(Answer, frozen=True):
    """An execution that cost more than it should have."""

    kind: AnomalyKind
    execution_id: str
    task_id: str
    agent_id: str
    tool_name: str
    cost: float
    average_cost: float
    """What the tool usually costs that agent (the exponential of the mean logarithm)."""
    ratio: float
    unusual: bool
    """Whether it is more than the spread explains, as far as that is known."""
    timestamp: str


class Evidence(Answer, frozen=True):
    """What a finding rests on; None where it says nothing about its kind."""

    executions: int
    failed: int | None
    rate: float | None
    """`failed` / `executions`."""
    error_type: str | None
    value: float | None
    """What was measured, US dollars or seconds."""
    usual: float | None
    ratio: float | None
    """`value` / `usual`."""
    waiting: int | None
    """Tasks that waited or were open."""
    execution_ids: list[str]
    """The latest ten; of a budget, the ten that cost most."""


class RiskFinding(Answer, frozen=True):
    """Something that went wrong for a while, or still does."""

    finding_id: str
    """The same whenever and however often it is asked for."""
    kind: FindingKind
    severity: Severity
    """The worst that it has been."""
    agent_id: str | None
    tool_name: str | None
    task_id: str | None
    service: str | None
    """Whose reported budget it is about."""
    began: str
    ended: str | None
    """None while it lasts."""
    summary: str
    evidence: Evidence


class Findings(Answer, frozen=True):
    """One actor's share of the findings; those of all together are told."""

    total_findings: int
    findings: list[RiskFinding]


class RiskHistory(Answer, frozen=True):
    """What was found in the last 30 days."""

    timestamp: str
    total_findings: int
    """How many fit the question."""
    findings: list[RiskFinding]
    """The newest first."""


class RiskPatterns(Answer, frozen=True):
    """What goes wrong: failing tools, and costs that stand out."""

    timestamp: str
    failure_patterns: dict[str, FailurePattern]
    cost_anomalies: list[CostAnomaly]
    """The newest 100 of the last 24 hours."""
    total_cost_anomalies: int
    findings: list[RiskFinding]
    """Those that last, the worst 50 first."""
    total_findings: int


# get_tool_recommendations


class Recommendation(Answer, frozen=True):
    """What to do about a tool whose confidence is LOW, or that gets worse."""

    tool: str
    confidence_level: Level
    reason: str
    executions: int
    failed: int
    recommendation: str
    fallback_tool: str | None
    """The tool that most often succeeded on the same task after this one failed."""
    fallback_success_rate: float | None
    """Of the tasks on which it was tried after such a failure, the share on which it succeeded."""
    since: str | None
    """When the oldest finding about its failures that still lasts began."""
    agents: dict[str, int]
    """Its failures by agent, the five with the most."""
    fallback_tried: int | None
    """On how many tasks the fallback was tried."""
    fallback_cost_ratio: float | None
    """What an execution of the fallback costs on these tasks, as a multiple of one of this tool."""
    fallback_duration_ratio: float | None
    missing: list[str]
    """What the data do not tell yet, a sentence each."""


class ToolRecommendations(Answer, frozen=True):
    """One for each LOW tool, the worst success rate first."""

    timestamp: str
    total_recommendations: int
    recommendations: list[Recommendation]
    watch: list[Recommendation]
    """The same for those that get worse and are not LOW yet."""


# Around them


class Everything(Answer, frozen=True):
    """The six answers at once."""

    timestamp: str
    agents: AgentsStatus
    capacity: PredictiveCapacity
    pipeline: TaskPipeline
    costs: UsageAndCosting
    learning: SystemLearning
    risks: RiskPatterns


class Pong(Answer, frozen=True):
    """The daemon is there."""

    version: str
    protocol: int
    uptime_seconds: float


class StoredExecution(Answer, frozen=True):
    """One row of Tier 1."""

    execution_id: str
    task_id: str
    agent_id: str
    tool_name: str
    duration_seconds: float
    success: bool
    finished_at: float
    """Unix seconds, as in the record."""
    cost_actual: float
    cost_estimate: float
    tokens_used: int
    human_effort_level: EffortLevel
    browser_used: bool
    error_type: str | None


class Executions(Answer, frozen=True):
    """A page of Tier 1, newest first."""

    executions: list[StoredExecution]
    next: str | None
    """The cursor of the next page, for `before`; None at the end."""


class Subscribed(Answer, frozen=True):
    """What was subscribed to will be told."""

    subscription: int
    """Its number, on this connection."""
    commits: int
    """The number of the last commit before it: every later one is told."""


class HourlySummary(Answer, frozen=True):
    """One UTC hour of Tier 2."""

    hour: str
    total_tasks: int
    successful_tasks: int
    failed_tasks: int
    total_cost: float
    total_tokens: int
    avg_task_duration: float
    avg_cost_per_task: float
    tool_execution_counts: dict[str, int]


class HourlySummaries(Answer, frozen=True):
    """Tier 2, oldest first."""

    summaries: list[HourlySummary]


class ActorStatus(Answer, frozen=True):
    """How one actor does."""

    name: str
    state: str
    restarts: int
    mailbox_depth: int
    mailbox_capacity: int
    behind: int
    """Commits that it has not folded yet."""
    last_error: str | None


class RecordCounts(Answer, frozen=True):
    """Executions since the daemon started."""

    accepted: int
    duplicate: int
    expired: int
    refused: int


class DatabaseStatus(Answer, frozen=True):
    """Where the records are."""

    path: str
    size_bytes: int
    sqlite_version: str
    schema_version: int
    commits: int
    """The number of the last commit: executions, starts and reports together."""
    last_commit: str | None


class DaemonStatus(Answer, frozen=True):
    """How the daemon itself does."""

    timestamp: str
    version: str
    protocol: int
    pid: int
    uptime_seconds: float
    socket: str
    connections: int
    actors: list[ActorStatus]
    records: RecordCounts
    database: DatabaseStatus
    settings: dict[str, object]
    """The settings in force, defaults included, in the layout of the configuration file."""


class Aggregation(Answer, frozen=True):
    """What `run_hourly_aggregation` did."""

    timestamp: str
    hours_written: int
    """Rows of Tier 2 that were brought up to date."""
    commits: int
    """The commit up to which Tier 2 counts."""


class Cleanup(Answer, frozen=True):
    """What `cleanup_old_data` removed."""

    timestamp: str
    tier1_deleted: int
    tier2_deleted: int
    tier3_deleted: int
    execution_ids_deleted: int
    bytes_freed: int
    """What was handed back to the file system."""


class BackupDone(Answer, frozen=True):
    """A consistent copy of the database."""

    timestamp: str
    path: str
    size_bytes: int
