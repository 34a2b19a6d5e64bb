"""Fits a view into a width: out come lines of words in tones, which `terminal.py` writes.

rich could draw tables too, but it knows no column that may go, cuts all names at their end, and
takes as long to load as all the rest of `buddyctl agents`. Its measure of what a character takes
up is used here.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct
from rich.cells import cell_len, chop_cells, split_text

from buddyd.cli.render.graphs import UNICODE, Glyphs, column_chart, interval_bar, sparkline
from buddyd.cli.render.view import (
    Cell,
    Chart,
    Column,
    Facts,
    Interval,
    Kind,
    Part,
    Series,
    Table,
    Tone,
    View,
)

_GAP = 2
_BAR_WIDTH = 20
_COMFORT: dict[Kind, int] = {"name": 18, "text": 24, "sentence": 56, "graph": 10}
"""Before a column that can be narrowed gets less than this, columns that can be spared go."""
_LEAST: dict[Kind, int] = {"name": 10, "text": 16, "sentence": 16, "graph": 6}
"""Below this it says next to nothing."""
_NARROWEST = 2
"""Room for any character."""
_CHART_HEIGHT, _CHART_WIDTH = 10, 80
_BROADEST = 6
_PROSE_WIDTH = 100
"""Lines that are longer are hard to read."""

Style = Tone | None


class Span(Struct, frozen=True):
    """A part of a line."""

    text: str
    tone: Style = None
    bold: bool = False


Line = list[Span]


class Screen(Struct, frozen=True):
    """What is drawn on. Without a width everything is as wide as it likes to be."""

    width: int | None = None
    height: int | None = None
    glyphs: Glyphs = UNICODE


def lay_out(view: View, screen: Screen) -> Iterator[Line]:
    """The lines of a view; a blank one between its parts."""
    for number, part in enumerate(view):
        if number:
            yield []
        yield from lay_out_part(part, screen)


def lay_out_part(part: Part, screen: Screen) -> Iterator[Line]:
    """The lines of one part of a view."""
    if part.title and not (isinstance(part, Table) and part.cards and part.rows):
        yield from ([Span(line, bold=True)] for line in _folded(part.title, screen.width, screen))
    match part:
        case Table():
            yield from _table(part, screen)
        case Facts():
            yield from _facts(part.cells, screen)
        case Chart():
            yield from _chart(part, screen)


def _table(table: Table, screen: Screen) -> Iterator[Line]:
    if not table.rows:
        yield from ([Span(line, "quiet")] for line in _folded(table.empty, screen.width, screen))
        return
    if table.cards:
        yield from _cards(table, screen)
    else:
        yield from _rows(table, screen)
    if table.left_out:
        rest = f"{screen.glyphs.ellipsis} and {table.left_out:,} more (--limit)"
        yield [Span(rest, "quiet")]


def _rows(table: Table, screen: Screen) -> Iterator[Line]:
    chosen, widths = _fit(table, screen)
    shown = [table.columns[index] for index in chosen]
    header = _header(shown, widths)
    yield header
    lines = 0
    for row in table.rows:
        for line in _row([row[index] for index in chosen], shown, widths, screen):
            yield line
            lines += 1
    if screen.height is not None and lines + 1 > screen.height:
        # The one above has been scrolled away.
        yield header


def _cards(table: Table, screen: Screen) -> Iterator[Line]:
    _, *others = table.columns
    for number, (first, *cells) in enumerate(table.rows):
        if number:
            yield []
        yield from ([Span(line, bold=True)] for line in _folded(first.text, screen.width, screen))
        labelled = zip((column.title for column in others), cells, strict=True)
        yield from _facts(dict(labelled), screen)


def _facts(cells: dict[str, Cell], screen: Screen) -> Iterator[Line]:
    label_width = max(cell_len(label) for label in cells)
    room = None
    if screen.width is not None:
        room = min(_PROSE_WIDTH, max(_LEAST["text"], screen.width - label_width - _GAP))
    for label, cell in cells.items():
        name = label
        for text in _folded(_drawn(cell, None, screen), room, screen):
            yield [Span(_padded(name, label_width + _GAP), "quiet"), Span(text, cell.tone)]
            name = ""


def _chart(chart: Chart, screen: Screen) -> Iterator[Line]:
    """A scale, columns that are as broad as there is room, and the marks below them."""
    glyphs = screen.glyphs
    scale = [glyphs.plain(text) for text in (*chart.scale, "0")]
    margin = max(map(cell_len, scale))
    room = (screen.width or _CHART_WIDTH) - margin - 2
    breadth = max(1, min(_BROADEST, room // max(1, len(chart.values))))
    lines = column_chart(chart.values, chart.top, _CHART_HEIGHT, glyphs)
    names = {0: scale[0], _CHART_HEIGHT // 2: scale[1]}
    for number, line in enumerate(lines):
        drawn = "".join(_column(char, breadth) for char in line)
        name = _aligned(names.get(number, ""), margin, "number")
        yield [Span(f"{name} {glyphs.vertical}", "quiet"), Span(drawn, chart.tone)]
    axis = glyphs.horizontal * (breadth * len(chart.values))
    yield [Span(f"{_aligned(scale[2], margin, 'number')} {glyphs.corner}{axis}", "quiet")]
    yield [Span(" " * (margin + 2) + _marks(chart.marks, breadth, len(chart.values)), "quiet")]


def _column(char: str, breadth: int) -> str:
    # A blank between columns where there is room for one.
    return char if breadth == 1 else char * (breadth - 1) + " "


def _marks(marks: Mapping[int, str], breadth: int, columns: int) -> str:
    """The marks below their columns; one that has no room is left out."""
    line = ""
    for index, mark in sorted(marks.items()):
        place = index * breadth
        fits = not line or place >= len(line) + 2
        if fits and place + len(mark) <= max(columns * breadth, len(mark)):
            line = line.ljust(place) + mark
    return line


def _fit(table: Table, screen: Screen) -> tuple[list[int], list[int]]:
    """Which columns are shown, by their indices, and how wide they are."""
    natural = [_natural(table, index, screen) for index in range(len(table.columns))]
    chosen = list(range(len(table.columns)))
    if screen.width is None:
        return chosen, natural
    while not _fits(_least(table, chosen, natural, _COMFORT), screen.width):
        spare = max(chosen, key=lambda index: (table.columns[index].spare, index))
        if not table.columns[spare].spare:
            break
        chosen.remove(spare)
    room = screen.width - _GAP * (len(chosen) - 1)
    widths = [natural[index] for index in chosen]
    for least in (_COMFORT, _LEAST, dict.fromkeys(_LEAST, _NARROWEST)):
        widths = _narrowed(widths, _least(table, chosen, natural, least), room)
    return chosen, widths


def _least(
    table: Table, chosen: list[int], natural: list[int], narrowed: Mapping[Kind, int]
) -> list[int]:
    """The widths of the chosen columns when those that can be are `narrowed`."""
    return [min(natural[n], narrowed.get(table.columns[n].kind, natural[n])) for n in chosen]


def _fits(widths: list[int], room: int) -> bool:
    return sum(widths) + _GAP * (len(widths) - 1) <= room


def _natural(table: Table, index: int, screen: Screen) -> int:
    column = table.columns[index]
    texts = (_drawn(row[index], _BAR_WIDTH, screen) for row in table.rows)
    return max(cell_len(column.title), *map(cell_len, texts))


def _narrowed(wanted: list[int], least: list[int], room: int) -> list[int]:
    """Take from the widest column that has something to spare until all have room."""
    widths = list(wanted)
    surplus = sum(widths) - room
    while surplus > 0:
        able = [index for index, width in enumerate(widths) if width > least[index]]
        if not able:
            break
        widths[max(able, key=lambda index: widths[index])] -= 1
        surplus -= 1
    return widths


def _header(columns: list[Column], widths: list[int]) -> Line:
    titles = [
        _aligned(split_text(column.title, width)[0], width, column.kind)
        for column, width in zip(columns, widths, strict=True)
    ]
    return [Span((" " * _GAP).join(titles), bold=True)]


def _row(
    cells: list[Cell], columns: list[Column], widths: list[int], screen: Screen
) -> Iterator[Line]:
    """One line, or several where a text is broken."""
    broken = [
        _broken(cell, column.kind, width, screen)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    for number in range(max(map(len, broken))):
        line: Line = []
        for cell, lines, column, width in zip(cells, broken, columns, widths, strict=True):
            text = lines[number] if number < len(lines) else ""
            if line:
                line.append(Span(" " * _GAP))
            line.append(Span(_aligned(text, width, column.kind), cell.tone))
        yield line


def _broken(cell: Cell, kind: Kind, width: int, screen: Screen) -> list[str]:
    text = _drawn(cell, width, screen)
    if kind in {"text", "sentence"}:
        return _folded(text, width, screen)
    return [text if kind in {"word", "number"} else shortened(text, width, screen.glyphs)]


def _drawn(cell: Cell, width: int | None, screen: Screen) -> str:
    """The cell's graph and its text."""
    text = screen.glyphs.plain(cell.text)
    match cell.graph:
        case Interval() as interval:
            bar = interval_bar(interval, width or _BAR_WIDTH, screen.glyphs)
            return f"{bar}  {text}" if text else bar
        case Series(values=values):
            return f"{sparkline(values, screen.glyphs)}  {text}".rstrip()
    return text


def shortened(text: str, width: int, glyphs: Glyphs) -> str:
    """`text` in `width` cells. What is left out is in the middle: names differ at their ends."""
    if cell_len(text) <= width:
        return text
    kept = width - len(glyphs.ellipsis)
    if kept < 1:
        return split_text(text, width)[0]
    head = kept - kept // 3
    tail = split_text(text, cell_len(text) - (kept - head))[1] if kept > head else ""
    return f"{split_text(text, head)[0]}{glyphs.ellipsis}{tail}"


def _folded(text: str, width: int | None, screen: Screen) -> list[str]:
    text = screen.glyphs.plain(text)
    if width is None or cell_len(text) <= width:
        return [text]
    return _wrapped(text, max(_NARROWEST, width))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of so many cells, broken between words, and within those that are longer."""
    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines += chop_cells(word, width)
    return lines or [""]


def _aligned(text: str, width: int, kind: Kind) -> str:
    padding = " " * (width - cell_len(text))
    return padding + text if kind == "number" else text + padding


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
