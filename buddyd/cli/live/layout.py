"""Fits a table into a width: names are cut, and the last columns left out where that is not enough.

Pure; lines are rich's texts, whose colours mean what `STYLES` says.
"""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from buddyd.cli.render.terminal import STYLES
from buddyd.cli.render.view import Cell, Column

GAP = 2
_LEAST_NAME = 8


def widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int) -> list[int]:
    """How wide each column is; those that have no room are left out at the end."""
    needed = [
        max([cell_len(column.title) + 1, *(cell_len(row[i].text) for row in rows)])
        for i, column in enumerate(columns)
    ]
    while len(needed) > 1 and _least(columns, needed) > room:
        needed.pop()
    excess = _total(needed) - room
    # The widest name gives first.
    while excess > 0 and (at := _widest_name(columns, needed)) is not None:
        needed[at] -= 1
        excess -= 1
    return needed


def line(columns: Sequence[Column], row: Sequence[Cell], wide: Sequence[int]) -> Text:
    """A row."""
    parts = [
        _aligned(Text(cell.text, STYLES[cell.tone] if cell.tone else ""), column, width)
        for column, cell, width in zip(columns, row, wide, strict=False)
    ]
    return Text(" " * GAP).join(parts)


def heading(
    columns: Sequence[Column], wide: Sequence[int], sorted_by: int | None, *, descending: bool
) -> Text:
    """The columns' titles, with an arrow at the one that the rows are sorted by."""
    arrow = "\N{BLACK DOWN-POINTING TRIANGLE}" if descending else "\N{BLACK UP-POINTING TRIANGLE}"
    parts = [
        _aligned(Text(column.title + (arrow if i == sorted_by else "")), column, width)
        for i, (column, width) in enumerate(zip(columns, wide, strict=False))
    ]
    text = Text(" " * GAP).join(parts)
    text.stylize("bold")
    return text


def fitted(text: Text, width: int) -> Text:
    """`text` as wide as `width`, cut or filled up with blanks."""
    text.truncate(width, overflow="ellipsis", pad=True)
    return text


def _aligned(text: Text, column: Column, width: int) -> Text:
    if column.kind == "number":
        text.align("right", width)
        return text
    return fitted(text, width)


def _total(needed: Sequence[int]) -> int:
    return sum(needed) + GAP * (len(needed) - 1)


def _least(columns: Sequence[Column], needed: Sequence[int]) -> int:
    """How much room these columns take with every name cut as far as it can be."""
    return _total(
        [
            min(width, _LEAST_NAME) if column.kind == "name" else width
            for column, width in zip(columns, needed, strict=False)
        ]
    )


def _widest_name(columns: Sequence[Column], needed: Sequence[int]) -> int | None:
    names = [
        i for i, width in enumerate(needed) if columns[i].kind == "name" and width > _LEAST_NAME
    ]
    return max(names, key=lambda i: needed[i], default=None)
