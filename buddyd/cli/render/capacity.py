"""What the agents can take on in the next window."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Table, Tone, View, columns
from buddyd.domain.answers import Forecast, PredictiveCapacity

_AMPLE, _SCARCE = 50, 20


def view(answer: PredictiveCapacity) -> View:
    """One row for each agent."""
    return [
        Table(
            f"Capacity in the next {cells.span(answer.window_seconds)}",
            columns(
                ("Agent", "name"),
                ("Free", "number"),
                ("80 % range", "number"),
                ("Queue", "number"),
                ("Done", "number"),
                ("Error", "number"),
                ("Bottlenecks", "name"),
            ),
            [_row(forecast, answer.timestamp) for forecast in answer.forecasts],
            "No agent was heard of in the last 24 hours.",
        )
    ]


def _row(forecast: Forecast, now: str) -> list[Cell]:
    return [
        cells.name(forecast.agent_id),
        _free(forecast.estimated_available_capacity),
        cells.between(forecast.capacity_low, forecast.capacity_high),
        cells.count(forecast.current_queue_depth),
        cells.due(forecast.predicted_completion_time, now),
        _error(forecast.forecast_error),
        cells.names(forecast.bottleneck_tools),
    ]


def _free(whole_percent: int) -> Cell:
    tone: Tone = "bad"
    if whole_percent >= _SCARCE:
        tone = "good" if whole_percent >= _AMPLE else "warning"
    return Cell(f"{whole_percent} %", whole_percent, tone)


def _error(points: float | None) -> Cell:
    return cells.NOTHING if points is None else Cell(f"±{points:.1f}", points)
