"""buddyctl aggregate."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.administration import aggregation
from buddyd.client import calls

_PATIENCE_SECONDS = 600.0


@click.command(
    epilog=examples(
        "sudo buddyctl aggregate",
    )
)
@global_options
@pass_app
def command(app: App) -> None:
    """Bring the hourly summaries up to date (role admin)."""
    app.show(calls.run_hourly_aggregation(), aggregation, timeout=_PATIENCE_SECONDS)
