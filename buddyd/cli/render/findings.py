"""What was found: since when, how bad it is, and what it is."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Table, Tone, View, columns
from buddyd.domain.answers import RiskFinding, RiskHistory, RiskPatterns, Severity

_TONES: dict[Severity, Tone] = {"alarm": "bad", "warning": "warning", "info": "quiet"}


def findings(answer: RiskPatterns) -> Table:
    """Those that last, the worst first."""
    return Table(
        f"Findings that last: {answer.total_findings:,}",
        columns(("Since", "number"), ("Severity", "word"), ("Kind", "word"), ("What", "text")),
        [_finding(each, answer.timestamp) for each in answer.findings],
        "Nothing alarming was found.",
    )


def history_view(answer: RiskHistory) -> View:
    """Those of the last 30 days, the newest first."""
    table = Table(
        f"Findings of the last 30 days: {answer.total_findings:,}",
        columns(
            ("Began", "number"),
            ("Ended", "number"),
            ("Severity", "word"),
            ("Kind", "word"),
            ("What", "text"),
        ),
        [_past(each, answer.timestamp) for each in answer.findings],
        "Nothing was found.",
    )
    return [table]


def _finding(each: RiskFinding, now: str) -> list[Cell]:
    began, *rest = _past(each, now)
    return [began, *rest[1:]]


def _past(each: RiskFinding, now: str) -> list[Cell]:
    return [
        cells.ago(each.began, now),
        cells.said("lasts") if each.ended is None else cells.ago(each.ended, now),
        Cell(each.severity, each.severity, _TONES[each.severity]),
        cells.said(each.kind.replace("_", " "), each.kind),
        cells.said(each.summary),
    ]
