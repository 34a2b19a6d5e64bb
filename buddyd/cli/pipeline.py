"""buddyctl pipeline."""

import click

from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.pipeline import view
from buddyd.client import calls


@click.command(epilog="Example: buddyctl pipeline")
@global_options
@pass_app
def command(app: App) -> None:
    """What was done in a day, and what runs and waits now."""
    app.show(calls.get_task_pipeline(), view)
