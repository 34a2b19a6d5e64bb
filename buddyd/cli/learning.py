"""buddyctl learning."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.learning import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls


@click.command(
    epilog=examples(
        "buddyctl learning",
        "buddyctl learning --sort success_rate --limit 5",
        "buddyctl learning --format csv > tools.csv",
    )
)
@shaping("tool")
@global_options
@pass_app
def command(app: App) -> None:
    """How far each tool can be trusted, by the last 30 days."""
    app.show(calls.get_system_learning(), view)
