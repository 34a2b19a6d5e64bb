"""buddyctl cleanup."""

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.administration import cleanup
from buddyd.client import calls

_PATIENCE_SECONDS = 600.0


@click.command(
    epilog=examples(
        "sudo buddyctl cleanup",
    )
)
@global_options
@pass_app
def command(app: App) -> None:
    """Remove what is past its retention (role admin)."""
    app.show(calls.cleanup_old_data(), cleanup, timeout=_PATIENCE_SECONDS)
