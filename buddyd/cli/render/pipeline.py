"""What was done in the last day, and what runs and waits now."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Column, Facts, Table, Tone, View
from buddyd.domain.answers import HourCount, LastDay, TaskPipeline, ToolBreakdown

_TOOL_COLUMNS = [
    Column("Tool", "name", ("tool_name",)),
    Column("Total", "number", ("total",)),
    Column("Failed", "number", ("failed",)),
    Column("Success", "number", ("success_rate",)),
    Column("Mean", "number", ("avg_duration",)),
]
_HOUR_COLUMNS = [
    Column("Hour", "word", ("hour",)),
    Column("Total", "number", ("total_tasks",)),
    Column("Failed", "number", ("failed_tasks",)),
]


def view(answer: TaskPipeline) -> View:
    """The sums, the tools with the most executions first, and the hours."""
    day = answer.last_24_hours
    tools = sorted(day.tool_breakdown.items(), key=_busiest_first)
    return [
        Facts("The last 24 hours", _sums(answer), "sums"),
        Table("By tool", _TOOL_COLUMNS, [_tool(*t) for t in tools], "No tool was used.", "tools"),
        Table(
            "By hour (UTC)",
            _HOUR_COLUMNS,
            [_hour(hour) for hour in answer.hourly],
            "No hours are known.",
            "hours",
            aside=True,
        ),
    ]


def _sums(answer: TaskPipeline) -> dict[str, Cell]:
    day, hours = answer.last_24_hours, answer.hourly
    return {
        "Executions": cells.count(day.total_tasks),
        "Failed": cells.count(day.failed_tasks, "bad"),
        "Success": cells.rate(day.success_rate, day.total_tasks),
        "Effort": _efforts(day),
        "With a browser": cells.count(day.by_browser.used),
        "Running now": cells.count(answer.in_flight),
        "Waiting now": cells.count(answer.queued),
        "By hour": _sparkline(hours, [hour.total_tasks for hour in hours]),
        "Failed by hour": _sparkline(hours, [hour.failed_tasks for hour in hours], "bad"),
    }


def _sparkline(hours: list[HourCount], counts: list[int], tone: Tone | None = None) -> Cell:
    """The hours, the current one last, and which one had the most."""
    most = max(counts, default=0)
    if not most:
        return cells.NOTHING
    peak = cells.hour(hours[counts.index(most)].hour).text
    return cells.series([float(n) for n in counts], f"at most {most:,}, at {peak} UTC", tone)


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
