"""buddyctl doctor."""

import click

from buddyd.cli import facts
from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.checks import examine
from buddyd.cli.render.doctor import view
from buddyd.cli.verdict import is_well

ANSWER_SECONDS = 3.0


@click.command(epilog=examples("buddyctl doctor", "buddyctl doctor --json"))
@global_options
@pass_app
def command(app: App) -> int:
    """Find what is wrong here, and how to fix it.

    It looks at the configuration, the unit, the socket, the daemon, the disk and the clock. It
    changes nothing and needs no rights; root sees more. Exits 1 if something is wrong.
    """
    checks = examine(facts.gather(app.socket, app.timeout or ANSWER_SECONDS))
    if app.json:
        app.write({"ok": is_well(checks), "checks": checks})
    else:
        app.draw(view(checks))
    return 0 if is_well(checks) else 1
