"""How the agents are."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Table, Tone, View, columns
from buddyd.domain.answers import AgentsStatus, AgentStatus

_TONES: dict[str, Tone] = {"OFFLINE": "quiet", "BUSY": "warning", "ERROR": "bad", "IDLE": "good"}


def view(answer: AgentsStatus) -> View:
    """One row for each agent."""
    return [
        Table(
            f"Agents: {answer.total_agents:,}",
            columns(
                ("Agent", "name"),
                ("Status", "word"),
                ("Task", "name"),
                ("Today", "number"),
                ("24 h", "number"),
                ("Mean", "number"),
                ("Success", "number"),
                ("Queue", "number"),
                ("Last seen", "number"),
            ),
            [_row(agent, answer.timestamp) for agent in answer.agents],
            "No agent was heard of in the last 24 hours.",
        )
    ]


def _row(agent: AgentStatus, now: str) -> list[Cell]:
    return [
        cells.name(agent.agent_id),
        cells.word(agent.status, _TONES),
        cells.name(agent.current_task_id),
        cells.count(agent.tasks_completed_today),
        cells.count(agent.executions_24h),
        cells.seconds(agent.avg_response_time) if agent.executions_24h else cells.NOTHING,
        cells.rate(agent.success_rate, agent.executions_24h),
        cells.count(agent.queue_depth),
        cells.ago(agent.last_activity, now),
    ]
