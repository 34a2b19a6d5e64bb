"""What the agents can take on in the next window."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Column, Table, Tone, View
from buddyd.domain.answers import Forecast, PredictiveCapacity

_AMPLE, _SCARCE = 50, 20

_COLUMNS = [
    Column("Agent", "name", ("agent_id",)),
    Column("Free", "number", ("estimated_available_capacity",)),
    Column("", "graph"),
    Column("80 % range", "number", ("capacity_low", "capacity_high")),
    Column("Queue", "number", ("current_queue_depth",)),
    Column("Done", "number", ("predicted_completion_time",)),
    Column("Error", "number", ("forecast_error",), spare=2),
    Column("Bottlenecks", "name", ("bottleneck_tools",), spare=1),
]


def view(answer: PredictiveCapacity) -> View:
    """One row for each agent."""
    return [
        Table(
            f"Capacity in the next {cells.span(answer.window_seconds)}",
            _COLUMNS,
            [_row(forecast, answer.timestamp) for forecast in answer.forecasts],
            "No agent was heard of in the last 24 hours.",
        )
    ]


def _row(forecast: Forecast, now: str) -> list[Cell]:
    low, free, high = (
        forecast.capacity_low,
        forecast.estimated_available_capacity,
        forecast.capacity_high,
    )
    return [
        cells.name(forecast.agent_id),
        Cell(f"{free} %", free, free_tone(free)),
        cells.interval(low / 100, free / 100, high / 100, free_tone(free)),
        cells.between(low, high),
        cells.count(forecast.current_queue_depth),
        cells.due(forecast.predicted_completion_time, now),
        error(forecast.forecast_error),
        cells.foremost(forecast.bottleneck_tools),
    ]


def free_tone(whole_percent: int) -> Tone:
    """What so much free capacity looks like."""
    if whole_percent >= _SCARCE:
        return "good" if whole_percent >= _AMPLE else "warning"
    return "bad"


def error(points: float | None) -> Cell:
    """How far past forecasts were off, in percentage points."""
    return cells.NOTHING if points is None else Cell(f"±{points:.1f}", points)
