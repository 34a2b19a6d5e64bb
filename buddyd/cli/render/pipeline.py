"""What was done in the last day, and what runs and waits now."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Facts, Table, View, columns
from buddyd.domain.answers import HourCount, LastDay, TaskPipeline, ToolBreakdown


def view(answer: TaskPipeline) -> View:
    """The sums, the tools with the most executions first, and the hours."""
    day = answer.last_24_hours
    return [
        Facts(
            "The last 24 hours",
            {
                "Executions": cells.count(day.total_tasks),
                "Failed": cells.count(day.failed_tasks, "bad"),
                "Success": cells.rate(day.success_rate, day.total_tasks),
                "Effort": _efforts(day),
                "With a browser": cells.count(day.by_browser.used),
                "Running now": cells.count(answer.in_flight),
                "Waiting now": cells.count(answer.queued),
            },
        ),
        Table(
            "By tool",
            columns(
                ("Tool", "name"),
                ("Total", "number"),
                ("Failed", "number"),
                ("Success", "number"),
                ("Mean", "number"),
            ),
            [_tool(*item) for item in sorted(day.tool_breakdown.items(), key=_busiest_first)],
            "No tool was used.",
        ),
        Table(
            "By hour (UTC)",
            columns(("Hour", "word"), ("Total", "number"), ("Failed", "number")),
            [_hour(hour) for hour in answer.hourly],
            "No hours are known.",
        ),
    ]


def _efforts(day: LastDay) -> Cell:
    counts = day.by_effort_level.items()
    return cells.said(", ".join(f"{count:,} {level.lower()}" for level, count in counts))


def _busiest_first(item: tuple[str, ToolBreakdown]) -> tuple[int, str]:
    name, tool = item
    return -tool.total, name


def _tool(name: str, tool: ToolBreakdown) -> list[Cell]:
    return [
        cells.name(name),
        cells.count(tool.total),
        cells.count(tool.failed, "bad"),
        cells.rate(tool.success_rate, tool.total),
        cells.seconds(tool.avg_duration),
    ]


def _hour(hour: HourCount) -> list[Cell]:
    return [
        cells.hour(hour.hour),
        cells.count(hour.total_tasks),
        cells.count(hour.failed_tasks, "bad"),
    ]
