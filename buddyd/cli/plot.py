"""buddyctl plot."""

from pathlib import Path

import click

from buddyd.cli import params
from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.plotting.history import Wanted, fetched
from buddyd.cli.plotting.metrics import METRICS, Name, Plot, view
from buddyd.cli.progress import bar
from buddyd.domain.windows import rfc3339

_DAY_SECONDS = 86_400.0
_MOST_COLUMNS, _MOST_POINTS = 60, 200
_ENDINGS = {".svg", ".png"}

_WITHOUT_MATPLOTLIB = (
    "Files need matplotlib, which is not installed: pip install 'buddyd[plot]', "
    "or leave --output out to plot on the terminal."
)


@click.command(
    epilog=examples(
        "buddyctl plot tasks",
        "buddyctl plot latency --tool web_search --since 6h",
        "buddyctl plot costs --since 7d --output costs.svg",
    )
)
@click.argument("what", type=click.Choice(list(METRICS)))
@params.tool_filter("Only of this tool; goes back at most a day.")
@params.agent_filter("Only of this agent; goes back at most a day.")
@click.option(
    "--since",
    type=params.SPAN,
    metavar="SPAN",
    default=_DAY_SECONDS,
    help="How far to go back: 6h, 7d, as far as summaries are kept (30d; default: 24h).",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a file instead, .svg or .png.",
)
@global_options
@pass_app
def command(
    app: App, *, what: Name, tool: str | None, agent: str | None, since: float, output: Path | None
) -> None:
    """Plot costs, tasks, latency or success over time.

    On the terminal, or with --output into a file. --json prints the points.
    """
    if output is not None and output.suffix not in _ENDINGS:
        raise click.UsageError(f"--output needs a name that ends in .svg or .png, not {output}.")
    most = _MOST_COLUMNS if output is None else _MOST_POINTS
    wanted = Wanted(since, most, tool, agent)
    with (
        app.client() as client,
        bar("Fetching", None, color=not app.no_color) as progress,
    ):
        plot = Plot(METRICS[what], wanted.of, fetched(client, wanted, progress.advance))
    if output is not None:
        _save(plot, output)
    elif app.json:
        app.write(_document(plot))
    else:
        app.draw(view(plot))


def _save(plot: Plot, output: Path) -> None:
    try:
        from buddyd.cli.plotting import picture  # An extra, and a heavy one.
    except ImportError:
        raise click.ClickException(_WITHOUT_MATPLOTLIB) from None
    picture.save(plot, output)


def _document(plot: Plot) -> dict[str, object]:
    return {
        "title": plot.title,
        "unit": plot.metric.unit,
        "step_seconds": plot.buckets.step,
        "points": [{"time": rfc3339(at), "value": value} for at, value in plot.points()],
    }
