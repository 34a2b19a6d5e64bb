"""What every measurement shares: rounds that alternate, percentiles, bars, and the tables."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from msgspec import Struct
from rich.console import Console
from rich.table import Table as RichTable

HEADINGS = ("what", "buddyd", "beside it", "ratio", "to reach", "met")


class Bar(Struct, frozen=True):
    """What a figure has to reach."""

    limit: float
    text: str
    at_least: bool = False

    def met_by(self, figure: float) -> bool:
        """Whether a figure reaches it."""
        return figure >= self.limit if self.at_least else figure <= self.limit


class Line(Struct, frozen=True):
    """A line of the table. What has no bar, or nothing beside it, leaves that empty."""

    what: str
    measured: str
    beside: str = ""
    ratio: str = ""
    bar: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Its texts, in the order of the headings."""
        met = {True: "yes", False: "NO", None: ""}[self.met]
        return (self.what, self.measured, self.beside, self.ratio, self.bar, met)


class Table(Struct, frozen=True):
    """The lines of one family, and how they were measured."""

    title: str
    how: str
    lines: list[Line]


class Plan(Struct, frozen=True):
    """How large a run is."""

    rows: tuple[int, ...]
    """Sizes of Tier 1, the smallest first."""
    rounds: int
    large: int
    """The rows of what the issue of record calls a million."""
    idle_seconds: float


def line(
    what: str,
    measured: str,
    figure: float,
    bar: Bar | None = None,
    *,
    beside: str = "",
    is_ratio: bool = False,
) -> Line:
    """A line whose `figure` is what the bar is about, and is shown where it is a ratio."""
    return Line(
        what=what,
        measured=measured,
        beside=beside,
        ratio=f"{figure:.2f}x" if is_ratio else "",
        bar=bar.text if bar else "",
        met=bar.met_by(figure) if bar else None,
    )


def in_rounds(count: int, contenders: Sequence[Callable[[], float]]) -> list[list[float]]:
    """The figures of each contender. They take turns, so that the noise of a host hits them all.

    The first turn of each is for warming up, and every other round goes the other way about.
    """
    for contender in contenders:
        contender()
    found: list[list[float]] = [[] for _ in contenders]
    for number in range(count):
        order = range(len(contenders))
        for index in reversed(order) if number % 2 else order:
            found[index].append(contenders[index]())
    return found


def median_ratio(figures: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of rounds that stand beside each other."""
    return statistics.median(a / b for a, b in zip(figures, others, strict=True))


def timed(work: Callable[[], object]) -> float:
    """How many seconds it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(seconds: float) -> str:
    """A short time, to be read."""
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"


def spread(seconds: Sequence[float]) -> str:
    """What is usual, and what the slowest hundredth takes at least."""
    p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
    return f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"


def rate(per_second: float) -> str:
    """Records a second, to be read."""
    return f"{per_second:,.0f}/s"


def size(rows: int) -> str:
    """A number of rows, to be read."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if rows >= unit:
            return f"{rows / unit:g}{name}"
    return str(rows)


def megabytes(number: float) -> str:
    """Memory, to be read."""
    return f"{number / 1e6:.1f} MB"


def show(table: Table, console: Console) -> None:
    """Print a table."""
    rich = RichTable(*HEADINGS, title=table.title, caption=table.how, title_justify="left")
    for each in table.lines:
        style = "red" if each.met is False else None
        rich.add_row(*each.cells(), style=style)
    console.print(rich)


def write_markdown(tables: Sequence[Table], host: str, file: TextIO) -> None:
    """Write the tables as Markdown."""
    file.write(f"{host}\n")
    for table in tables:
        file.write(f"\n### {table.title}\n\n{table.how}\n\n")
        rows = [HEADINGS, ("---",) * len(HEADINGS), *(each.cells() for each in table.lines)]
        file.writelines(f"| {' | '.join(cells)} |\n" for cells in rows)
