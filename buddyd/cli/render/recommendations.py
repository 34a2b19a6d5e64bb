"""What to do about the tools that fail."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Column, Table, View
from buddyd.domain.answers import Recommendation, ToolRecommendations

_COLUMNS = [
    Column("Tool", "name", ("tool_name",)),
    Column("Confidence", "word", ("confidence_level",)),
    Column("Failed", "word", ("failed", "executions")),
    Column("Why", "text", ("reason",)),
    Column("Do", "text", ("recommendation",)),
    Column("Instead", "text", ("fallback_tool", "fallback_success_rate")),
    Column("Missing", "text", ("missing",)),
]


def view(answer: ToolRecommendations) -> View:
    """One paragraph for each tool, the worst first, and then those that get worse."""
    return [
        Table(
            "Recommendations",
            _COLUMNS,
            [_row(each) for each in (*answer.recommendations, *answer.watch)],
            "No tool's confidence is LOW.",
            cards=True,
        )
    ]


def _row(each: Recommendation) -> list[Cell]:
    return [
        cells.name(each.tool),
        cells.word(each.confidence_level, {"LOW": "bad"}),
        Cell(f"{each.failed:,} of {each.executions:,}", (each.failed, each.executions), "bad"),
        cells.said(each.reason),
        cells.said(each.recommendation),
        _fallback(each),
        cells.said(" ".join(each.missing)) if each.missing else cells.NOTHING,
    ]


def _fallback(each: Recommendation) -> Cell:
    if each.fallback_tool is None:
        return cells.NOTHING
    text = cells.printable(each.fallback_tool)
    if each.fallback_success_rate is not None:
        succeeded = cells.percent(each.fallback_success_rate)
        text += f" (succeeded on {succeeded} of these tasks)"
    return Cell(text, (each.fallback_tool, each.fallback_success_rate))
