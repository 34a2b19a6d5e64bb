"""buddyctl backup."""

from pathlib import Path

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.progress import bar
from buddyd.cli.render.administration import backup
from buddyd.client import calls

_PATIENCE_SECONDS = 3600.0


@click.command(
    epilog=examples(
        "sudo buddyctl backup /var/backups/buddyd.db",
    )
)
@click.argument("path", type=click.Path(path_type=Path))
@global_options
@pass_app
def command(app: App, path: Path) -> None:
    """Write a copy of the database to PATH (role admin).

    It is consistent even while records keep coming. The daemon writes it, as its own user.
    """
    # The daemon's working directory is another one.
    call = calls.backup(str(path.absolute()))
    with bar("Copying", None, color=not app.no_color):
        show = app.asked(call, backup, timeout=_PATIENCE_SECONDS)
    show()
