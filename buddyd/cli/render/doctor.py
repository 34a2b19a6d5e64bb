"""What the doctor found."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Table, View, columns
from buddyd.cli.verdict import Check, State, is_well

_MARKS: dict[State, Cell] = {
    "ok": Cell("✓", tone="good"),
    "note": Cell("!", tone="warning"),
    "wrong": Cell("✗", tone="bad"),
    "unknown": cells.NOTHING,
}


def view(checks: list[Check]) -> View:
    """A line for each check, and below it how to mend what is wrong."""
    rows = []
    for check in checks:
        rows.append([_MARKS[check.state], cells.said(check.name), cells.said(check.sentence)])
        if check.hint is not None:
            rows.append([Cell(""), Cell(""), cells.said(f"→ {check.hint}", tone="quiet")])
    title = "All is well" if is_well(checks) else "Something is wrong"
    return [Table(title, columns(("", "word"), ("Check", "word"), ("Found", "text")), rows, "")]
