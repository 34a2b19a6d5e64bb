"""buddyctl agents."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.agents import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls


@click.command(
    epilog=examples(
        "buddyctl agents",
        "buddyctl agents --sort -queue_depth --limit 10",
        "buddyctl agents --json | jq -r '.agents[] | select(.status == \"ERROR\").agent_id'",
    )
)
@shaping("agent")
@global_options
@pass_app
def command(app: App) -> None:
    """How the agents are: status, success rate, queue."""
    app.show(calls.get_agents_status(), view)
