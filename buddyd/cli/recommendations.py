"""buddyctl recommendations."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.recommendations import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls


@click.command(
    epilog=examples(
        "buddyctl recommendations",
        "buddyctl recommendations --format markdown >> report.md",
    )
)
@shaping("tool")
@global_options
@pass_app
def command(app: App) -> None:
    """What to do about the tools that fail."""
    app.show(calls.get_tool_recommendations(), view)
