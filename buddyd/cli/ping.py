"""buddyctl ping."""

import time

import click

from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render import cells
from buddyd.cli.render.view import Facts, View
from buddyd.client import calls
from buddyd.domain.answers import Pong


@click.command(
    epilog=examples(
        "buddyctl ping",
        "buddyctl ping --timeout 1 && echo it runs",
    )
)
@global_options
@pass_app
def command(app: App) -> None:
    """Whether the daemon is there, and how fast it answers."""
    asked = time.perf_counter()

    def view(answer: Pong) -> View:
        took = time.perf_counter() - asked
        return [
            Facts(
                f"buddyd {cells.printable(answer.version)} answers",
                {
                    "Protocol": cells.count(answer.protocol),
                    "Up for": cells.seconds(answer.uptime_seconds),
                    "Took": cells.seconds(took),
                },
            )
        ]

    app.show(calls.ping(), view)
