"""What goes wrong: failing tools, and costs that stand out."""

from buddyd.cli.render import cells
from buddyd.cli.render.findings import findings
from buddyd.cli.render.view import Cell, Table, View, columns
from buddyd.domain.answers import CostAnomaly, FailurePattern, RecentFailure, RiskPatterns

_LATEST = 10


def view(answer: RiskPatterns) -> View:
    """The findings, the tools with the most failures first, and the newest of what stood out."""
    return [
        findings(answer),
        _tools(answer),
        _failures(answer),
        Table(
            f"Costs that stand out: {answer.total_cost_anomalies:,}",
            columns(
                ("When", "number"),
                ("Kind", "word"),
                ("Tool", "name"),
                ("Agent", "name"),
                ("Cost", "number"),
                ("Usual", "number"),
                ("Times", "number"),
            ),
            [_anomaly(anomaly, answer.timestamp) for anomaly in answer.cost_anomalies],
            "No cost stood out in the last 24 hours.",
        ),
    ]


def _tools(answer: RiskPatterns) -> Table:
    return Table(
        "Failing tools, the last 24 hours",
        columns(
            ("Tool", "name"),
            ("Failed", "number"),
            ("Of", "number"),
            ("Rate", "number"),
            ("In a row", "number"),
            ("Patterns", "text"),
            ("Errors", "text"),
        ),
        [_tool(*item) for item in sorted(answer.failure_patterns.items(), key=_worst_first)],
        "Nothing failed in the last 24 hours.",
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
        columns(
            ("When", "number"),
            ("Tool", "name"),
            ("Agent", "name"),
            ("Task", "name"),
            ("Took", "number"),
            ("Error", "name"),
        ),
        [_failure(failure, tool, answer.timestamp) for failure, tool in failures[:_LATEST]],
        "There are none.",
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
        cells.word(anomaly.kind, {"spike": "warning", "rise": "bad"}),
        cells.name(anomaly.tool_name),
        cells.name(anomaly.agent_id),
        cells.money(anomaly.cost),
        cells.money(anomaly.average_cost),
        Cell(f"{anomaly.ratio:,.1f}", anomaly.ratio),
    ]
