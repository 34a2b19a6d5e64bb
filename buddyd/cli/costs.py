"""buddyctl costs."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.costs import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls


@click.command(
    epilog=examples(
        "buddyctl costs",
        "buddyctl costs --table agents --limit 5",
        "buddyctl costs --json | jq .costing.total_daily_cost",
    )
)
@shaping("agent", "tool", tables=("sums", "budgets", "reconciliation", "tools", "agents", "stored"))
@global_options
@pass_app
def command(app: App) -> None:
    """What the agents used in the last day, and its cost."""
    app.show(calls.get_api_usage_and_costing(), view)
