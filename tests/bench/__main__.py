"""Measures the daemon, as a process of its own, against the figures that it has to reach.

python -m tests.bench
python -m tests.bench --only ingest queries --rows 1000,100000
python -m tests.bench --rows 1000,100000,1000000,5000000 --markdown bench.md
"""

import argparse
import logging
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from rich.console import Console

from tests.bench import against_plain, ingest, layout, parts, queries, resources, upkeep
from tests.bench.daemons import Databases
from tests.bench.measuring import Plan, Table, show, write_markdown

FAMILIES: dict[str, Callable[[Plan, Databases], Table]] = {
    "ingest": lambda plan, _: ingest.measure(plan),
    "queries": queries.measure,
    "wide": queries.measure_wide,
    "memory": resources.memory,
    "processor": resources.processor,
    "start": resources.start,
    "command": resources.command,
    "disk": resources.disk,
    "upkeep": upkeep.measure,
    "plain": against_plain.measure,
    "parts": lambda plan, _: parts.measure(plan),
    "layout": lambda plan, _: layout.measure(plan),
}


def host() -> str:
    """What it was measured on."""
    return (
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {platform.machine()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"
    )


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(each.replace("_", "")) for each in text.split(",")))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument(
        "--rows",
        type=_sizes,
        default=(1_000, 100_000, 1_000_000),
        help="sizes of Tier 1 at which queries are measured, with commas between them",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds that medians are taken over")
    parser.add_argument(
        "--large", type=int, default=1_000_000, help="rows of what is measured at one size"
    )
    parser.add_argument(
        "--idle-seconds", type=float, default=60.0, help="how long an idle daemon is watched"
    )
    parser.add_argument("--markdown", type=Path, help="where to write the table as Markdown")
    parser.add_argument(
        "--cache", type=Path, help="where to keep the databases that were filled for the next run"
    )
    return parser.parse_args()


def main() -> None:
    """The command. It exits 1 where a figure is not reached."""
    given = _parsed()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    plan = Plan(given.rows, given.rounds, given.large, given.idle_seconds)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(host())
    tables = []
    with TemporaryDirectory(prefix="buddyd-bench-") as folder:
        databases = Databases(given.cache or Path(folder))
        for name in given.only:
            tables.append(FAMILIES[name](plan, databases))
            show(tables[-1], console)
            if given.markdown:
                with given.markdown.open("w") as file:
                    write_markdown(tables, host(), file)
    missed = [each.what for table in tables for each in table.lines if each.met is False]
    console.print(f"not reached: {'; '.join(missed)}" if missed else "all is reached")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
