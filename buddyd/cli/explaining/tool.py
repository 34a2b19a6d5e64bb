"""Why a tool has its confidence."""

from msgspec import Struct

from buddyd.cli.explaining.sentences import (
    Explanation,
    counted,
    failures_among,
    landmark,
    lasting,
    most_frequent,
    rate,
)
from buddyd.cli.render import cells
from buddyd.cli.render.cells import printable
from buddyd.domain.answers import (
    FailurePattern,
    Pattern,
    Recommendation,
    RiskHistory,
    StoredExecution,
    ToolProfile,
    Trend,
)
from buddyd.domain.confidence import level
from buddyd.domain.settings import DomainSettings

_UNSURE = 0.6

_TRENDS: dict[Trend, str] = {
    "improving": "Within its last 100 executions it has begun to fail less often.",
    "stable": "Its last executions show no change.",
    "degrading": "Within its last 100 executions it has begun to fail more often.",
}
# A streak is told by its length.
_PATTERNS: dict[Pattern, str] = {
    "high_failure_rate": "That is too many for a tool to be relied on.",
    "dominant_error": "More than half of the failures have the same error type.",
    "degrading": "It is getting worse.",
}


class ToolEvidence(Struct, frozen=True):
    """What the daemon answered about one tool."""

    profile: ToolProfile
    pattern: FailurePattern | None
    """None where nothing failed in the last 24 hours."""
    history: RiskHistory
    """What was found about it."""
    recommendation: Recommendation | None
    records: list[StoredExecution]
    """Its newest ones."""
    settings: DomainSettings


def explain(evidence: ToolEvidence) -> Explanation:
    """Sentences about the tool."""
    explanation = {
        "Counts": [_counts(evidence)],
        "Confidence": _confidence(evidence),
        "Trend": [_TRENDS[evidence.profile.trend]],
        "24 hours": _day(evidence.pattern),
    }
    if found := lasting(evidence.history.findings, evidence.history.timestamp):
        explanation["Findings"] = found
    if evidence.records:
        explanation["Records"] = _records(evidence.records)
    if evidence.recommendation is not None:
        explanation["Do"] = [printable(evidence.recommendation.recommendation)]
    return explanation


def _counts(evidence: ToolEvidence) -> str:
    tool = evidence.profile
    return (
        f"{printable(tool.tool_name)} ran {_times(tool.total_executions)} in the last 30 days: "
        f"{tool.successful_executions:,} succeeded and {tool.failed_executions:,} failed, "
        f"a success rate of {_rate(evidence)}."
    )


def _confidence(evidence: ToolEvidence) -> list[str]:
    tool = evidence.profile
    low, high = cells.percent(tool.success_rate_low), cells.percent(tool.success_rate_high)
    sure = (
        f"The true rate is in the {tool.confidence_level} band with probability "
        f"{cells.percent(tool.level_probability)}; its 95 % interval is {low} to {high}."
    )
    sentences = [f"Its confidence is {tool.confidence_level}{_reason(evidence)}.", sure]
    if tool.level_probability < _UNSURE:
        sentences.append(
            "With so few executions this is uncertain: more of them may change the level."
        )
    return sentences


def _reason(evidence: ToolEvidence) -> str:
    tool, settings = evidence.profile, evidence.settings
    verdict = level(tool.successful_executions, tool.total_executions, settings)
    if verdict != tool.confidence_level:
        # The settings have changed since it was answered: why, nobody can tell.
        return ""
    least = settings.learning_min_executions
    if tool.total_executions < least:
        return f" because it is new: its rate counts only from {counted(least, 'execution')} on"
    high, medium = landmark(settings.high_success_rate), landmark(settings.medium_success_rate)
    return {
        "HIGH": f" because {_rate(evidence)} is at least {high}",
        "MEDIUM": f" because {_rate(evidence)} is at least {medium} but below {high}",
        "LOW": f" because {_rate(evidence)} is below {medium}",
    }[tool.confidence_level]


def _rate(evidence: ToolEvidence) -> str:
    landmarks = (evidence.settings.medium_success_rate, evidence.settings.high_success_rate)
    return rate(evidence.profile.success_rate, landmarks)


def _day(pattern: FailurePattern | None) -> list[str]:
    if pattern is None:
        return ["Nothing failed."]
    sentences = [f"{pattern.failed:,} of {counted(pattern.total, 'execution')} failed."]
    if pattern.consecutive_failures > 1:
        sentences.append(f"Its last {pattern.consecutive_failures:,} executions failed in a row.")
    if pattern.error_types:
        name, times = next(iter(pattern.error_types.items()))
        sentences.append(f"The most frequent error is {printable(name)} ({_times(times)}).")
    return sentences + [_PATTERNS[each] for each in pattern.patterns if each in _PATTERNS]


def _records(records: list[StoredExecution]) -> list[str]:
    failed = [record for record in records if not record.success]
    succeeded = [record for record in records if record.success]
    sentences = [failures_among(len(records), len(failed))]
    blamed = most_frequent(record.agent_id for record in failed)
    if blamed is not None and blamed[1] > 1:
        name, times = blamed
        sentences.append(f"{times:,} of these failures happened with agent {printable(name)}.")
    if failed and succeeded:
        sentences.append(
            f"A failure took {cells.span(_mean_seconds(failed))} on average, "
            f"a success {cells.span(_mean_seconds(succeeded))}."
        )
    return sentences


def _mean_seconds(records: list[StoredExecution]) -> float:
    return sum(record.duration_seconds for record in records) / len(records)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"
