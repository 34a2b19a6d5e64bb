"""buddyctl learning."""

import click

from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.learning import view
from buddyd.client import calls


@click.command(epilog="Example: buddyctl learning")
@global_options
@pass_app
def command(app: App) -> None:
    """How far each tool can be trusted, from 30 days."""
    app.show(calls.get_system_learning(), view)
