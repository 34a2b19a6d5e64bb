"""What is seen of a state: as many lines as the window has rows, each as wide as the window. Pure.

The section that is chosen is shown as far as there is room, with the cursor in it; of the others
there is a line each, and their first rows where room is left.
"""

from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from buddyd.cli.live.detail import facts
from buddyd.cli.live.layout import GAP, fitted, heading, line, widths
from buddyd.cli.live.sections import SECTIONS, Section, SectionName
from buddyd.cli.live.state import State, cursor, visible
from buddyd.cli.render import tail
from buddyd.cli.render.cells import printable
from buddyd.cli.render.terminal import STYLES
from buddyd.cli.render.view import Cell
from buddyd.domain.answers import RiskPatterns

_FEWEST_ROWS = 2
"""Of a section that is not chosen: fewer are not worth their heading."""
_ROOM_TO_STAND = (20, 4)

_HELP = [
    ("1-5, Tab, \N{LEFTWARDS ARROW} \N{RIGHTWARDS ARROW}", "choose a section"),
    ("\N{UPWARDS ARROW} \N{DOWNWARDS ARROW}, j k", "move the cursor; PgUp, PgDn, Home, End too"),
    ("Enter", "look into the agent or the tool of that row"),
    ("Esc", "go back; forget the filter"),
    ("/", "show only names that have these letters"),
    ("s", "sort by the next column"),
    ("r", "sort the other way round"),
    ("p, Space", "pause, and go on"),
    ("Ctrl-L", "draw the screen anew"),
    ("q, Ctrl-C", "quit"),
    ("", ""),
    ("", "Columns that have no room are left out; a wider window has them."),
    ("", "Figures come when the daemon says that they have changed."),
]
_KEYS = [
    ("q", "quit"),
    ("?", "help"),
    ("1-5", "section"),
    ("\N{UPWARDS ARROW}\N{DOWNWARDS ARROW}", "row"),
    ("Enter", "look into"),
    ("/", "filter"),
    ("s", "sort"),
    ("r", "reverse"),
    ("p", "pause"),
]
_KEYS_OF_A_FOCUS = [("q", "quit"), ("?", "help"), ("Esc", "back"), ("p", "pause")]


def picture(state: State) -> list[Text]:
    """The lines of the screen, from the top."""
    columns, rows = state.columns, state.rows
    if columns < _ROOM_TO_STAND[0] or rows < _ROOM_TO_STAND[1]:
        lines = [Text("too small"), *(Text() for _ in range(rows - 1))]
    else:
        body = _body(state, rows - 2)[: rows - 2]
        body += [Text()] * (rows - 2 - len(body))
        lines = [_top(state), *body, _bottom(state)]
    return [fitted(each, columns) for each in lines[:rows]]


def _body(state: State, rows: int) -> list[Text]:
    if state.help:
        return [Text(f"  {key:<15}", "bold").append(meaning, "not bold") for key, meaning in _HELP]
    if state.shown is None:
        return [Text(), Text("Waiting for the daemon.", STYLES["quiet"])]
    if state.focus is not None:
        return _focus(state, rows)
    return _sections(state, rows)


# The first line and the last


def _top(state: State) -> Text:
    text = Text("buddyd", "bold")
    if state.problem is not None:
        text.append("  no daemon, retrying", "bold red")
    elif state.shown is not None:
        day = state.shown.pipeline.last_24_hours
        _append_findings(text, state.shown.risks)
        text.append(f"  {_many(state.shown.agents.total_agents, 'agent')}")
        text.append(f"  {_many(len(state.shown.learning.tool_profiles), 'tool')}")
        text.append(f"  {_many(day.total_tasks, 'execution')} in 24 h")
    if state.filter or state.typing:
        text.append(f"  /{printable(state.filter)}{'_' if state.typing else ''}", "bold yellow")
    if state.paused:
        text.append("  PAUSED", "bold yellow")
    clock = Text(_clock(state), STYLES["quiet"])
    if cell_len(text.plain) + cell_len(clock.plain) < state.columns:
        text.pad_right(state.columns - cell_len(text.plain) - cell_len(clock.plain))
        text.append_text(clock)
    return text


def _append_findings(text: Text, risks: RiskPatterns) -> None:
    """How many of those that last are alarms and warnings; what they are, `buddyctl risks` says."""
    for severity, style in (("alarm", "bold red"), ("warning", STYLES["warning"])):
        count = sum(each.severity == severity for each in risks.findings)
        if count:
            text.append(f"  {_many(count, severity)}", style)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _clock(state: State) -> str:
    """The time of day at the daemon's, or of its last answer, where the user is."""
    if state.shown is None:
        return ""
    known = state.time if state.problem is None else state.shown.timestamp
    since = "" if state.problem is None else "as of "
    return f"{since}{datetime.fromisoformat(known).astimezone():%H:%M:%S}"


def _bottom(state: State) -> Text:
    text = Text()
    if state.typing:
        return Text("Type a part of a name; Enter keeps it, Esc forgets it", STYLES["quiet"])
    if state.help:
        return Text("Press a key to go on", STYLES["quiet"])
    if state.problem is not None:
        return Text(printable(state.problem), STYLES["bad"])
    for key, meaning in _KEYS if state.focus is None else _KEYS_OF_A_FOCUS:
        if cell_len(text.plain) + len(key) + len(meaning) + 1 > state.columns:
            break
        text.append(key, "bold").append(f" {meaning}  ", STYLES["quiet"])
    return text


# The sections


def _sections(state: State, rows: int) -> list[Text]:
    """The five, each with a title; what room is left goes to the chosen one, then to the others."""
    found = {name: visible(state, name) for name in SECTIONS}
    heights = _heights(state, {name: len(s.rows) if s else 0 for name, s in found.items()}, rows)
    lines: list[Text] = []
    for name, section in found.items():
        if section is not None:
            lines.append(_title(state, name, section))
            lines += _rows(state, name, section, heights[name])
    return lines


def _heights(state: State, counts: dict[SectionName, int], rows: int) -> dict[SectionName, int]:
    """How many lines each section has below its title, its heading included."""
    free = rows - len(SECTIONS)
    heights = dict.fromkeys(SECTIONS, 0)
    chosen = [state.section, *(name for name in SECTIONS if name != state.section)]
    for name in chosen:
        wanted = max(counts[name], 1) + 1
        if name == state.section or free > _FEWEST_ROWS or free >= wanted:
            heights[name] = max(0, min(wanted, free))
            free -= heights[name]
    return heights


def _title(state: State, name: SectionName, section: Section) -> Text:
    number = SECTIONS.index(name) + 1
    text = Text(f"{number} {section.title}", "bold")
    if name == state.section:
        text.stylize("reverse")
    return text.append(f"  {section.summary}", STYLES["quiet"])


def _rows(state: State, name: SectionName, section: Section, height: int) -> list[Text]:
    if height <= 0:
        return []
    if not section.rows:
        empty = "No name has these letters." if state.filter else section.empty
        return [Text(f"  {empty}", STYLES["quiet"])]
    room = height - 1
    at = cursor(state, name, section.rows)
    first = max(0, at - room + 1)
    shown = section.rows[first : first + room]
    # By all rows, so that columns stay where they are while one scrolls.
    wide = widths(section.columns, [row.cells for row in section.rows], state.columns - GAP)
    order = state.orders.get(name)
    sorted_by, descending = (order.column, order.descending) if order else (None, False)
    lines = [heading(section.columns, wide, sorted_by, descending=descending)]
    for index, row in enumerate(shown, first):
        text = line(section.columns, row.cells, wide)
        if name == state.section and index == at:
            text = fitted(text, state.columns - GAP)
            text.stylize("reverse")
        lines.append(text)
    return [Text(" " * GAP).append_text(text) for text in lines]


# One agent or one tool


def _focus(state: State, rows: int) -> list[Text]:
    focus, answers = state.focus, state.shown
    if focus is None or answers is None:
        return []
    lines = [Text(f"{focus.kind.capitalize()} {printable(focus.name)}", "bold reverse")]
    lines += _grid(facts(focus, answers, state.time), state.columns)
    lines += [Text(), Text("Last executions", "bold")]
    if state.executions is None:
        return lines
    if not state.executions:
        lines.append(Text("There is none of the last 24 hours.", STYLES["quiet"]))
    for execution in state.executions[: max(0, rows - len(lines))]:
        parts = [_text(cell) for cell in tail.parts(execution, state.columns)]
        lines.append(Text(tail.GAP).join(parts))
    return lines


def _grid(told: dict[str, Cell], columns: int) -> list[Text]:
    """Facts side by side, as many as there is room for."""
    pairs = list(told.items())
    if not pairs:
        return [Text("Nothing is known of it any more.", STYLES["quiet"])]
    label_width = max(len(label) for label, _ in pairs)
    across = max(1, columns // (label_width + 24))
    width = columns // across
    lines = []
    for begin in range(0, len(pairs), across):
        text = Text()
        for label, cell in pairs[begin : begin + across]:
            text.append_text(fitted(_fact(label, label_width, cell), width - 1)).append(" ")
        lines.append(text)
    return lines


def _fact(label: str, width: int, cell: Cell) -> Text:
    return Text(f"{label:<{width}}  ", STYLES["quiet"]).append_text(_text(cell))


def _text(cell: Cell) -> Text:
    return Text(cell.text, STYLES[cell.tone] if cell.tone else "")
