"""Makes a file of a plot, with matplotlib; without a display."""

from pathlib import Path

from matplotlib import dates
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from buddyd.cli.plotting.metrics import Plot

_INCHES = (10.0, 4.0)
_DOTS_PER_INCH = 150
_DAY_SECONDS = 86_400


def save(plot: Plot, file: Path) -> None:
    """Write the plot in the format that the file's ending names."""
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.add_subplot()
    known = [(at, value) for at, value in plot.points() if value is not None]
    axes.bar(
        [_days(at) for at, _ in known],
        [value for _, value in known],
        width=0.9 * plot.buckets.step / _DAY_SECONDS,
        align="edge",
    )
    begin = plot.buckets.begin(0)
    end = plot.buckets.begin(len(plot.buckets.rows))
    axes.set_xlim(_days(begin), _days(end))
    axes.xaxis_date("UTC")
    axes.set_ylim(0, plot.metric.top)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plot.metric.told(value)))
    # A dollar sign, or what a client called a tool, is no formula.
    axes.set_title(plot.title.replace("$", r"\$"))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.savefig(file, dpi=_DOTS_PER_INCH)


def _days(at: float) -> float:
    """Unix seconds as matplotlib counts time: in days since the epoch."""
    return at / _DAY_SECONDS
