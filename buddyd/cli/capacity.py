"""buddyctl capacity."""

import click

from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.capacity import view
from buddyd.client import calls


@click.command(epilog="Example: buddyctl capacity")
@global_options
@pass_app
def command(app: App) -> None:
    """What the agents can take on in the next hour."""
    app.show(calls.get_predictive_capacity(), view)
