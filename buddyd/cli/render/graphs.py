"""Bars, sparklines and columns of characters, with others where the terminal lacks these."""

from collections.abc import Sequence
from math import ceil

from msgspec import Struct

from buddyd.cli.render.view import Interval


class Glyphs(Struct, frozen=True):
    """The characters to draw with, and how a text is written with what the terminal has."""

    encoding: str
    ellipsis: str
    sure: str
    likely: str
    possible: str
    rest: str
    steps: str
    """From next to nothing to full."""
    horizontal: str
    vertical: str
    corner: str
    substitutes: dict[int, str]

    def plain(self, text: str) -> str:
        """`text` as this terminal can show it."""
        if text.isascii():
            return text
        shown = text.translate(self.substitutes)
        return shown.encode(self.encoding, "backslashreplace").decode(self.encoding)


UNICODE = Glyphs(
    encoding="utf-8",
    ellipsis="\N{HORIZONTAL ELLIPSIS}",
    sure="\N{FULL BLOCK}",
    likely="\N{DARK SHADE}",
    possible="\N{LIGHT SHADE}",
    rest="\N{MIDDLE DOT}",
    steps="▁▂▃▄▅▆▇█",
    horizontal="\N{BOX DRAWINGS LIGHT HORIZONTAL}",
    vertical="\N{BOX DRAWINGS LIGHT VERTICAL}",
    corner="\N{BOX DRAWINGS LIGHT UP AND RIGHT}",
    substitutes={},
)

_SUBSTITUTES = {
    "\N{EN DASH}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MULTIPLICATION SIGN}": "x",
}


def ascii_glyphs(encoding: str) -> Glyphs:
    """What every terminal has, for one of another `encoding` than UTF-8."""
    return Glyphs(
        encoding=encoding,
        ellipsis="...",
        sure="#",
        likely="=",
        possible="-",
        rest=".",
        steps="_-~=+*%#",
        horizontal="-",
        vertical="|",
        corner="+",
        substitutes=str.maketrans(_SUBSTITUTES),
    )


def glyphs_for(encoding: str) -> Glyphs:
    """What a terminal of this `encoding` has."""
    utf8 = encoding.lower().replace("-", "").replace("_", "") == "utf8"
    return UNICODE if utf8 else ascii_glyphs(encoding)


def interval_bar(interval: Interval, width: int, glyphs: Glyphs) -> str:
    """Solid up to the low bound, darker up to the likely value, lighter up to the high bound.

    What is solid is never more than is sure, and what is blank never more than is impossible. A
    value that is known exactly is solid alone, and more than nothing can be seen.
    """
    shares = _ordered(interval)
    if shares[0] == shares[2]:
        solid = max(round(shares[1] * width), shares[1] > 0)
        return glyphs.sure * solid + glyphs.rest * (width - solid)
    low, value, high = int(shares[0] * width), round(shares[1] * width), ceil(shares[2] * width)
    return (
        glyphs.sure * low
        + glyphs.likely * (value - low)
        + glyphs.possible * (high - value)
        + glyphs.rest * (width - high)
    )


def sparkline(values: Sequence[float], glyphs: Glyphs) -> str:
    """One character for each value. Little is told from nothing."""
    top = max(values, default=0.0)
    return "".join(_step(value / top, glyphs) if value else glyphs.rest for value in values)


def column_chart(
    values: Sequence[float | None], top: float, height: int, glyphs: Glyphs
) -> list[str]:
    """`height` lines, the highest first, with one character for each value; None is a gap."""
    levels = len(glyphs.steps)
    filled = [_eighths(value, top, height * levels) for value in values]
    return [
        "".join(_part(eighths - row * levels, glyphs) for eighths in filled)
        for row in reversed(range(height))
    ]


def _ordered(interval: Interval) -> tuple[float, float, float]:
    low = min(max(interval.low, 0.0), 1.0)
    value = min(max(interval.value, low), 1.0)
    return low, value, min(max(interval.high, value), 1.0)


def _step(share: float, glyphs: Glyphs) -> str:
    last = len(glyphs.steps) - 1
    return glyphs.steps[min(last, int(share * (last + 1)))]


def _eighths(value: float | None, top: float, whole: int) -> int:
    """How much of a column is filled; what is more than nothing can be seen."""
    if not value or not top:
        return 0
    return max(1, round(min(1.0, value / top) * whole))


def _part(eighths: int, glyphs: Glyphs) -> str:
    return glyphs.steps[min(eighths, len(glyphs.steps)) - 1] if eighths > 0 else " "
