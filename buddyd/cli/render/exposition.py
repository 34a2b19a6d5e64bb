"""The state as Prometheus metrics, by its conventions: base units, `_total` for what only grows.

What is counted over a window of the daemon's (a day, a month) goes down as well as up, so it is a
gauge with the window in its name.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar, get_args

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from buddyd.domain.answers import (
    ActorStatus,
    AgentState,
    AgentStatus,
    DaemonStatus,
    Everything,
    FailurePattern,
    Forecast,
    Level,
    RiskPatterns,
    TaskPipeline,
    ToolBreakdown,
    ToolProfile,
    Trend,
    UsageAndCosting,
)

_MEBIBYTE = 1_048_576


T = TypeVar("T")


class _Gauge(NamedTuple, Generic[T]):
    """A metric that each row of an answer has; None where one does not."""

    name: str
    meaning: str
    value: Callable[[T], float | None]


_OF_ACTOR: list[_Gauge[ActorStatus]] = [
    _Gauge("actor_running", "Whether the actor runs.", lambda a: a.state == "running"),
    _Gauge("actor_mailbox_messages", "Messages that wait for it.", lambda a: a.mailbox_depth),
    _Gauge(
        "actor_mailbox_capacity_messages", "How many may wait for it.", lambda a: a.mailbox_capacity
    ),
    _Gauge("actor_behind_commits", "Commits that it has not taken in yet.", lambda a: a.behind),
]
_OF_AGENT: list[_Gauge[AgentStatus]] = [
    _Gauge(
        "agent_today_executions",
        "Its executions since midnight.",
        lambda a: a.tasks_completed_today,
    ),
    _Gauge("agent_day_executions", "Its executions in 24 hours.", lambda a: a.executions_24h),
    _Gauge(
        "agent_day_success_ratio",
        "Share of its executions in 24 hours that succeeded.",
        lambda a: a.success_rate if a.executions_24h else None,
    ),
    _Gauge(
        "agent_day_mean_duration_seconds",
        "Mean duration of its executions in 24 hours.",
        lambda a: a.avg_response_time if a.executions_24h else None,
    ),
    _Gauge("agent_queued_tasks", "Tasks that wait for it.", lambda a: a.queue_depth),
    _Gauge(
        "agent_last_activity_timestamp_seconds",
        "When it was last active.",
        lambda a: _unix_seconds(a.last_activity),
    ),
]
_OF_FORECAST: list[_Gauge[Forecast]] = [
    _Gauge(
        "agent_capacity_ratio",
        "What is likely to be free of it in the next window.",
        lambda f: f.estimated_available_capacity / 100,
    ),
    _Gauge(
        "agent_capacity_low_ratio",
        "Low bound of an 80 % interval around buddyd_agent_capacity_ratio.",
        lambda f: f.capacity_low / 100,
    ),
    _Gauge(
        "agent_capacity_high_ratio",
        "High bound of an 80 % interval around buddyd_agent_capacity_ratio.",
        lambda f: f.capacity_high / 100,
    ),
    _Gauge(
        "agent_forecast_error_ratio",
        "Mean absolute error of its past forecasts.",
        lambda f: None if f.forecast_error is None else f.forecast_error / 100,
    ),
    _Gauge(
        "agent_completion_timestamp_seconds",
        "When all that it runs and has waiting should be done.",
        lambda f: _unix_seconds(f.predicted_completion_time),
    ),
]
_OF_TOOL_TODAY: list[_Gauge[ToolBreakdown]] = [
    _Gauge(
        "tool_day_mean_duration_seconds",
        "Mean duration of its executions in 24 hours.",
        lambda t: t.avg_duration,
    )
]
_OF_TOOL: list[_Gauge[ToolProfile]] = [
    _Gauge(
        "tool_month_success_ratio",
        "Share of its executions in 30 days that succeeded.",
        lambda t: t.success_rate,
    ),
    _Gauge(
        "tool_month_success_low_ratio",
        "Low bound of a 95 % interval around buddyd_tool_month_success_ratio.",
        lambda t: t.success_rate_low,
    ),
    _Gauge(
        "tool_month_success_high_ratio",
        "High bound of a 95 % interval around buddyd_tool_month_success_ratio.",
        lambda t: t.success_rate_high,
    ),
    _Gauge(
        "tool_confidence_probability_ratio",
        "How probable it is that the true rate lies in the band of buddyd_tool_confidence.",
        lambda t: t.level_probability,
    ),
]
_OF_FAILING_TOOL: list[_Gauge[FailurePattern]] = [
    _Gauge(
        "tool_consecutive_failures",
        "How many of its latest executions failed in a row.",
        lambda p: p.consecutive_failures,
    )
]


class State(Collector):
    """What the daemon answered, as metrics."""

    def __init__(self, status: DaemonStatus, everything: Everything) -> None:
        self._status = status
        self._everything = everything

    def collect(self) -> Iterator[Metric]:
        """Every metric, in a fixed order."""
        everything = self._everything
        yield from _daemon(self._status)
        yield from _actors(self._status.actors)
        yield from _agents(everything.agents.agents)
        yield from _capacity(everything.capacity.forecasts)
        yield from _pipeline(everything.pipeline)
        yield from _costs(everything.costs)
        yield from _tools(everything.learning.tool_profiles)
        yield from _risks(everything.risks)


def _daemon(status: DaemonStatus) -> Iterator[Metric]:
    version = {"version": status.version, "protocol": str(status.protocol)}
    yield InfoMetricFamily("buddyd", "The daemon that answered.", version)
    yield _gauge("uptime_seconds", "How long the daemon has been up.", status.uptime_seconds)
    yield _gauge("connections", "Open connections.", status.connections)
    records = CounterMetricFamily(
        "buddyd_records", "Executions since the daemon started.", labels=["result"]
    )
    for result in ("accepted", "duplicate", "expired", "refused"):
        records.add_metric([result], getattr(status.records, result))
    yield records
    database = status.database
    yield _gauge("database_size_bytes", "What the database takes on disk.", database.size_bytes)
    yield CounterMetricFamily(
        "buddyd_commits", "Commits in the life of the database.", database.commits
    )
    moment = _unix_seconds(database.last_commit)
    if moment is not None:
        yield _gauge("last_commit_timestamp_seconds", "When the last commit was.", moment)


def _actors(actors: list[ActorStatus]) -> Iterator[Metric]:
    rows = {actor.name: actor for actor in actors}
    yield from _gauges("actor", rows, _OF_ACTOR)
    restarts = CounterMetricFamily(
        "buddyd_actor_restarts", "Restarts of the actor.", labels=["actor"]
    )
    for name, actor in rows.items():
        restarts.add_metric([name], actor.restarts)
    yield restarts


def _agents(agents: list[AgentStatus]) -> Iterator[Metric]:
    rows = {agent.agent_id: agent for agent in agents}
    states = {name: agent.status for name, agent in rows.items()}
    yield _states("agent_status", "How it is.", ("agent", "status"), get_args(AgentState), states)
    yield from _gauges("agent", rows, _OF_AGENT)


def _capacity(forecasts: list[Forecast]) -> Iterator[Metric]:
    yield from _gauges("agent", {each.agent_id: each for each in forecasts}, _OF_FORECAST)


def _pipeline(pipeline: TaskPipeline) -> Iterator[Metric]:
    yield _gauge("in_flight_tasks", "Tasks that run now.", pipeline.in_flight)
    yield _gauge("queued_tasks", "Tasks that wait now.", pipeline.queued)
    tools = pipeline.last_24_hours.tool_breakdown
    yield _outcomes(
        "day", "24 hours", {name: (t.successful, t.failed) for name, t in tools.items()}
    )
    yield from _gauges("tool", tools, _OF_TOOL_TODAY)


def _costs(costs: UsageAndCosting) -> Iterator[Metric]:
    usage, costing, storage = costs.api_usage, costs.costing, costs.storage
    yield _gauge("day_tokens", "Tokens used in 24 hours.", usage.total_tokens_24h)
    yield _gauge("day_cost_dollars", "Cost of 24 hours.", costing.execution_costs_24h)
    yield _gauge(
        "day_estimated_cost_dollars",
        "What 24 hours should have cost.",
        costing.estimated_costs_24h,
    )
    yield _gauge(
        "day_storage_cost_dollars", "Cost of a day's storage.", costing.storage_costs_daily
    )
    for label, spent in (("tool", costing.by_tool), ("agent", costing.by_agent)):
        dollars = _Gauge(f"{label}_day_cost_dollars", f"Cost of the {label} in 24 hours.", _itself)
        yield from _gauges(label, spent, [dollars])
    yield _gauge("raw_records", "Executions in Tier 1.", storage.tier1_raw_records)
    yield _gauge("hourly_summaries", "Hours in Tier 2.", storage.tier2_hourly_summaries)
    yield _gauge(
        "estimated_size_bytes",
        "Size of the records by the rule of thumb that storage is priced by.",
        storage.estimated_size_mb * _MEBIBYTE,
    )


def _tools(profiles: list[ToolProfile]) -> Iterator[Metric]:
    rows = {profile.tool_name: profile for profile in profiles}
    counts = {
        name: (tool.successful_executions, tool.failed_executions) for name, tool in rows.items()
    }
    yield _outcomes("month", "30 days", counts)
    levels = {name: tool.confidence_level for name, tool in rows.items()}
    yield _states(
        "tool_confidence", "How far to trust it.", ("tool", "level"), get_args(Level), levels
    )
    trends = {name: tool.trend for name, tool in rows.items()}
    yield _states("tool_trend", "Where it is going.", ("tool", "trend"), get_args(Trend), trends)
    yield from _gauges("tool", rows, _OF_TOOL)


def _risks(risks: RiskPatterns) -> Iterator[Metric]:
    failures = GaugeMetricFamily(
        "buddyd_tool_day_failures",
        "Failures of the tool in 24 hours by class.",
        labels=["tool", "error_type"],
    )
    for name, pattern in risks.failure_patterns.items():
        for error, times in pattern.error_types.items():
            failures.add_metric([name, error], times)
    yield failures
    yield from _gauges("tool", risks.failure_patterns, _OF_FAILING_TOOL)
    yield _gauge(
        "day_cost_anomalies",
        "Executions in 24 hours that cost more than they should have.",
        risks.total_cost_anomalies,
    )


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"buddyd_{name}", meaning, value)


def _gauges(label: str, rows: Mapping[str, T], gauges: Iterable[_Gauge[T]]) -> Iterator[Metric]:
    """Each gauge for every row that has a value, labelled with the row's name."""
    for gauge in gauges:
        family = GaugeMetricFamily(f"buddyd_{gauge.name}", gauge.meaning, labels=[label])
        for name, row in rows.items():
            value = gauge.value(row)
            if value is not None:
                family.add_metric([name], value)
        yield family


def _itself(value: float) -> float:
    return value


def _outcomes(window: str, length: str, counts: Mapping[str, tuple[int, int]]) -> Metric:
    """Successes and failures by tool."""
    family = GaugeMetricFamily(
        f"buddyd_tool_{window}_executions",
        f"Executions of the tool in {length}.",
        labels=["tool", "outcome"],
    )
    for name, (successes, failures) in counts.items():
        family.add_metric([name, "success"], successes)
        family.add_metric([name, "failure"], failures)
    return family


def _states(
    name: str, meaning: str, labels: tuple[str, str], states: tuple[str, ...], of: Mapping[str, str]
) -> Metric:
    """1 for the state that holds and 0 for the others."""
    family = GaugeMetricFamily(f"buddyd_{name}", meaning, labels=labels)
    for row, holding in of.items():
        for state in states:
            family.add_metric([row, state], state == holding)
    return family


def _unix_seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
