"""An execution as a line of a log: when, how it went, who, with what, how long, for how much."""

from datetime import datetime

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Tone
from buddyd.domain.answers import StoredExecution

GAP = "  "
_MARKS: dict[bool, Cell] = {
    True: Cell("\N{CHECK MARK}", value=True, tone="good"),
    False: Cell("\N{BALLOT X}", value=False, tone="bad"),
}
_CLOCK, _MARK, _DURATION, _COST = 8, 1, 9, 9
_LEAST_NAME, _MOST_NAME = 6, 28
_NARROW = 60
"""Below this width there is no room for the cost."""
# What is wide enough for nobody's names to be cut.
_PLAIN_NAME = 16


def parts(execution: StoredExecution, columns: int | None) -> list[Cell]:
    """The line's parts, each as wide as it is shown; what came last may be of any length.

    `columns` is the width of the terminal; None: there is none, and every name is whole.
    """
    with_cost = columns is None or columns >= _NARROW
    agent, tool = _name_widths(columns, with_cost=with_cost)
    failed: Tone | None = None if execution.success else "bad"
    return [
        Cell(_clock(execution.finished_at), execution.finished_at, "quiet"),
        _MARKS[execution.success],
        _fitted(cells.name(execution.agent_id), agent, cut=columns is not None),
        _fitted(cells.name(execution.tool_name, failed), tool, cut=columns is not None),
        _right(cells.seconds(execution.duration_seconds), _DURATION),
        *([_right(cells.money(execution.cost_actual), _COST)] if with_cost else []),
        *_ending(execution),
    ]


def _name_widths(columns: int | None, *, with_cost: bool) -> tuple[int, int]:
    """How wide the agent and the tool are; what is left is for the task, or the error."""
    if columns is None:
        return _PLAIN_NAME, _PLAIN_NAME
    taken = [_CLOCK, _MARK, _DURATION, *([_COST] if with_cost else [])]
    free = columns - sum(taken) - (len(taken) + 2) * len(GAP)
    # A quarter for the agent, more for the tool, and the rest for what is behind it.
    agent = min(_MOST_NAME, max(_LEAST_NAME, free * 25 // 100))
    tool = min(_MOST_NAME, max(_LEAST_NAME, free * 40 // 100))
    return agent, tool


def _ending(execution: StoredExecution) -> list[Cell]:
    task = cells.name(execution.task_id, "quiet")
    if execution.success:
        return [task]
    return [cells.name(execution.error_type or "failed", "bad"), task]


def _clock(moment: float) -> str:
    """The time of day, where the user is."""
    return f"{datetime.fromtimestamp(moment).astimezone():%H:%M:%S}"


def _fitted(cell: Cell, width: int, *, cut: bool) -> Cell:
    text = cell.text
    if cut and len(text) > width:
        text = text[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return Cell(text.ljust(width), cell.value, cell.tone)


def _right(cell: Cell, width: int) -> Cell:
    return Cell(cell.text.rjust(width), cell.value, cell.tone)
