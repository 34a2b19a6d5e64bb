"""buddyctl record."""

import click
from msgspec import UNSET

from buddyd.cli import params
from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.numbers import Number
from buddyd.cli.render import cells
from buddyd.cli.render.view import Facts, View
from buddyd.client import calls
from buddyd.domain.answers import Receipt
from buddyd.domain.execution import (
    MAX_COST_DOLLARS,
    MAX_DURATION_SECONDS,
    MAX_TOKENS,
    EffortLevel,
    Execution,
    new_execution_id,
)

_DOLLARS = Number(0, MAX_COST_DOLLARS)


@click.command(
    epilog=examples(
        "buddyctl record --tool web_search --duration 1.4",
        "buddyctl record --tool web_search --duration 30 --error-type timeout",
    )
)
@params.tool_option("What was executed.")
@click.option(
    "--duration",
    type=Number(0, MAX_DURATION_SECONDS),
    metavar="SECONDS",
    required=True,
    help="How long it took.",
)
@params.agent_option
@params.task_option
@click.option(
    "--success/--failure",
    default=None,
    help="How it ended (default: success, unless there is an --error-type).",
)
@click.option(
    "--error-type", type=params.ERROR_TYPE, metavar="CLASS", help="Why it failed: timeout, say."
)
@click.option(
    "--finished-at",
    type=params.MOMENT,
    metavar="TIME",
    help="Unix seconds, a time (2026-01-31T12:00:00Z) or a time ago (15m, 2h); default: now.",
)
@click.option("--cost", type=_DOLLARS, default=0.0, metavar="DOLLARS", help="What it cost.")
@click.option(
    "--cost-estimate",
    type=_DOLLARS,
    default=0.0,
    metavar="DOLLARS",
    help="What it was expected to cost.",
)
@click.option("--tokens", type=click.IntRange(0, MAX_TOKENS), default=0, help="Tokens it used.")
@click.option(
    "--effort",
    type=click.Choice(["LOW", "MEDIUM", "HIGH"], case_sensitive=False),
    default="MEDIUM",
    help="How much of a person's effort it took.",
)
@click.option("--browser", is_flag=True, help="It used a browser.")
@click.option(
    "--id",
    "execution_id",
    type=params.EXECUTION_ID,
    metavar="ID",
    default=new_execution_id,
    help="Its id: recorded again under the same id, it counts once (default: a new one).",
)
@global_options
@pass_app
def command(
    app: App,
    *,
    tool: str,
    duration: float,
    agent: str,
    task: str,
    success: bool | None,
    error_type: str | None,
    finished_at: float | None,
    cost: float,
    cost_estimate: float,
    tokens: int,
    effort: EffortLevel,
    browser: bool,
    execution_id: str,
) -> None:
    """Record one execution."""
    execution = Execution(
        execution_id=execution_id,
        task_id=task,
        agent_id=agent,
        tool_name=tool,
        duration_seconds=duration,
        success=error_type is None if success is None else success,
        finished_at=UNSET if finished_at is None else finished_at,
        cost_actual=cost,
        cost_estimate=cost_estimate,
        tokens_used=tokens,
        human_effort_level=effort,
        browser_used=browser,
        error_type=error_type,
    )

    def view(receipt: Receipt) -> View:
        return [Facts(_outcome(receipt), {"Execution": cells.name(execution_id)})]

    app.show(calls.record_execution(execution), view)


def _outcome(receipt: Receipt) -> str:
    if receipt.duplicates:
        return "It was recorded before; nothing changed"
    if receipt.expired:
        return "It is older than the 30-day window; nothing was kept"
    return "Recorded"
