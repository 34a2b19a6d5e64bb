"""What the live screen knows and shows, and what follows from each thing that happens. Pure."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from buddyd.cli.live.sections import SECTIONS, Kind, Row, Section, SectionName, section
from buddyd.domain.answers import Everything, StoredExecution

FEWEST_EXECUTIONS = 10


class Focus(Struct, frozen=True):
    """One agent or one tool that is looked into."""

    kind: Kind
    name: str


class Order(Struct, frozen=True):
    """By which column a section's rows are sorted."""

    column: int
    descending: bool


class State(Struct, frozen=True, kw_only=True):
    """Everything that the picture is drawn from. Times are seconds on the shell's clock."""

    columns: int = 80
    rows: int = 24
    now: float = 0.0
    latest: Everything | None = None
    latest_at: float = 0.0
    shown: Everything | None = None
    """The latest answers, but for a screen that is paused."""
    shown_at: float = 0.0
    problem: str | None = None
    """Why the answers are old, where the daemon is not there."""
    section: SectionName = "agents"
    selected: Mapping[SectionName, tuple[Kind, str]] = {}
    """The row that the cursor is on, in each section where it was moved."""
    orders: Mapping[SectionName, Order] = {}
    filter: str = ""
    typing: bool = False
    """Whether keys are letters of the filter."""
    paused: bool = False
    help: bool = False
    focus: Focus | None = None
    executions: list[StoredExecution] | None = None
    """The last ones of `focus`; None until they have come."""
    ended: bool = False

    @property
    def time(self) -> str:
        """The daemon's time of what is shown, as it has passed on since; RFC 3339."""
        if self.shown is None:
            return ""
        passed = timedelta(seconds=int(max(0.0, self.now - self.shown_at)))
        return (datetime.fromisoformat(self.shown.timestamp) + passed).isoformat()


class Key(Struct, frozen=True):
    """A key was pressed."""

    name: str


class Ticked(Struct, frozen=True):
    """Time has passed."""

    now: float


class Resized(Struct, frozen=True):
    """The window has another size."""

    columns: int
    rows: int


class Answered(Struct, frozen=True):
    """The daemon has told how things are."""

    answers: Everything
    at: float


class Told(Struct, frozen=True):
    """The daemon has told the last executions of what is looked into."""

    focus: Focus
    executions: list[StoredExecution]


class Lost(Struct, frozen=True):
    """The daemon is not there, or cannot answer."""

    problem: str


Event = Key | Ticked | Resized | Answered | Told | Lost


def update(state: State, event: Event) -> State:
    """The state after `event`."""
    match event:
        case Key(name=name):
            return _pressed(state, name)
        case Answered(answers=answers, at=at):
            return _answered(state, answers, at)
        case Told() if event.focus != state.focus or state.paused:
            return state
        case Told(executions=executions):
            return _with(state, executions=executions)
        case Ticked() | Resized() | Lost():
            return _with(state, **msgspec.structs.asdict(event))


def visible(state: State, name: SectionName) -> Section | None:
    """A section with the rows that the filter leaves, in their order; None before any answer."""
    if state.shown is None:
        return None
    whole = section(name, state.shown, state.time)
    wanted = state.filter.casefold()
    rows = [row for row in whole.rows if wanted in row.name.casefold()]
    if order := state.orders.get(name):
        rows = _sorted(rows, order)
    return msgspec.structs.replace(whole, rows=rows)


def cursor(state: State, name: SectionName, rows: list[Row]) -> int:
    """Which of `rows` the cursor is on."""
    here = state.selected.get(name)
    return next((i for i, row in enumerate(rows) if (row.kind, row.name) == here), 0)


def _sorted(rows: list[Row], order: Order) -> list[Row]:
    def key(row: Row) -> tuple[bool, float, str]:
        value = row.cells[order.column].value
        if isinstance(value, (int, float)):
            return False, value, ""
        return False, 0.0, str(value).casefold()

    known = [row for row in rows if row.cells[order.column].value is not None]
    unknown = [row for row in rows if row.cells[order.column].value is None]
    return sorted(known, key=key, reverse=order.descending) + unknown


def _with(state: State, **changes: object) -> State:
    return msgspec.structs.replace(state, **changes)


def _answered(state: State, answers: Everything, at: float) -> State:
    state = _with(state, latest=answers, latest_at=at, problem=None, now=max(state.now, at))
    if state.paused and state.shown is not None:
        return state
    return _with(state, shown=answers, shown_at=at)


# Keys


def _pressed(state: State, key: str) -> State:
    if state.typing:
        return _typed(state, key)
    if state.help:
        # Whatever is pressed, the help has been read.
        return _with(state, help=False)
    if key in {"1", "2", "3", "4", "5"}:
        return _go_to(state, int(key) - 1)
    act = _ACTIONS.get(key)
    return state if act is None else act(state)


def _typed(state: State, key: str) -> State:
    match key:
        case "enter":
            return _with(state, typing=False)
        case "escape":
            return _with(state, typing=False, filter="")
        case "backspace":
            return _with(state, filter=state.filter[:-1])
        case _ if len(key) == 1:
            return _with(state, filter=state.filter + key)
    return state


def _go_to(state: State, index: int) -> State:
    name = SECTIONS[index % len(SECTIONS)]
    return _with(state, section=name, focus=None, executions=None)


def _turn(by: int) -> Callable[[State], State]:
    return lambda state: _go_to(state, SECTIONS.index(state.section) + by)


def _move(by: Callable[[State, int], int]) -> Callable[[State], State]:
    """Move the cursor by so many rows of how many there are."""

    def act(state: State) -> State:
        shown = visible(state, state.section)
        if state.focus is not None or shown is None or not shown.rows:
            return state
        at = cursor(state, state.section, shown.rows) + by(state, len(shown.rows))
        row = shown.rows[min(max(at, 0), len(shown.rows) - 1)]
        return _with(state, selected={**state.selected, state.section: (row.kind, row.name)})

    return act


def _look_into(state: State) -> State:
    shown = visible(state, state.section)
    if state.focus is not None or shown is None or not shown.rows:
        return state
    row = shown.rows[cursor(state, state.section, shown.rows)]
    return _with(state, focus=Focus(row.kind, row.name), executions=None)


def _back(state: State) -> State:
    if state.focus is not None:
        return _with(state, focus=None, executions=None)
    return _with(state, filter="")


def _sort(state: State) -> State:
    shown = visible(state, state.section)
    if shown is None or state.focus is not None:
        return state
    before = state.orders.get(state.section)
    column = 0 if before is None else before.column + 1
    orders = {name: order for name, order in state.orders.items() if name != state.section}
    # After the last column comes the order of the daemon again.
    if column < len(shown.columns):
        descending = shown.columns[column].kind == "number"
        orders[state.section] = Order(column, descending)
    return _with(state, orders=orders)


def _reverse(state: State) -> State:
    order = state.orders.get(state.section, Order(0, descending=False))
    turned = Order(order.column, not order.descending)
    return _with(state, orders={**state.orders, state.section: turned})


def _pause(state: State) -> State:
    if state.paused:
        return _with(state, paused=False, shown=state.latest, shown_at=state.latest_at)
    return _with(state, paused=True)


_ACTIONS: dict[str, Callable[[State], State]] = {
    "q": lambda state: _with(state, ended=True),
    "?": lambda state: _with(state, help=True),
    "h": lambda state: _with(state, help=True),
    "/": lambda state: _with(state, typing=True, focus=None, executions=None),
    "p": _pause,
    " ": _pause,
    "s": _sort,
    "r": _reverse,
    "tab": _turn(1),
    "right": _turn(1),
    "back-tab": _turn(-1),
    "left": _turn(-1),
    "up": _move(lambda _, __: -1),
    "k": _move(lambda _, __: -1),
    "down": _move(lambda _, __: 1),
    "j": _move(lambda _, __: 1),
    "page-up": _move(lambda state, _: -max(1, state.rows // 2)),
    "page-down": _move(lambda state, _: max(1, state.rows // 2)),
    "home": _move(lambda _, count: -count),
    "g": _move(lambda _, count: -count),
    "end": _move(lambda _, count: count),
    "G": _move(lambda _, count: count),
    "enter": _look_into,
    "escape": _back,
    "backspace": _back,
}
