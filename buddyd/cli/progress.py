"""How far long work has come: a bar on a terminal, and nothing in a pipe."""

import sys
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext

import click


class Bar(ABC):
    """How far it has come."""

    @abstractmethod
    def advance(self, amount: int) -> None:
        """So much more is done."""

    @abstractmethod
    def say(self, line: str) -> None:
        """Write a line to standard error that stays. It must be safe to print."""


def bar(
    title: str, total: int | None, *, color: bool, prints: bool = False
) -> AbstractContextManager[Bar]:
    """Show how much of `total` is done, on standard error; None where that is not known.

    Where the work `prints` to the same terminal, that is sign enough of how it goes.
    """
    if not sys.stderr.isatty() or (prints and sys.stdout.isatty()):
        return nullcontext(_Silent())
    from buddyd.cli.render import bar as drawn  # rich, only where it draws.

    return drawn.draw(title, total, color=color)


class _Silent(Bar):
    def advance(self, amount: int) -> None:
        pass

    def say(self, line: str) -> None:
        click.echo(line, err=True)
