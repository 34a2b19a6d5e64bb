"""What was learned about the tools."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Table, Tone, View, columns
from buddyd.domain.answers import SystemLearning, ToolProfile

_TONES: dict[str, Tone] = {"improving": "good", "degrading": "bad", "stable": "quiet"}


def view(answer: SystemLearning) -> View:
    """One row for each tool, most executions first."""
    spread = answer.confidence_distribution
    return [
        Table(
            f"Tools over 30 days: {spread.high_confidence:,} HIGH, "
            f"{spread.medium_confidence:,} MEDIUM, {spread.low_confidence:,} LOW",
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
            [_row(profile, answer.timestamp) for profile in answer.tool_profiles],
            "No tool was used in the last 30 days.",
        )
    ]


def _row(profile: ToolProfile, now: str) -> list[Cell]:
    return [
        cells.name(profile.tool_name),
        cells.count(profile.total_executions),
        cells.rate(profile.success_rate, profile.total_executions),
        cells.between(profile.success_rate_low * 100, profile.success_rate_high * 100),
        cells.level(profile.confidence_level, profile.level_probability),
        cells.word(profile.trend, _TONES),
        cells.seconds(profile.avg_duration),
        cells.ago(profile.last_execution, now),
    ]
