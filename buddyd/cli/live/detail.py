"""What is told about one agent or one tool, besides its last executions. Pure."""

from buddyd.cli.live.state import Focus
from buddyd.cli.render import cells
from buddyd.cli.render.agents import STATUS_TONES
from buddyd.cli.render.learning import TREND_TONES
from buddyd.cli.render.view import Cell
from buddyd.domain.answers import Everything


def facts(focus: Focus, answers: Everything, now: str) -> dict[str, Cell]:
    """Its figures from all sections; a section that does not know it is left out."""
    told = (_agent if focus.kind == "agent" else _tool)(focus.name, answers, now)
    found = [
        each.kind.replace("_", " ")
        for each in answers.risks.findings
        if focus.name == (each.agent_id if focus.kind == "agent" else each.tool_name)
    ]
    return told | ({"Findings": cells.names(found)} if found else {})


def _agent(name: str, answers: Everything, now: str) -> dict[str, Cell]:
    told: dict[str, Cell] = {}
    for agent in answers.agents.agents:
        if agent.agent_id == name:
            told |= {
                "Status": cells.word(agent.status, STATUS_TONES),
                "Task": cells.name(agent.current_task_id),
                "Today": cells.count(agent.tasks_completed_today),
                "24 h": cells.count(agent.executions_24h),
                "Success": cells.rate(agent.success_rate, agent.executions_24h),
                "Mean": cells.seconds(agent.avg_response_time),
                "Queue": cells.count(agent.queue_depth),
                "Last seen": cells.ago(agent.last_activity, now),
            }
    for forecast in answers.capacity.forecasts:
        if forecast.agent_id == name:
            free = f"{forecast.estimated_available_capacity} %"
            low, high = forecast.capacity_low, forecast.capacity_high
            told["Free"] = cells.said(f"{free} ({cells.between(low, high).text})")
            told["Done"] = cells.due(forecast.predicted_completion_time, now)
            told["Bottlenecks"] = cells.names(forecast.bottleneck_tools)
    if (spent := answers.costs.costing.by_agent.get(name)) is not None:
        told["Cost 24 h"] = cells.money(spent)
    return told


def _tool(name: str, answers: Everything, now: str) -> dict[str, Cell]:
    told: dict[str, Cell] = {}
    for profile in answers.learning.tool_profiles:
        if profile.tool_name == name:
            low, high = profile.success_rate_low * 100, profile.success_rate_high * 100
            told |= {
                "Confidence": cells.level(profile.confidence_level, profile.level_probability),
                "Trend": cells.word(profile.trend, TREND_TONES),
                "Runs 30 d": cells.count(profile.total_executions),
                "Success": cells.rate(profile.success_rate, profile.total_executions),
                "95 % range": cells.between(low, high),
                "Mean": cells.seconds(profile.avg_duration),
                "Mean cost": cells.money(profile.avg_cost),
                "Last run": cells.ago(profile.last_execution, now),
            }
            if profile.level_changed_at is not None:
                since = cells.ago(profile.level_changed_at, now).text
                told["Before"] = cells.said(f"{profile.previous_level} until {since}")
    if day := answers.pipeline.last_24_hours.tool_breakdown.get(name):
        told["24 h"] = cells.count(day.total)
        told["Failed 24 h"] = cells.count(day.failed, "bad")
    if (spent := answers.costs.costing.by_tool.get(name)) is not None:
        told["Cost 24 h"] = cells.money(spent)
    if failures := answers.risks.failure_patterns.get(name):
        classes = sorted(failures.error_types.items(), key=lambda each: -each[1])
        told["Errors"] = cells.names([f"{kind} {count:,}" for kind, count in classes])
        told["Patterns"] = cells.names([each.replace("_", " ") for each in failures.patterns])
    return told
