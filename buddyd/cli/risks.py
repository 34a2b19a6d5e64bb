"""buddyctl risks."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.risks import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls


@click.command(
    epilog=examples(
        "buddyctl risks",
        "buddyctl risks --tool web_search",
        "buddyctl risks --table failures --limit 50",
    )
)
@shaping("agent", "tool", tables=("tools", "failures", "costs"))
@global_options
@pass_app
def command(app: App) -> None:
    """Failing tools, and costs that stand out."""
    app.show(calls.get_risk_patterns(), view)
