"""What a view is made of: tables and facts, whose cells keep the value beside its text."""

from typing import Literal

from msgspec import Struct

Tone = Literal["good", "warning", "bad", "quiet"]
"""What a cell's colour means."""

Kind = Literal["name", "word", "number", "text"]
"""How a column is set: names are cut where room is short, text is broken over lines, words and
numbers are always whole, and numbers stand to the right."""

Plain = str | int | float | bool | None


class Cell(Struct, frozen=True):
    """One value as a person reads it. `text` is safe to print, whatever a client recorded."""

    text: str
    value: Plain = None
    tone: Tone | None = None


class Column(Struct, frozen=True):
    """A table's column."""

    title: str
    kind: Kind


class Table(Struct, frozen=True):
    """Rows of one kind; `empty` is the sentence that stands for a table without any."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    empty: str


class Facts(Struct, frozen=True):
    """Values that each have a name."""

    title: str
    cells: dict[str, Cell]


View = list[Table | Facts]


def columns(*columns: tuple[str, Kind]) -> list[Column]:
    """Columns by their titles and kinds."""
    return [Column(title, kind) for title, kind in columns]
