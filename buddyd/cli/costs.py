"""buddyctl costs."""

import click

from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.costs import view
from buddyd.client import calls


@click.command(epilog="Example: buddyctl costs --json | jq .costing.total_daily_cost")
@global_options
@pass_app
def command(app: App) -> None:
    """What the agents used in a day, and what it cost."""
    app.show(calls.get_api_usage_and_costing(), view)
