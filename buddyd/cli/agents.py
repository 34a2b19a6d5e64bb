"""buddyctl agents."""

import click

from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.agents import view
from buddyd.client import calls


@click.command(epilog="Example: buddyctl agents --json | jq '.agents[].agent_id'")
@global_options
@pass_app
def command(app: App) -> None:
    """How the agents are: status, success, what waits."""
    app.show(calls.get_agents_status(), view)
