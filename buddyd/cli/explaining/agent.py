"""Why an agent has its status and its capacity."""

from msgspec import Struct

from buddyd.cli.explaining.sentences import (
    Explanation,
    counted,
    failures_among,
    lasting,
    listed,
    most_frequent,
)
from buddyd.cli.render import cells
from buddyd.cli.render.cells import printable
from buddyd.domain.agents import FAILURES_OF_AN_ERROR
from buddyd.domain.answers import AgentStatus, Forecast, RiskHistory, StoredExecution
from buddyd.domain.settings import DomainSettings


class AgentEvidence(Struct, frozen=True):
    """What the daemon answered about one agent."""

    timestamp: str
    status: AgentStatus
    forecast: Forecast
    window_seconds: int
    history: RiskHistory
    """What was found about it."""
    records: list[StoredExecution]
    """Its newest ones, the newest first."""
    settings: DomainSettings


def explain(evidence: AgentEvidence) -> Explanation:
    """Sentences about the agent."""
    explanation = {
        "Status": [_status(evidence), _seen(evidence)],
        "24 hours": _day(evidence.status),
        "Capacity": _capacity(evidence),
    }
    if found := lasting(evidence.history.findings, evidence.history.timestamp):
        explanation["Findings"] = found
    if evidence.records:
        explanation["Records"] = _records(evidence.records)
    return explanation


def _status(evidence: AgentEvidence) -> str:
    agent = evidence.status
    reason = {
        "OFFLINE": _why_offline,
        "BUSY": _why_busy,
        "ERROR": _why_error,
        "IDLE": _why_idle,
    }[agent.status](evidence)
    return f"{printable(agent.agent_id)} is {agent.status}: {reason}."


def _why_offline(evidence: AgentEvidence) -> str:
    silence = cells.span(evidence.settings.offline_after_seconds)
    return f"it has sent reports before, but has not been heard from for at least {silence}"


def _why_busy(evidence: AgentEvidence) -> str:
    return _work(evidence.status) or "its last report said so"


def _why_idle(evidence: AgentEvidence) -> str:
    return _reported(evidence.status) or "it has no open task, and none is waiting"


def _why_error(evidence: AgentEvidence) -> str:
    if reported := _reported(evidence.status):
        return reported
    newest = evidence.records[:FAILURES_OF_AN_ERROR]
    if len(newest) == FAILURES_OF_AN_ERROR and not any(record.success for record in newest):
        errors = listed(list(dict.fromkeys(record.error_type or "unknown" for record in newest)))
        return f"its last {FAILURES_OF_AN_ERROR} executions failed, with {errors}"
    return (
        f"its last report said so, or the last {FAILURES_OF_AN_ERROR} executions recorded for it "
        "failed"
    )


def _reported(agent: AgentStatus) -> str:
    """Whether it must have said itself how it is: with work it would be BUSY else."""
    work = _work(agent)
    return f"its last report said so, though {work}" if work else ""


def _work(agent: AgentStatus) -> str:
    """What it has to do; empty where there is nothing."""
    parts = []
    if agent.current_task_id is not None:
        parts.append(f"it is working on {printable(agent.current_task_id)}")
    if agent.queue_depth:
        wait = "is waiting" if agent.queue_depth == 1 else "are waiting"
        parts.append(f"{counted(agent.queue_depth, 'task')} {wait} for it")
    return " and ".join(parts)


def _seen(evidence: AgentEvidence) -> str:
    seen = cells.ago(evidence.status.last_activity, evidence.timestamp).text
    return f"It was last active {'just now' if seen == 'now' else seen}."


def _day(agent: AgentStatus) -> list[str]:
    today = f"It has finished {agent.tasks_completed_today:,} since midnight."
    if not agent.executions_24h:
        return ["It finished no executions.", today]
    return [
        (
            f"It finished {counted(agent.executions_24h, 'execution')}, "
            f"{cells.percent(agent.success_rate)} of them successfully, "
            f"taking {cells.span(agent.avg_response_time)} on average."
        ),
        today,
    ]


def _capacity(evidence: AgentEvidence) -> list[str]:
    forecast = evidence.forecast
    sentences = [_free(evidence), *_trust(evidence)]
    if forecast.predicted_completion_time is not None:
        due = cells.due(forecast.predicted_completion_time, evidence.timestamp).text
        sentences.append(f"What is running and waiting should be done {due}.")
    if forecast.bottleneck_tools:
        sentences.append(f"It is slowed down most by {listed(forecast.bottleneck_tools)}.")
    return sentences


def _free(evidence: AgentEvidence) -> str:
    forecast, window = evidence.forecast, cells.span(evidence.window_seconds)
    if evidence.status.status == "OFFLINE" and not forecast.capacity_high:
        return "It counts as 0 % free while it is OFFLINE."
    return (
        f"In the next {window} about {forecast.estimated_available_capacity} % of its capacity "
        f"should be free; the 80 % interval is {forecast.capacity_low} % to "
        f"{forecast.capacity_high} %."
    )


def _trust(evidence: AgentEvidence) -> list[str]:
    error = evidence.forecast.forecast_error
    if error is not None:
        return [f"Its past forecasts were off by {error:.1f} percentage points on average."]
    return ["None of its forecasts could be checked yet."]


def _records(records: list[StoredExecution]) -> list[str]:
    failed = [record for record in records if not record.success]
    sentences = [failures_among(len(records), len(failed))]
    blamed = most_frequent(record.tool_name for record in failed)
    if blamed is not None and blamed[1] > 1:
        name, times = blamed
        sentences.append(f"{times:,} of these failures were of {printable(name)}.")
    busiest = _busiest(records)
    if busiest is not None:
        name, share = busiest
        sentences.append(f"{printable(name)} took {cells.percent(share)} of their time.")
    return sentences


def _busiest(records: list[StoredExecution]) -> tuple[str, float] | None:
    """The tool that took the most time, and its share of it."""
    seconds: dict[str, float] = {}
    for record in records:
        before = seconds.get(record.tool_name, 0.0)
        seconds[record.tool_name] = before + record.duration_seconds
    whole = sum(seconds.values())
    if not whole:
        return None
    name = min(seconds, key=lambda each: (-seconds[each], each))
    return name, seconds[name] / whole
