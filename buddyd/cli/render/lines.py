"""Draws executions line by line, with rich: on a terminal in colour and within its width."""

import sys
from collections.abc import Iterable

from rich.text import Text

from buddyd.cli.render.tail import GAP, parts
from buddyd.cli.render.terminal import STYLES, console
from buddyd.domain.answers import StoredExecution


class Lines:
    """Standard output, a line for each execution."""

    def __init__(self, *, color: bool) -> None:
        self._console = console(color=color)
        self._has_width = sys.stdout.isatty()

    def show(self, executions: Iterable[StoredExecution]) -> None:
        """Write a line for each of them."""
        columns = self._console.width if self._has_width else None
        for execution in executions:
            line = _joined(execution, columns)
            if columns is None:
                sys.stdout.write(f"{line.plain}\n")
            else:
                self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def _joined(execution: StoredExecution, columns: int | None) -> Text:
    texts = [
        Text(cell.text, STYLES[cell.tone] if cell.tone else "")
        for cell in parts(execution, columns)
    ]
    return Text(GAP).join(texts)
