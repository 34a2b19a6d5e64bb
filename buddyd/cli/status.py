"""buddyctl status."""

import click

from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.status import view
from buddyd.client import calls


@click.command(epilog="Example: buddyctl status")
@global_options
@pass_app
def command(app: App) -> None:
    """How the daemon does: records, database, actors."""
    app.show(calls.get_daemon_status(), view)
