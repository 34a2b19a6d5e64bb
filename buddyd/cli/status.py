"""buddyctl status."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.status import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls


@click.command(
    epilog=examples(
        "buddyctl status",
        "buddyctl status --json | jq .settings",
    )
)
@shaping(tables=("daemon", "database", "actors"))
@global_options
@pass_app
def command(app: App) -> None:
    """How the daemon itself is: records, database, actors."""
    app.show(calls.get_daemon_status(), view)
