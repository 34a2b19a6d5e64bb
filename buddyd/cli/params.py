"""Types and defaults of options that several verbs share."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from buddyd.cli import completing
from buddyd.cli.render.cells import printable
from buddyd.client.names import default_agent
from buddyd.domain.execution import (
    EARLIEST_TIME,
    LATEST_TIME,
    ErrorType,
    ExecutionId,
    Name,
    new_execution_id,
)

Command = TypeVar("Command", bound=Callable[..., Any])

_AGO = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|m|min|h|d)")
_UNIT_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


class Text(click.ParamType[str]):
    """A text that the daemon would accept."""

    def __init__(self, name: str, type_: object, rule: str) -> None:
        self.name = name
        self._type = type_
        self._rule = rule

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`value` as it is; fails where the daemon would refuse it."""
        try:
            # An argument may hold bytes that are no text; they could not be sent.
            value.encode()
            msgspec.convert(value, self._type)
        except (msgspec.ValidationError, UnicodeEncodeError):
            self.fail(f"'{printable(value)}' is no {self.name}: {self._rule}.", param, ctx)
        return value


class Moment(click.ParamType[float]):
    """A moment: Unix seconds, a date and time, or how long ago (`90s`, `15m`, `2h`, `1d`)."""

    name = "moment"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """`value` in Unix seconds; a default may be in them already."""
        if isinstance(value, float):
            return value
        if ago := _AGO.fullmatch(value):
            return time.time() - float(ago["number"]) * _UNIT_SECONDS[ago["unit"]]
        try:
            return _unix_seconds(value)
        except (ValueError, OverflowError):
            self.fail(
                f"'{printable(value)}' is neither Unix seconds, nor a time such as "
                "2026-01-31T12:00:00Z, nor a time ago such as 15m, 2h or 1d.",
                param,
                ctx,
            )


class Span(click.ParamType[float]):
    """A length of time (`90s`, `15m`, `24h`, `7d`), in seconds."""

    name = "span"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """`value` in seconds; a default may be in them already."""
        if isinstance(value, float):
            return value
        length = _AGO.fullmatch(value)
        seconds = float(length["number"]) * _UNIT_SECONDS[length["unit"]] if length else 0.0
        if not seconds:
            self.fail(
                f"'{printable(value)}' is no length of time such as 15m, 24h or 7d.", param, ctx
            )
        return seconds


def _unix_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
    else:
        if not EARLIEST_TIME <= seconds <= LATEST_TIME:
            raise ValueError(text)
        return seconds
    # A time without a zone is the user's own.
    return (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC).timestamp()


NAME = Text("name", Name, "it has 1 to 256 characters and no control characters")
ERROR_TYPE = Text("error type", ErrorType, "it has 1 to 128 characters and no control characters")
EXECUTION_ID = Text("execution id", ExecutionId, "it has 1 to 64 characters")
MOMENT = Moment()
SPAN = Span()


def agent_filter(help_: str = "Only of this agent.") -> Callable[[Command], Command]:
    """`--agent` of a command that shows what agents did."""
    return click.option(
        "--agent", type=NAME, metavar="NAME", shell_complete=completing.agents, help=help_
    )


def tool_filter(help_: str = "Only of this tool.") -> Callable[[Command], Command]:
    """`--tool` of a command that shows what was done with tools."""
    return click.option(
        "--tool", type=NAME, metavar="NAME", shell_complete=completing.tools, help=help_
    )


def tool_option(help_: str) -> Callable[[Command], Command]:
    """`--tool` of a command that records an execution."""
    return click.option(
        "--tool",
        type=NAME,
        metavar="NAME",
        required=True,
        shell_complete=completing.tools,
        help=help_,
    )


task_option = click.option(
    "--task",
    type=NAME,
    metavar="ID",
    envvar="BUDDYD_TASK",
    default=new_execution_id,
    help="The task it is for (default: $BUDDYD_TASK, else a new id).",
)

agent_option = click.option(
    "--agent",
    type=NAME,
    metavar="NAME",
    envvar="BUDDYD_AGENT",
    default=default_agent,
    shell_complete=completing.agents,
    help="Whose execution it is (default: $BUDDYD_AGENT, else user@host).",
)
