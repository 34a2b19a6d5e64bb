"""buddyctl risks."""

import click

from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.risks import view
from buddyd.client import calls


@click.command(epilog="Example: buddyctl risks")
@global_options
@pass_app
def command(app: App) -> None:
    """Failing tools, and costs that stand out."""
    app.show(calls.get_risk_patterns(), view)
