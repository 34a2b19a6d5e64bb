"""buddyctl pipeline."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.pipeline import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls


@click.command(
    epilog=examples(
        "buddyctl pipeline",
        "buddyctl pipeline --table tools --sort -failed",
        "buddyctl pipeline --table hours --format csv",
    )
)
@shaping("tool", tables=("sums", "tools", "hours"))
@global_options
@pass_app
def command(app: App) -> None:
    """What was done in the last day, what runs and waits now."""
    app.show(calls.get_task_pipeline(), view)
