"""Writes a view for other programs: as CSV, with plain values, or as Markdown."""

import csv
import io
import re
from collections.abc import Callable, Iterable

from msgspec import structs

from buddyd.cli.render.layout import Screen, lay_out_part
from buddyd.cli.render.view import Cell, Chart, Column, Facts, Part, Plain, Table, View

# What Markdown would take for its own; an underscore within a word it leaves alone.
_MARKUP = re.compile(r"[\\`*{}\[\]<>|#~&]|(?<![^\W_])_|_(?![^\W_])")
_PAGE_WIDTH = 80
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def csv_document(view: View) -> str:
    """One table as RFC 4180 with a header: the view's first one, or its facts where it has none.

    Numbers are plain, times as the daemon tells them, what is not known is empty.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    tables = [part for part in view if isinstance(part, Table)]
    if tables:
        writer.writerow([key for column in tables[0].columns for key in column.keys])
        writer.writerows(_values(row, tables[0].columns) for row in tables[0].rows)
    else:
        writer.writerow(["name", "value"])
        writer.writerows(_fact(*item) for part in view for item in _fact_cells(part))
    return written.getvalue()


def markdown_document(view: View) -> str:
    """Every part with a heading."""
    return "\n".join(_markdown(part) for part in view)


def _values(row: list[Cell], columns: list[Column]) -> list[str]:
    values: list[str] = []
    for cell, column in zip(row, columns, strict=True):
        several = cell.value if isinstance(cell.value, tuple) else (cell.value,)
        # What is not known is not known under any of the keys.
        several += (None,) * (len(column.keys) - len(several))
        values += map(_plain, several[: len(column.keys)])
    return values


def _fact_cells(part: Part) -> list[tuple[str, Cell]]:
    return list(part.cells.items()) if isinstance(part, Facts) else []


def _fact(label: str, cell: Cell) -> tuple[str, str]:
    value = cell.value[0] if isinstance(cell.value, tuple) else cell.value
    return label.lower().replace(" ", "_"), _plain(value)


def _plain(value: Plain) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    # No value of the daemon's holds a control character; nothing can forge a line.
    return _CONTROLS.sub(_escape, str(value))


def _markdown(part: Part) -> str:
    heading = f"### {_escaped(part.title)}\n\n" if part.title else ""
    match part:
        case Table(rows=[]):
            return f"{heading}{_escaped(part.empty)}\n"
        case Table():
            return heading + _markdown_table(part)
        case Facts():
            rows = [
                f"| {_escaped(label)} | {_escaped(c.text)} |" for label, c in part.cells.items()
            ]
            return heading + "\n".join(["| | |", "| --- | --- |", *rows]) + "\n"
        case Chart():
            lines = lay_out_part(structs.replace(part, title=""), Screen(_PAGE_WIDTH))
            drawn = ("".join(span.text for span in line).rstrip() for line in lines)
            return heading + "\n".join(["```text", *drawn, "```"]) + "\n"


def _markdown_table(table: Table) -> str:
    # A bar of characters is nothing for a page.
    shown = [index for index, column in enumerate(table.columns) if column.kind != "graph"]
    columns = [table.columns[index] for index in shown]
    lines = [
        _line(column.title for column in columns),
        "|" + "|".join(" ---: " if c.kind == "number" else " --- " for c in columns) + "|",
    ]
    lines += (_line(row[index].text for index in shown) for row in table.rows)
    return "\n".join(lines) + "\n"


def _line(texts: Iterable[str]) -> str:
    return "".join(f"| {_escaped(text)} " for text in texts) + "|"


def _escaped(text: str) -> str:
    return _MARKUP.sub(lambda found: f"\\{found[0]}", text)


def _escape(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode()


DOCUMENTS: dict[str, Callable[[View], str]] = {
    "csv": csv_document,
    "markdown": markdown_document,
}
