"""Tables of figures, for a terminal and for Markdown."""

import math

from msgspec import Struct

NOTHING = "\N{EN DASH}"
Cell = str | float | int | None


class Table(Struct, frozen=True):
    """Figures under their names, and a sentence on how to read them."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str

    def text(self) -> str:
        """For a terminal."""
        rows = [self.columns, *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(self.columns))]
        lines = [
            "  ".join(
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, *lines, self.note, ""])

    def markdown(self) -> str:
        """For a file of Markdown."""
        rule = ["---", *("---:" for _ in self.columns[1:])]
        rows = [self.columns, rule, *([_text(cell) for cell in row] for row in self.rows)]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([f"**{self.title}**", "", *lines, "", self.note, ""])


def verdict(*, met: bool) -> str:
    """Whether a bar is met."""
    return "met" if met else "missed"


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return NOTHING
        case float() if math.isnan(cell):
            return NOTHING
        case float():
            return f"{cell:.3f}" if abs(cell) < 1 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
