"""buddyctl risks."""

import click

from buddyd.cli import params
from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.render.findings import history_view
from buddyd.cli.render.risks import view
from buddyd.cli.shaping import shaping
from buddyd.client import calls

_MOST = 1000
"""Findings of the history that are asked for: as many as the daemon gives at once."""


@click.command(
    epilog=examples(
        "buddyctl risks",
        "buddyctl risks --tool web_search",
        "buddyctl risks --table failures --limit 50",
        "buddyctl risks --history --since 7d",
    )
)
@click.option("--history", is_flag=True, help="The findings of the last 30 days, current and past.")
@click.option(
    "--since",
    type=params.MOMENT,
    metavar="TIME",
    help="With --history: those that ended at or after this time, or have not: Unix seconds, "
    "2026-01-31T12:00:00Z, or a time ago (15m, 2h).",
)
@shaping("agent", "tool", tables=("findings", "tools", "failures", "costs"))
@global_options
@pass_app
def command(app: App, *, history: bool, since: float | None) -> None:
    """Findings, failing tools, and costs that stand out."""
    if history:
        call = calls.get_risk_history(
            since=since,
            limit=_MOST,
            agent_id=_only(app.shape.agent),
            tool_name=_only(app.shape.tool),
        )
        app.show(call, history_view)
    elif since is not None:
        message = "--since goes with --history."
        raise click.UsageError(message)
    else:
        app.show(calls.get_risk_patterns(), view)


def _only(names: tuple[str, ...]) -> str | None:
    """The one name that the daemon can filter by; among several, the view chooses."""
    return names[0] if len(names) == 1 else None
