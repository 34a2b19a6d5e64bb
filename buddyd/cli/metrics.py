"""buddyctl metrics."""

import sys
from pathlib import Path

import click

from buddyd.cli.app import App, examples, global_options, pass_app


@click.command(
    epilog=examples(
        "buddyctl metrics",
        "buddyctl metrics --output /var/lib/node_exporter/textfile_collector/buddyd.prom",
    )
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write them to FILE, atomically.",
)
@global_options
@pass_app
def command(app: App, output: Path | None) -> None:
    """The state as Prometheus metrics.

    With --output, for the textfile collector of node_exporter: run it from a timer. If the daemon
    does not answer, FILE stays as it is; its age shows that.
    """
    # It loads as much as all the rest of buddyctl; no other verb waits for it.
    from prometheus_client import (
        CollectorRegistry,
        generate_latest,
        write_to_textfile,
    )

    from buddyd.cli.render.exposition import State

    if app.json:
        raise click.UsageError("Metrics have one format; leave --json out.")
    with app.client() as client:
        state = State(client.get_daemon_status(), client.get_all())
    registry = CollectorRegistry()
    registry.register(state)
    if output is None:
        sys.stdout.buffer.write(generate_latest(registry))
        return
    try:
        write_to_textfile(str(output), registry)
    except OSError as error:
        # It names the file that was to be renamed.
        raise OSError(error.errno, error.strerror, str(output)) from None
