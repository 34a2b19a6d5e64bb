"""Draws how far long work has come, with rich."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from buddyd.cli.progress import Bar
from buddyd.cli.render.terminal import console


@contextmanager
def draw(title: str, total: int | None, *, color: bool) -> Iterator[Bar]:
    """A bar that is gone when the work is done."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(
            [TimeElapsedColumn()]
            if total is None
            else [TaskProgressColumn(), TimeRemainingColumn()]
        ),
        console=console(color=color, error=True),
        transient=True,
    )
    with progress:
        yield _Drawn(progress, progress.add_task(title, total=total))


class _Drawn(Bar):
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)

    def say(self, line: str) -> None:
        self._progress.console.print(Text(line, overflow="fold"))
