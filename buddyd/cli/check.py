"""buddyctl check."""

from pathlib import Path

import click

from buddyd import config
from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.progress import bar
from buddyd.cli.render.check import checked
from buddyd.storage.check import check


@click.command(
    epilog=examples(
        "buddyctl check",
        "buddyctl check /var/backups/buddyd.db",
    )
)
@click.argument("database", type=click.Path(path_type=Path), required=False)
@global_options
@pass_app
def command(app: App, database: Path | None) -> int:
    """Verify a database, or a backup.

    It has to be undamaged, and its parts have to agree.

    Without DATABASE it is the configured one. It is only read, and the daemon may have
    it open. Exits 1 if something is wrong.
    """
    path = database or config.database_path(config.load(None).settings)
    with bar("Checking", None, color=not app.no_color):
        found = check(path)
    if app.json:
        app.write(found)
    else:
        app.draw(checked(found))
    return 0 if found.ok else 1
