"""What was learned about the tools."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Column, Table, Tone, View
from buddyd.domain.answers import SystemLearning, ToolProfile

TREND_TONES: dict[str, Tone] = {"improving": "good", "degrading": "bad", "stable": "quiet"}

_COLUMNS = [
    Column("Tool", "name", ("tool_name",)),
    Column("Runs", "number", ("total_executions",)),
    Column("Success", "number", ("success_rate",)),
    Column("", "graph", spare=5),
    Column("95 % range", "number", ("success_rate_low", "success_rate_high")),
    Column("Confidence", "word", ("confidence_level", "level_probability")),
    Column("Trend", "word", ("trend",)),
    Column("Mean", "number", ("avg_duration",), spare=2),
    Column("Cost", "number", ("avg_cost",), spare=4),
    Column("Tokens", "number", ("avg_tokens",), spare=4),
    Column("Last run", "number", ("last_execution",), spare=1),
]


def view(answer: SystemLearning) -> View:
    """One row for each tool, most executions first."""
    spread = answer.confidence_distribution
    return [
        Table(
            f"Tools over 30 days: {spread.high_confidence:,} HIGH, "
            f"{spread.medium_confidence:,} MEDIUM, {spread.low_confidence:,} LOW",
            _COLUMNS,
            [_row(profile, answer.timestamp) for profile in answer.tool_profiles],
            "No tool was used in the last 30 days.",
        )
    ]


def _row(profile: ToolProfile, now: str) -> list[Cell]:
    low, rate, high = profile.success_rate_low, profile.success_rate, profile.success_rate_high
    return [
        cells.name(profile.tool_name),
        cells.count(profile.total_executions),
        cells.rate(rate, profile.total_executions),
        cells.interval(low, rate, high, cells.rate_tone(rate)),
        cells.between(low * 100, high * 100, (low, high)),
        cells.level(profile.confidence_level, profile.level_probability),
        cells.word(profile.trend, TREND_TONES),
        cells.seconds(profile.avg_duration),
        cells.money(profile.avg_cost),
        Cell(f"{profile.avg_tokens:,.0f}", profile.avg_tokens),
        cells.ago(profile.last_execution, now),
    ]
