"""What was found: since when, how bad it is, and what it is."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Column, Table, Tone, View
from buddyd.domain.answers import RiskFinding, RiskHistory, RiskPatterns, Severity

_TONES: dict[Severity, Tone] = {"alarm": "bad", "warning": "warning", "info": "quiet"}

_USUAL = 100
"""Rows of the history that are shown where no limit is given."""

_COLUMNS = [
    Column("Severity", "word", ("severity",)),
    Column("Kind", "word", ("kind",), spare=1),
    Column("Tool", "name", ("tool_name",), spare=2),
    Column("Agent", "name", ("agent_id",), spare=3),
    Column("What", "sentence", ("summary",)),
]


def findings(answer: RiskPatterns) -> Table:
    """The current ones, the worst first."""
    return Table(
        f"Current findings: {answer.total_findings:,}",
        [Column("Since", "number", ("began",)), *_COLUMNS],
        [_finding(each, answer.timestamp) for each in answer.findings],
        "Nothing alarming was found.",
        "findings",
    )


def history_view(answer: RiskHistory) -> View:
    """Those of the last 30 days, the newest first."""
    table = Table(
        f"Findings of the last 30 days: {answer.total_findings:,}",
        [Column("Began", "number", ("began",)), Column("Ended", "number", ("ended",)), *_COLUMNS],
        [_past(each, answer.timestamp) for each in answer.findings],
        "Nothing was found.",
        "findings",
        most=_USUAL,
    )
    return [table]


def _finding(each: RiskFinding, now: str) -> list[Cell]:
    began, *rest = _past(each, now)
    return [began, *rest[1:]]


def _past(each: RiskFinding, now: str) -> list[Cell]:
    return [
        cells.ago(each.began, now),
        cells.said("ongoing") if each.ended is None else cells.ago(each.ended, now),
        Cell(each.severity, each.severity, _TONES[each.severity]),
        cells.said(each.kind.replace("_", " "), each.kind),
        cells.NOTHING if each.tool_name is None else cells.name(each.tool_name),
        cells.NOTHING if each.agent_id is None else cells.name(each.agent_id),
        cells.said(each.summary),
    ]
