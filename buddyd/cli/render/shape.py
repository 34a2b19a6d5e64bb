"""What of a view is shown, and in which order: a view in, a view out."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from buddyd.cli.render.cells import printable
from buddyd.cli.render.view import Cell, Column, Facts, Part, Plain, Table, View

_FILTERS = {"agent": "agent_id", "tool": "tool_name"}
"""Under which key the column stands that a filter goes by."""


class ShapeError(ValueError):
    """What was asked for is not in the view; the text says what is."""


class Shape(Struct):
    """What the user asked for."""

    agent: tuple[str, ...] = ()
    tool: tuple[str, ...] = ()
    sort: str | None = None
    limit: int | None = None
    table: str | None = None

    def __bool__(self) -> bool:
        return self != Shape()


def shaped(view: View, shape: Shape) -> View:
    """`view` as it was asked for. Raises ShapeError."""
    view = _chosen(view, shape.table)
    for option, key in _FILTERS.items():
        wanted: tuple[str, ...] = getattr(shape, option)
        if wanted:
            view = [_filtered(part, key, wanted) for part in view if _column(part, key) is not None]
    if shape.sort is not None:
        view = _sorted(view, shape.sort)
    return [_limited(part, shape.limit) for part in view]


def _chosen(view: View, name: str | None) -> View:
    if name is None:
        return [part for part in view if not (isinstance(part, Table) and part.aside)]
    named = {part.name: part for part in view if isinstance(part, Table | Facts) and part.name}
    if name not in named:
        raise ShapeError(_there_is_no("table", name, list(named)))
    return [named[name]]


def _filtered(part: Part, key: str, wanted: tuple[str, ...]) -> Part:
    index = _column(part, key)
    if not isinstance(part, Table) or index is None:
        return part
    rows = [row for row in part.rows if row[index].value in wanted]
    names = " or ".join(map(printable, wanted))
    return msgspec.structs.replace(part, rows=rows, empty=f"No row is of {names}.")


def _sorted(view: View, wanted: str) -> View:
    name = wanted.removeprefix("-")
    tables = [part for part in view if isinstance(part, Table)]
    if all(_place(table.columns, name) is None for table in tables):
        names = [key for table in tables for column in table.columns for key in column.keys]
        raise ShapeError(_there_is_no("column", name, list(dict.fromkeys(names))))
    return [_ordered(part, name, descending=name != wanted) for part in view]


def _ordered(part: Part, name: str, *, descending: bool) -> Part:
    place = _place(part.columns, name) if isinstance(part, Table) else None
    if not isinstance(part, Table) or place is None:
        return part
    index, nth = place
    known = [row for row in part.rows if _value(row[index], nth) is not None]
    unknown = [row for row in part.rows if _value(row[index], nth) is None]
    known.sort(key=lambda row: _rank(_value(row[index], nth)), reverse=descending)
    return msgspec.structs.replace(part, rows=known + unknown)


def _limited(part: Part, limit: int | None) -> Part:
    if not isinstance(part, Table):
        return part
    most = part.most if limit is None else limit
    if most is None or len(part.rows) <= most:
        return part
    return msgspec.structs.replace(part, rows=part.rows[:most], left_out=len(part.rows) - most)


def _column(part: Part, key: str) -> int | None:
    place = _place(part.columns, key) if isinstance(part, Table) else None
    return None if place is None else place[0]


def _place(columns: Sequence[Column], name: str) -> tuple[int, int] | None:
    """The column of this key or title, and which of its values is meant."""
    for index, column in enumerate(columns):
        if name in column.keys:
            return index, column.keys.index(name)
        if column.keys and name.lower() == column.title.lower().replace(" ", "_"):
            return index, 0
    return None


def _value(cell: Cell, nth: int) -> Plain:
    if not isinstance(cell.value, tuple):
        return cell.value
    return cell.value[nth]


def _rank(value: Plain) -> tuple[float, str]:
    if isinstance(value, str):
        return 0.0, value.casefold()
    return float(value or 0.0), ""


def _there_is_no(what: str, name: str, names: list[str]) -> str:
    if not names:
        return f"There is no {what} '{printable(name)}' here: there is only one."
    return f"There is no {what} '{printable(name)}'; there are: {', '.join(names)}."
