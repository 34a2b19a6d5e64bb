"""buddyctl backup."""

from pathlib import Path

import click

from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.administration import backup
from buddyd.client import calls

_PATIENCE_SECONDS = 3600.0


@click.command(epilog="Example: sudo buddyctl backup /var/backups/buddyd.db")
@click.argument("path", type=click.Path(path_type=Path))
@global_options
@pass_app
def command(app: App, path: Path) -> None:
    """Write a copy of the database to PATH (role admin).

    It is consistent, though records keep coming. The daemon writes it, as its own user.
    """
    # The daemon's working directory is another one.
    app.show(calls.backup(str(path.absolute())), backup, timeout=_PATIENCE_SECONDS)
