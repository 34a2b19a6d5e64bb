"""buddyctl hook."""

import click

from buddyd.cli import hooking
from buddyd.cli.app import App, examples, global_options, pass_app


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=examples("buddyctl hook --agent coder < event.json"),
)
@click.option(
    "--agent",
    metavar="NAME",
    help="Whose execution it is (default: $BUDDYD_AGENT, else user@host).",
)
@click.argument("surplus", nargs=-1, type=click.UNPROCESSED)
@global_options
@pass_app
def command(app: App, agent: str | None, surplus: tuple[str, ...]) -> None:  # noqa: ARG001 -- passed over.
    """Record a tool's use, called by a coding agent as a hook.

    \b
    Have your agent call `buddyctl hook` after each use of a tool (PostToolUse,
    PostToolUseFailure, AfterTool), with its JSON on standard input. Called
    before as well (PreToolUse, BeforeTool), it measures the duration if the
    agent does not report it.

    The task is the session, the tool is the agent's name for it. It does not
    wait for the daemon, prints nothing, and exits with 0 whatever happens.
    """  # noqa: D301 -- \b is click's mark of a block that is not to be wrapped.
    words = [f"--agent={agent}"] if agent else []
    words += [f"--socket={app.socket}"] if app.socket else []
    hooking.run(words)
