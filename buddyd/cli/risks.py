"""buddyctl risks."""

import click

from buddyd.cli import params
from buddyd.cli.app import App, global_options, pass_app
from buddyd.cli.render.findings import history_view
from buddyd.cli.render.risks import view
from buddyd.client import calls


@click.command(epilog="Example: buddyctl risks --history --since 7d")
@click.option("--history", is_flag=True, help="What was found in the last 30 days.")
@click.option(
    "--since",
    type=params.MOMENT,
    metavar="TIME",
    help="With --history: what lasted at or after: Unix seconds, 2026-01-31T12:00:00Z, or a time "
    "ago (15m, 2h).",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="With --history: at most so many.",
)
@global_options
@pass_app
def command(app: App, *, history: bool, since: float | None, limit: int) -> None:
    """Findings, failing tools, and costs that stand out."""
    if history:
        app.show(calls.get_risk_history(since=since, limit=limit), history_view)
    elif since is not None:
        message = "--since goes with --history."
        raise click.UsageError(message)
    else:
        app.show(calls.get_risk_patterns(), view)
