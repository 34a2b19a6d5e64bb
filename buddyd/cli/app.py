"""What every verb has in common: the global options, asking the daemon, and writing the answer."""

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import click
import msgspec

from buddyd.cli.numbers import Number
from buddyd.cli.render.cells import printable
from buddyd.cli.render.shape import Shape, ShapeError, shaped
from buddyd.cli.render.view import View
from buddyd.client import Call, Client
from buddyd.client.methods import DEFAULT_TIMEOUT
from buddyd.domain.answers import Answer

R = TypeVar("R", bound=Answer)
Command = TypeVar("Command", bound=Callable[..., Any])

Format = Literal["table", "json", "csv", "markdown"]

# JSON leaves these control characters bare, and some terminals obey them.
_BARE_CONTROLS = re.compile(r"[\x7f-\x9f]")


class App:
    """One run of buddyctl: its global options, wherever on the command line they stood."""

    def __init__(self) -> None:
        self.socket: str | None = None
        self.timeout: float | None = None
        self.json = False
        self.no_color = bool(os.environ.get("NO_COLOR"))
        self.format: Format = "table"
        self.shape = Shape()

    def client(self, timeout: float = DEFAULT_TIMEOUT) -> Client:
        """A client of the daemon; `--timeout` goes before the verb's own `timeout`."""
        return Client(self.socket, timeout=self.timeout or timeout)

    def show(
        self, call: Call[R], view: Callable[[R], View], *, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Ask, and show the answer: as it came with `--json`, else as `view` lays it out."""
        self.asked(call, view, timeout=timeout)()

    def asked(
        self, call: Call[R], view: Callable[[R], View], *, timeout: float = DEFAULT_TIMEOUT
    ) -> Callable[[], None]:
        """Ask; what then shows the answer, as `show` does."""
        self.check_options()
        with self.client(timeout) as client:
            if self.wants_json:
                return partial(self.write, client.call_plain(call))
            answer = client.call(call)
        return lambda: self.draw(view(answer))

    @property
    def wants_json(self) -> bool:
        """Whether the answer is to be printed as it came."""
        return self.json or self.format == "json"

    def check_options(self) -> None:
        """Raise click.UsageError where the options contradict each other."""
        if self.json and self.format not in {"json", "table"}:
            raise click.UsageError(f"Give either --json or --format {self.format}.")
        if self.wants_json and self.shape:
            raise click.UsageError(
                "JSON is the unchanged answer: filter and sort it with jq, or leave --json out."
            )

    def write(self, document: object) -> None:
        """One JSON document on standard output."""
        sys.stdout.buffer.write(json_line(document))

    def draw(self, view: View) -> None:
        """Show `view` in the shape and the format that was asked for."""
        try:
            view = shaped(view, self.shape)
        except ShapeError as error:
            raise click.UsageError(str(error)) from None
        if self.format == "table":
            from buddyd.cli.render import terminal  # Only where it draws.

            terminal.draw(view, color=not self.no_color)
        else:
            from buddyd.cli.render import documents  # Only where it is asked for.

            sys.stdout.write(documents.DOCUMENTS[self.format](view))


def json_line(document: object) -> bytes:
    """`document` as one line of JSON that no terminal obeys."""
    text = msgspec.json.encode(document).decode()
    return _BARE_CONTROLS.sub(lambda c: f"\\u{ord(c[0]):04x}", text).encode() + b"\n"


def examples(*lines: str) -> str:
    """The end of a verb's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def complain(sentence: str) -> None:
    """One line on standard error."""
    click.echo(f"buddyctl: {printable(sentence)}", err=True)


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    # An option may stand before the verb or after it: where it does not stand, it says nothing.
    if value is not None and value is not False and parameter.name is not None:
        setattr(context.ensure_object(App), parameter.name, value)


_GLOBAL_OPTIONS = [
    click.option(
        "--socket",
        metavar="PATH",
        expose_value=False,
        callback=_keep,
        help="The daemon's socket (default: where the daemon itself would put it).",
    ),
    click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Print the daemon's answer unchanged, as one JSON document.",
    ),
    click.option(
        "--no-color",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="No colours (as with NO_COLOR set, or when not on a terminal).",
    ),
    click.option(
        "--timeout",
        type=Number(min=0, min_open=True),
        metavar="SECONDS",
        expose_value=False,
        callback=_keep,
        help="How long to wait for the daemon.",
    ),
]


def global_options(command: Command) -> Command:
    """Let `command` take the options that stand before or after the verb."""
    for option in reversed(_GLOBAL_OPTIONS):
        command = option(command)
    return command


pass_app = click.make_pass_decorator(App, ensure=True)
