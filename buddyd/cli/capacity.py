"""buddyctl capacity."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.capacity import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls


@click.command(
    epilog=examples(
        "buddyctl capacity",
        "buddyctl capacity --agent scout --agent ci",
        "buddyctl capacity --sort -estimated_available_capacity",
    )
)
@shaping("agent")
@global_options
@pass_app
def command(app: App) -> None:
    """What the agents can take on in the next hour."""
    app.show(calls.get_predictive_capacity(), view)
