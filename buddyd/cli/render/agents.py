"""How the agents are."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Column, Table, Tone, View
from buddyd.domain.answers import AgentsStatus, AgentStatus

STATUS_TONES: dict[str, Tone] = {
    "OFFLINE": "quiet",
    "BUSY": "warning",
    "ERROR": "bad",
    "IDLE": "good",
}

_COLUMNS = [
    Column("Agent", "name", ("agent_id",)),
    Column("Status", "word", ("status",)),
    Column("Task", "name", ("current_task_id",), spare=2),
    Column("Today", "number", ("tasks_completed_today",), spare=3),
    Column("24 h", "number", ("executions_24h",)),
    Column("Mean", "number", ("avg_response_time",), spare=1),
    Column("Success", "number", ("success_rate",)),
    Column("Queue", "number", ("queue_depth",)),
    Column("Last seen", "number", ("last_activity",)),
]


def view(answer: AgentsStatus) -> View:
    """One row for each agent."""
    return [
        Table(
            _title(answer),
            _COLUMNS,
            [_row(agent, answer.timestamp) for agent in answer.agents],
            "No agent was heard of in the last 24 hours.",
        )
    ]


def _title(answer: AgentsStatus) -> str:
    states = [agent.status for agent in answer.agents]
    spread = ", ".join(
        f"{states.count(state):,} {state}" for state in STATUS_TONES if state in states
    )
    return f"Agents: {answer.total_agents:,}" + (f" ({spread})" if len(states) > 1 else "")


def _row(agent: AgentStatus, now: str) -> list[Cell]:
    return [
        cells.name(agent.agent_id),
        cells.word(agent.status, STATUS_TONES),
        cells.name(agent.current_task_id),
        cells.count(agent.tasks_completed_today),
        cells.count(agent.executions_24h),
        cells.seconds(agent.avg_response_time) if agent.executions_24h else cells.NOTHING,
        cells.rate(agent.success_rate, agent.executions_24h),
        cells.count(agent.queue_depth),
        cells.ago(agent.last_activity, now),
    ]
