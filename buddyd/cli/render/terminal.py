"""Writes a view to standard output: on a terminal in colour and within its width, else plain."""

import os
import sys
from typing import TYPE_CHECKING

from buddyd.cli.render.graphs import glyphs_for
from buddyd.cli.render.layout import Line, Screen, Span, lay_out
from buddyd.cli.render.view import Tone, View

if TYPE_CHECKING:
    from rich.console import Console

_CUSTOMARY_COLUMNS = 80

STYLES: dict[Tone, str] = {"good": "green", "warning": "yellow", "bad": "red", "quiet": "dim"}
"""What a tone looks like, by the names that rich has for it."""

# Select Graphic Rendition (ECMA-48): colours that every terminal has and lets its user choose.
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def draw(view: View, *, color: bool) -> None:
    """Write `view` to standard output. Without `color` not one escape is written."""
    colored = color and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    sys.stdout.writelines(_written(line, color=colored) for line in lay_out(view, screen()))


def screen() -> Screen:
    """What standard output shows. What reads a pipe wants whole names, and has no width."""
    glyphs = glyphs_for(sys.stdout.encoding)
    if not sys.stdout.isatty():
        return Screen(glyphs=glyphs)
    # shutil.get_terminal_size does this too, and loads three compressors.
    told, size = os.environ.get("COLUMNS", ""), os.get_terminal_size(sys.stdout.fileno())
    columns = int(told) if told.isdecimal() else size.columns
    # A terminal that does not know its size says 0.
    return Screen(columns or _CUSTOMARY_COLUMNS, size.lines or None, glyphs)


def console(*, color: bool, error: bool = False) -> "Console":
    """Where rich draws what moves."""
    from rich.console import Console  # Tables do without it.

    return Console(
        file=sys.stderr if error else sys.stdout,
        color_system="auto" if color else None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _written(line: Line, *, color: bool) -> str:
    text = "".join(map(_painted if color else _plain, line))
    # The last column is filled up with blanks, for nobody.
    return f"{text.rstrip(' ')}\n"


def _plain(span: Span) -> str:
    return span.text


def _painted(span: Span) -> str:
    styles = ["bold"] * span.bold + ([STYLES[span.tone]] if span.tone else [])
    codes = [_CODES[style] for style in styles]
    words = span.text.rstrip(" ")
    if not codes or not words:
        return span.text
    return f"\x1b[{';'.join(codes)}m{words}\x1b[0m{span.text[len(words) :]}"
