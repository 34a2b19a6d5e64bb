"""Draws a view with rich: on a terminal in colour and within its width, else plain and whole."""

import sys
from typing import assert_never

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from buddyd.cli.render.view import Cell, Column, Facts, Kind, Table, Tone, View

STYLES: dict[Tone, str] = {"good": "green", "warning": "yellow", "bad": "red", "quiet": "dim"}

# What reads a pipe wants whole names, and has no width.
_UNLIMITED = 100_000


def console(*, color: bool, error: bool = False) -> Console:
    """Where things are drawn. Without `color`, and off a terminal, not one escape is written."""
    stream = sys.stderr if error else sys.stdout
    return Console(
        file=stream,
        color_system="auto" if color else None,
        width=None if stream.isatty() else _UNLIMITED,
        markup=False,
        highlight=False,
        emoji=False,
    )


def draw(view: View, *, color: bool) -> None:
    """Write `view` to standard output."""
    screen = console(color=color)
    with screen.capture() as drawn:
        for number, part in enumerate(view):
            if number:
                screen.print()
            _draw_part(screen, part)
    # The last column is filled up with blanks, for nobody.
    sys.stdout.writelines(f"{line.rstrip(' ')}\n" for line in drawn.get().splitlines())


def _draw_part(screen: Console, part: Table | Facts) -> None:
    if isinstance(part, Facts):
        _draw_facts(screen, part)
    else:
        _draw_table(screen, part)


def _draw_facts(screen: Console, facts: Facts) -> None:
    if facts.title:
        screen.print(Text(facts.title, "bold"))
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for label, cell in facts.cells.items():
        grid.add_row(Text(label, "dim"), _styled(cell, "text"))
    screen.print(grid)


def _draw_table(screen: Console, table: Table) -> None:
    if table.title:
        screen.print(Text(table.title, "bold"))
    if not table.rows:
        screen.print(Text(table.empty, "dim"))
        return
    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in table.columns:
        _add_column(grid, column)
    for row in table.rows:
        grid.add_row(
            *(_styled(c, column.kind) for c, column in zip(row, table.columns, strict=True))
        )
    screen.print(grid)


def _add_column(grid: Grid, column: Column) -> None:
    # Only columns that may wrap are narrowed where room is short; a name is then cut (see below).
    match column.kind:
        case "number":
            grid.add_column(Text(column.title), justify="right", no_wrap=True)
        case "word":
            grid.add_column(Text(column.title), no_wrap=True)
        case "name" | "text":
            grid.add_column(Text(column.title))
        case _:
            assert_never(column.kind)


def _styled(cell: Cell, kind: Kind) -> Text:
    style = STYLES[cell.tone] if cell.tone else ""
    if kind == "name":
        return Text(cell.text, style, no_wrap=True, overflow="ellipsis")
    return Text(cell.text, style, overflow="fold")
