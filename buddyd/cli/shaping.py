"""The options that say what of an answer is shown, and how."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

import click

from buddyd.cli import completing, params
from buddyd.cli.app import App, Format

Command = TypeVar("Command", bound=Callable[..., Any])
Filter = Literal["agent", "tool"]

_COMPLETIONS: dict[Filter, completing.Completion] = {
    "agent": completing.agents,
    "tool": completing.tools,
}


def shaping(*filters: Filter, tables: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Let a query be filtered by these, sorted, cut short and written in other formats.

    `tables` are the names of its parts, where it has several.
    """

    def decorate(command: Command) -> Command:
        for option in reversed([*map(_filter, filters), *_COMMON, *_table(tables)]):
            command = option(command)
        return command

    return decorate


def _keep_shape(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if parameter.name is not None and value not in {None, ()}:
        setattr(context.ensure_object(App).shape, parameter.name, value)


def _keep_format(context: click.Context, _: click.Parameter, value: Format | None) -> None:
    if value is not None:
        context.ensure_object(App).format = value


def _filter(which: Filter) -> Callable[[Command], Command]:
    return click.option(
        f"--{which}",
        type=params.NAME,
        metavar="NAME",
        multiple=True,
        expose_value=False,
        callback=_keep_shape,
        shell_complete=_COMPLETIONS[which],
        help=f"Only this {which} (may be given several times).",
    )


def _table(names: tuple[str, ...]) -> list[Callable[[Command], Command]]:
    if not names:
        return []
    option = click.option(
        "--table",
        type=click.Choice(names),
        expose_value=False,
        callback=_keep_shape,
        help="Show only this part.",
    )
    return [option]


_COMMON = [
    click.option(
        "--sort",
        metavar="COLUMN",
        expose_value=False,
        callback=_keep_shape,
        help="Sort by this column; -COLUMN puts the largest first.",
    ),
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        expose_value=False,
        callback=_keep_shape,
        help="Show at most N rows.",
    ),
    click.option(
        "--format",
        type=click.Choice(get_args(Format)),
        expose_value=False,
        callback=_keep_format,
        help="Output format (default: table).",
    ),
]
