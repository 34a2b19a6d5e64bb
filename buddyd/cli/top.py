"""buddyctl top."""

import os
import signal
import sys
from functools import partial

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.client.methods import DEFAULT_TIMEOUT

_SECTIONS = ("agents", "capacity", "tasks", "costs", "learning")


@click.command(epilog=examples("buddyctl top --section costs"))
@click.option(
    "--section",
    type=click.Choice(_SECTIONS),
    default=_SECTIONS[0],
    help="Which one is open at first (default: agents).",
)
@global_options
@pass_app
def command(app: App, *, section: str) -> None:
    """Watch agents, capacity, tasks, costs and learning, live.

    It asks only for what the daemon says has changed. Press ? for its keys.
    """
    if app.json:
        raise click.UsageError("top is for a terminal; `buddyctl tail --json` is for programs.")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("top takes a terminal; `buddyctl agents` and the like do not.")
    import anyio  # it and rich, only where they are used.

    from buddyd.cli.live import shell
    from buddyd.cli.live.state import State
    from buddyd.client.aio import AsyncClient

    state = State(section=section)  # type: ignore[arg-type]  # One of the choices.
    client = AsyncClient(app.socket, timeout=app.timeout or DEFAULT_TIMEOUT)
    ended_by = anyio.run(partial(shell.run, client, state, color=not app.no_color))
    if ended_by in {signal.SIGTERM, signal.SIGHUP}:
        # Now that the terminal is as it was, as if it had not been caught.
        signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
