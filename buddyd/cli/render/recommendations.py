"""What to do about the tools that fail."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Facts, Table, View, columns
from buddyd.domain.answers import Recommendation, ToolRecommendations


def view(answer: ToolRecommendations) -> View:
    """One paragraph for each tool, the worst first, and then those that get worse."""
    if not answer.recommendations and not answer.watch:
        return [
            Table("Recommendations", columns(("Tool", "name")), [], "No tool's confidence is LOW.")
        ]
    return [_facts(each) for each in (*answer.recommendations, *answer.watch)]


def _facts(each: Recommendation) -> Facts:
    facts = {
        "Confidence": cells.word(each.confidence_level, {"LOW": "bad"}),
        "Failed": cells.said(f"{each.failed:,} of {each.executions:,}", each.failed),
        "Why": cells.said(each.reason),
        "Do": cells.said(each.recommendation),
        "Instead": _fallback(each),
        "Missing": cells.said(" ".join(each.missing)) if each.missing else cells.NOTHING,
    }
    return Facts(cells.printable(each.tool), facts)


def _fallback(each: Recommendation) -> Cell:
    if each.fallback_tool is None:
        return cells.NOTHING
    if each.fallback_success_rate is None:
        return cells.name(each.fallback_tool)
    succeeded = cells.percent(each.fallback_success_rate)
    return cells.said(f"{each.fallback_tool} (succeeded on {succeeded} of these tasks)")
