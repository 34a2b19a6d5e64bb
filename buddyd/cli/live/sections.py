"""The five sections as tables: what each row is of, and its cells."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from buddyd.cli.render import cells
from buddyd.cli.render.agents import STATUS_TONES
from buddyd.cli.render.capacity import error, free_tone
from buddyd.cli.render.learning import TREND_TONES
from buddyd.cli.render.view import Cell, Column, columns
from buddyd.domain.answers import (
    AgentStatus,
    Everything,
    Forecast,
    ToolBreakdown,
    ToolProfile,
)

SectionName = Literal["agents", "capacity", "tasks", "costs", "learning"]
SECTIONS: tuple[SectionName, ...] = ("agents", "capacity", "tasks", "costs", "learning")
Kind = Literal["agent", "tool"]


class Row(Struct, frozen=True):
    """A row of a section, and the agent or tool that it is about."""

    kind: Kind
    name: str
    cells: list[Cell]


class Section(Struct, frozen=True):
    """One of the five. What stands first in `columns` is kept longest where room is short."""

    title: str
    summary: str
    columns: list[Column]
    rows: list[Row]
    empty: str


def section(name: SectionName, answers: Everything, now: str) -> Section:
    """A section, with relative times as of `now` (RFC 3339)."""
    return _SECTIONS[name](answers, now)


def _agents(answers: Everything, now: str) -> Section:
    agents = answers.agents.agents
    counts: Counter[str] = Counter(agent.status for agent in agents)
    told = ", ".join(f"{counts[status]:,} {status}" for status in STATUS_TONES if counts[status])
    return Section(
        "Agents",
        told or "none",
        columns(
            ("Agent", "name"),
            ("Status", "word"),
            ("Today", "number"),
            ("Success", "number"),
            ("Last seen", "number"),
            ("Queue", "number"),
            ("Mean", "number"),
            ("24 h", "number"),
            ("Task", "name"),
        ),
        [Row("agent", agent.agent_id, _agent(agent, now)) for agent in agents],
        "No agent was heard of in the last 24 hours.",
    )


def _agent(agent: AgentStatus, now: str) -> list[Cell]:
    return [
        cells.name(agent.agent_id),
        cells.word(agent.status, STATUS_TONES),
        cells.count(agent.tasks_completed_today),
        cells.rate(agent.success_rate, agent.executions_24h),
        cells.ago(agent.last_activity, now),
        cells.count(agent.queue_depth),
        cells.seconds(agent.avg_response_time) if agent.executions_24h else cells.NOTHING,
        cells.count(agent.executions_24h),
        cells.name(agent.current_task_id),
    ]


def _capacity(answers: Everything, now: str) -> Section:
    capacity = answers.capacity
    free = [forecast.estimated_available_capacity for forecast in capacity.forecasts]
    mean = f"{sum(free) / len(free):.0f} % free on average" if free else "none"
    return Section(
        "Capacity",
        f"{mean} in the next {cells.span(capacity.window_seconds)}" if free else mean,
        columns(
            ("Agent", "name"),
            ("Free", "number"),
            ("80 % range", "number"),
            ("Queue", "number"),
            ("Done", "number"),
            ("Error", "number"),
            ("Bottlenecks", "name"),
        ),
        [Row("agent", each.agent_id, _forecast(each, now)) for each in capacity.forecasts],
        "No agent was heard of in the last 24 hours.",
    )


def _forecast(forecast: Forecast, now: str) -> list[Cell]:
    free = forecast.estimated_available_capacity
    return [
        cells.name(forecast.agent_id),
        Cell(f"{free} %", free, free_tone(free)),
        cells.between(forecast.capacity_low, forecast.capacity_high),
        cells.count(forecast.current_queue_depth),
        cells.due(forecast.predicted_completion_time, now),
        error(forecast.forecast_error),
        cells.names(forecast.bottleneck_tools),
    ]


def _tasks(answers: Everything, _: str) -> Section:
    pipeline = answers.pipeline
    day = pipeline.last_24_hours
    tools = sorted(day.tool_breakdown.items(), key=lambda item: (-item[1].total, item[0]))
    return Section(
        "Tasks",
        f"{day.total_tasks:,} in 24 h, {day.failed_tasks:,} failed; "
        f"{pipeline.in_flight:,} running, {pipeline.queued:,} waiting",
        columns(
            ("Tool", "name"),
            ("24 h", "number"),
            ("Failed", "number"),
            ("Success", "number"),
            ("Mean", "number"),
        ),
        [Row("tool", name, _tool(name, tool)) for name, tool in tools],
        "No tool was used in the last 24 hours.",
    )


def _tool(name: str, tool: ToolBreakdown) -> list[Cell]:
    return [
        cells.name(name),
        cells.count(tool.total),
        cells.count(tool.failed, "bad"),
        cells.rate(tool.success_rate, tool.total),
        cells.seconds(tool.avg_duration),
    ]


def _costs(answers: Everything, _: str) -> Section:
    costing, usage = answers.costs.costing, answers.costs.api_usage
    total = costing.execution_costs_24h
    spent: list[tuple[float, Kind, str]] = [
        *((dollars, "tool", name) for name, dollars in costing.by_tool.items()),
        *((dollars, "agent", name) for name, dollars in costing.by_agent.items()),
    ]
    return Section(
        "Usage and costs",
        f"{cells.money(total).text} in 24 h, {usage.total_tokens_24h:,} tokens, "
        f"anomalies: {answers.risks.total_cost_anomalies:,}",
        columns(("Name", "name"), ("Of", "word"), ("Cost 24 h", "number"), ("Share", "number")),
        [
            Row(kind, name, _spent(name, kind, dollars, total))
            for dollars, kind, name in sorted(spent, key=lambda each: (-each[0], each[1:]))
        ],
        "Nothing was spent.",
    )


def _spent(name: str, kind: Kind, dollars: float, total: float) -> list[Cell]:
    share = dollars / total if total else 0.0
    return [
        cells.name(name),
        cells.word(kind),
        cells.money(dollars),
        Cell(cells.percent(share), share) if total else cells.NOTHING,
    ]


def _learning(answers: Everything, now: str) -> Section:
    spread = answers.learning.confidence_distribution
    return Section(
        "Learning",
        f"{spread.high_confidence:,} HIGH, {spread.medium_confidence:,} MEDIUM, "
        f"{spread.low_confidence:,} LOW over 30 days",
        columns(
            ("Tool", "name"),
            ("Runs", "number"),
            ("Success", "number"),
            ("95 % range", "number"),
            ("Confidence", "word"),
            ("Trend", "word"),
            ("Mean", "number"),
            ("Last run", "number"),
        ),
        [
            Row("tool", each.tool_name, _profile(each, now))
            for each in answers.learning.tool_profiles
        ],
        "No tool was used in the last 30 days.",
    )


def _profile(profile: ToolProfile, now: str) -> list[Cell]:
    return [
        cells.name(profile.tool_name),
        cells.count(profile.total_executions),
        cells.rate(profile.success_rate, profile.total_executions),
        cells.between(profile.success_rate_low * 100, profile.success_rate_high * 100),
        cells.level(profile.confidence_level, profile.level_probability),
        cells.word(profile.trend, TREND_TONES),
        cells.seconds(profile.avg_duration),
        cells.ago(profile.last_execution, now),
    ]


_SECTIONS: dict[SectionName, Callable[[Everything, str], Section]] = {
    "agents": _agents,
    "capacity": _capacity,
    "tasks": _tasks,
    "costs": _costs,
    "learning": _learning,
}
