"""What the answers are worth: `python -m tests.backtest FILE…`.

Replays traces through the domain code that the daemon runs, and prints how far off its forecasts
and its verdicts were. A FILE holds executions, one JSON object a line as `buddyctl import` takes
them, or rates (`.csv`): seconds in the first column, one client in each other one.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from tests.backtest import anomalies, confidence, forecasts, synthetic, trends
from tests.backtest.tables import Table
from tests.backtest.traces import Trace, read

TABLES: dict[str, Callable[[Sequence[Trace]], Table]] = {
    "forecast": forecasts.table,
    "confidence": confidence.table,
    "trend": trends.table,
    "anomalies": anomalies.table,
}


def main() -> None:
    """Print the tables that were asked for."""
    options = _options()
    with ProcessPoolExecutor() as pool:
        work = [pool.submit(_table, name, options) for name in options.only or TABLES]
        try:
            tables = [future.result() for future in work]
        except (OSError, ValueError) as error:
            sys.exit(f"{error}")
    for table in tables:
        print(table.text())
    if options.markdown:
        text = "\n".join(table.markdown() for table in tables)
        options.markdown.write_text(text, encoding="utf-8")


def _table(name: str, options: argparse.Namespace) -> Table:
    traces = [read(file) for file in options.files]
    if name == "forecast":
        traces += synthetic.traces() if options.synthetic else []
        if options.window:
            traces = [msgspec.structs.replace(t, window=options.window) for t in traces]
        return forecasts.table(traces)
    return TABLES[name]([trace for trace in traces if trace.full_load is None])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.backtest", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--only", action="append", choices=TABLES, help="a single table")
    parser.add_argument("--window", type=int, metavar="SECONDS", help="forecast such windows")
    parser.add_argument("--synthetic", action="store_true", help="forecast made series as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to it, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
