"""What a view is made of: tables, facts and charts, whose cells keep the value beside its text.

Nothing here knows where it will be shown: `layout.py` fits a view into a terminal, `documents.py`
writes it as CSV or Markdown, `shape.py` filters, sorts and shortens it.
"""

from typing import Literal

from msgspec import Struct

Tone = Literal["good", "warning", "bad", "quiet"]
"""What a cell's colour means."""

Kind = Literal["name", "word", "number", "text", "sentence", "graph"]
"""How a column is set: names are cut where room is short, text is broken over lines, graphs are as
wide as there is room, words and numbers are always whole, and numbers stand to the right. A
sentence is text that says what the columns that can be spared say: they go before it is crammed."""

Plain = str | int | float | bool | None


class Interval(Struct, frozen=True):
    """A likely value and the bounds around it, as shares of 1: drawn as a bar."""

    low: float
    value: float
    high: float


class Series(Struct, frozen=True):
    """Values at equal distances, none below 0: drawn as a sparkline."""

    values: list[float]


class Cell(Struct, frozen=True):
    """One value as a person reads it. `text` is safe to print, whatever a client recorded."""

    text: str
    value: Plain | tuple[Plain, ...] = None
    """For machines; several where the column has several keys."""
    tone: Tone | None = None
    graph: Interval | Series | None = None
    """What is drawn, before `text`."""


class Column(Struct, frozen=True):
    """A table's column."""

    title: str
    kind: Kind
    keys: tuple[str, ...] = ()
    """What machines call its values, as the protocol does; without any, they do not see it."""
    spare: int = 0
    """Where room is short, the column with the highest goes first; 0 always stays."""


class Table(Struct, frozen=True):
    """Rows of one kind; `empty` is the sentence that stands for a table without any."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    empty: str
    name: str = ""
    """What `--table` calls it."""
    most: int | None = None
    """How many rows are shown where nobody says; all without it."""
    cards: bool = False
    """On a terminal each row is a paragraph under its first cell."""
    aside: bool = False
    """It is shown only where it is asked for by name."""
    left_out: int = 0
    """Rows that a limit took away."""


class Facts(Struct, frozen=True):
    """Values that each have a name."""

    title: str
    cells: dict[str, Cell]
    name: str = ""


class Chart(Struct, frozen=True):
    """Columns over time."""

    title: str
    values: list[float | None]
    """None is a gap: nothing is known."""
    top: float
    """What a full column stands for."""
    scale: tuple[str, str]
    """What the top and the middle of the scale are called."""
    marks: dict[int, str]
    """What stands below some of the columns."""
    tone: Tone | None = None


Part = Table | Facts | Chart
View = list[Part]


def columns(*columns: tuple[str, Kind]) -> list[Column]:
    """Columns by their titles and kinds alone."""
    return [Column(title, kind, (title.lower().replace(" ", "_"),)) for title, kind in columns]
