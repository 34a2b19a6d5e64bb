"""Queries over the socket, while records arrive."""

import random
import statistics
import time
from contextlib import ExitStack

from tests.bench import load
from tests.bench.company import BATCH, Company, feeding
from tests.bench.daemons import BenchDaemon, Databases, running
from tests.bench.load import Connection
from tests.bench.measuring import Bar, Line, Plan, Table, line, percentile, size, spread

QUERIES = (
    "get_agents_status",
    "get_predictive_capacity",
    "get_task_pipeline",
    "get_api_usage_and_costing",
    "get_system_learning",
    "get_risk_patterns",
    "get_tool_recommendations",
    "get_all",
)
RECORDS_A_SECOND = 2_000
SAMPLES = 60
MOST_PAUSE_SECONDS = 0.003
WIDE = 1_000
WIDE_SECONDS = 3.0

P50_BAR = 0.001
RATIO_BAR = 1.5
WIDE_BAR = Bar(0.050, "p99 ≤ 50 ms")

Took = dict[str, list[float]]


def measure(plan: Plan, databases: Databases) -> Table:
    """Every query at every size."""
    found: dict[int, Took] = {}
    rates: list[float] = []
    with ExitStack() as stack:
        daemons = {
            rows: stack.enter_context(running(database=databases.full(rows))) for rows in plan.rows
        }
        for rows, daemon in daemons.items():
            found[rows] = {query: [] for query in QUERIES}
            _sample(daemon, {query: [] for query in QUERIES}, 10)
        for number in range(plan.rounds):
            in_turn = sorted(plan.rows, reverse=bool(number % 2))
            rates += [_sample(daemons[rows], found[rows], SAMPLES) for rows in in_turn]
    least = min(plan.rows)
    lines = [
        _line(query, rows, found[rows][query], found[least][query], least)
        for query in QUERIES
        for rows in plan.rows
    ]
    how = (
        f"Over the socket, one at a time, with pauses of up to {MOST_PAUSE_SECONDS * 1e3:g} ms, "
        f"while another process records {RECORDS_A_SECOND:,} executions a second in batches of "
        f"{BATCH} (it came to {statistics.median(rates):,.0f}). "
        f"{load.AGENTS} agents, {load.TOOLS} tools. A size is that before these come."
    )
    return Table("Queries", how, lines)


def _sample(daemon: BenchDaemon, took: Took, count: int) -> float:
    """Take so many samples of each query; returns how many records a second came meanwhile."""
    messages = {query: load.request(query) for query in QUERIES}
    pauses = random.Random(count)
    with (
        feeding(daemon.socket, RECORDS_A_SECOND) as came_to,
        Connection(daemon.socket) as connection,
    ):
        for _ in range(count):
            for query, message in messages.items():
                # Not in step with those who record.
                time.sleep(pauses.random() * MOST_PAUSE_SECONDS)
                took[query].append(connection.time(message))
    return came_to[0]


def _line(query: str, rows: int, took: list[float], at_least: list[float], least: int) -> Line:
    p50 = percentile(took, 0.5)
    ratio = p50 / percentile(at_least, 0.5)
    # Six answers in one are no query among the seven.
    is_one = query != "get_all"
    return Line(
        what=f"{query}, {size(rows)} rows",
        measured=spread(took),
        beside=spread(at_least) + f" at {size(least)}" if rows != least else "",
        ratio=f"{ratio:.2f}x" if rows != least else "",
        bar="p50 ≤ 1 ms, ≤ 1.5x" if is_one else "≤ 1.5x",
        met=ratio <= RATIO_BAR and (p50 <= P50_BAR or not is_one),
    )


def measure_wide(plan: Plan, databases: Databases) -> Table:
    """Every query with as many names as there may be."""
    database = databases.full(plan.large, agents=WIDE, tools=WIDE)
    lines = []
    with running(database=database) as daemon, Connection(daemon.socket) as connection:
        alone = _others(daemon)
        for query in QUERIES:
            message = load.request(query)
            others = [Company("ask", str(daemon.socket), m) for m in ("ping", "get_task_pipeline")]
            took = []
            end = time.perf_counter() + WIDE_SECONDS
            while time.perf_counter() < end:
                took.append(connection.time(message))
                time.sleep(0.01)
            ping, pipeline = (spread(other.leave()) for other in others)
            beside = f"others meanwhile: ping {ping}; get_task_pipeline {pipeline}"
            lines.append(line(query, spread(took), percentile(took, 0.99), WIDE_BAR, beside=beside))
    how = f"{size(plan.large)} rows. Others while nobody asks for more: {alone}."
    return Table(f"{WIDE:,} agents by {WIDE:,} tools", how, lines)


def _others(daemon: BenchDaemon) -> str:
    """What other callers wait for while there is nobody else."""
    found = []
    for method in ("ping", "get_task_pipeline"):
        company = Company("ask", str(daemon.socket), method)
        time.sleep(1.0)
        found.append(f"{method} {spread(company.leave())}")
    return "; ".join(found)
