"""What a check of a database found."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Facts, Table, View, columns
from buddyd.storage.check import Checked


def checked(found: Checked) -> View:
    """A line for each finding, and how much there is of what."""
    title = "All is well with" if found.ok else "Not all is well with"
    rows = [
        [
            Cell("ok", tone="good") if finding.ok else Cell("wrong", tone="bad"),
            cells.said(finding.sentence),
        ]
        for finding in found.findings
    ]
    view: View = [
        Table(
            f"{title} {cells.printable(found.database)}",
            columns(("", "word"), ("Found", "text")),
            rows,
            "",
        )
    ]
    if found.counts:
        named = {name.replace("_", " ").capitalize(): n for name, n in found.counts.items()}
        view.append(Facts("Rows", {name: cells.count(n) for name, n in named.items()}))
    return view
