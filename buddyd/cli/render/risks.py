"""What goes wrong: failing tools, and costs that stand out."""

from buddyd.cli.render import cells
from buddyd.cli.render.findings import findings
from buddyd.cli.render.view import Cell, Column, Table, View
from buddyd.domain.answers import CostAnomaly, FailurePattern, RecentFailure, RiskPatterns

_LATEST = 10

_TOOL_COLUMNS = [
    Column("Tool", "name", ("tool_name",)),
    Column("Failed", "number", ("failed",)),
    Column("Of", "number", ("total",)),
    Column("Rate", "number", ("failure_rate",)),
    Column("In a row", "number", ("consecutive_failures",), spare=1),
    Column("Patterns", "text", ("patterns",)),
    Column("Errors", "text", ("error_types",)),
]
_FAILURE_COLUMNS = [
    Column("When", "number", ("timestamp",)),
    Column("Tool", "name", ("tool_name",)),
    Column("Agent", "name", ("agent_id",)),
    Column("Task", "name", ("task_id",)),
    Column("Took", "number", ("duration",), spare=1),
    Column("Error", "name", ("error_type",)),
]
_ANOMALY_COLUMNS = [
    Column("When", "number", ("timestamp",)),
    Column("Kind", "word", ("kind",)),
    Column("Tool", "name", ("tool_name",)),
    Column("Agent", "name", ("agent_id",)),
    Column("Cost", "number", ("cost",)),
    Column("Usual", "number", ("average_cost",)),
    Column("Times", "number", ("ratio",), spare=1),
]


def view(answer: RiskPatterns) -> View:
    """The findings, the tools with the most failures first, and the newest of what stood out."""
    return [findings(answer), _tools(answer), _failures(answer), _anomalies(answer)]


def _tools(answer: RiskPatterns) -> Table:
    return Table(
        "Failing tools, the last 24 hours",
        _TOOL_COLUMNS,
        [_tool(*item) for item in sorted(answer.failure_patterns.items(), key=_worst_first)],
        "Nothing failed in the last 24 hours.",
        "tools",
    )


def _worst_first(item: tuple[str, FailurePattern]) -> tuple[int, str]:
    name, pattern = item
    return -pattern.failed, name


def _tool(name: str, pattern: FailurePattern) -> list[Cell]:
    errors = sorted(pattern.error_types.items(), key=lambda item: (-item[1], item[0]))
    return [
        cells.name(name, "bad" if pattern.patterns else None),
        cells.count(pattern.failed),
        cells.count(pattern.total),
        Cell(cells.percent(pattern.failure_rate), pattern.failure_rate),
        cells.count(pattern.consecutive_failures),
        cells.said(", ".join(each.replace("_", " ") for each in pattern.patterns)),
        cells.names([f"{error} {times:,}" for error, times in errors]),
    ]


def _failures(answer: RiskPatterns) -> Table:
    failures = [
        (failure, tool)
        for tool, pattern in answer.failure_patterns.items()
        for failure in pattern.recent_failures
    ]
    failures.sort(key=lambda pair: pair[0].timestamp, reverse=True)
    return Table(
        "The newest failures",
        _FAILURE_COLUMNS,
        [_failure(failure, tool, answer.timestamp) for failure, tool in failures],
        "There are none.",
        "failures",
        most=_LATEST,
    )


def _anomalies(answer: RiskPatterns) -> Table:
    return Table(
        f"Costs that stand out: {answer.total_cost_anomalies:,}",
        _ANOMALY_COLUMNS,
        [_anomaly(anomaly, answer.timestamp) for anomaly in answer.cost_anomalies],
        "No cost stood out in the last 24 hours.",
        "costs",
    )


def _failure(failure: RecentFailure, tool: str, now: str) -> list[Cell]:
    return [
        cells.ago(failure.timestamp, now),
        cells.name(tool),
        cells.name(failure.agent_id),
        cells.name(failure.task_id),
        cells.seconds(failure.duration),
        cells.name(failure.error_type),
    ]


def _anomaly(anomaly: CostAnomaly, now: str) -> list[Cell]:
    return [
        cells.ago(anomaly.timestamp, now),
        cells.word(
            anomaly.kind, {"spike": "warning" if anomaly.unusual else "quiet", "rise": "bad"}
        ),
        cells.name(anomaly.tool_name),
        cells.name(anomaly.agent_id),
        cells.money(anomaly.cost),
        cells.money(anomaly.average_cost),
        Cell(f"{anomaly.ratio:,.1f}", anomaly.ratio),
    ]
