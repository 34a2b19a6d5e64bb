"""How often a level is given to a tool that it does not deserve.

The true rate of a tool is taken to be that of all its executions in the trace. From these, samples
are drawn and folded by the projection that answers `get_system_learning`.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random

import msgspec

from buddyd.domain.confidence import level
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from buddyd.domain.tools import Tools
from tests.backtest.tables import Cell, Table
from tests.backtest.traces import Trace

LEAST_EXECUTIONS = 50
"""A tool with fewer has no true rate to speak of."""
SIZES = (5, 20, 100)
SURE = 0.8
SETTINGS = DomainSettings()


def table(traces: Sequence[Trace], rounds: int = 40) -> Table:
    """The share of wrong verdicts by the size of the sample."""
    tools = [own for trace in traces for own in by_tool(trace).values()]
    known = [own for own in tools if len(own) >= LEAST_EXECUTIONS]
    rows: list[list[Cell]] = []
    for size in SIZES:
        counts: Counter[str] = Counter()
        for number in range(rounds if known else 0):
            counts += _round(known, size, Random(number))
        rows += ([size, name, *_shares(counts, rule)] for rule, name in _NAMES.items())
    return Table(
        f"Confidence: verdicts on samples of {len(known)} tools",
        ["executions", "verdicts", "HIGH", "false HIGH", "LOW", "false LOW"],
        rows,
        "HIGH and LOW are how many such verdicts were given; a false one names a tool whose rate "
        "over the whole trace lies in another band.",
    )


_NAMES = {"plain": "all", "sure": f"level_probability ≥ {SURE}"}


def _shares(counts: Counter[str], rule: str) -> list[Cell]:
    cells: list[Cell] = []
    for verdict in ("HIGH", "LOW"):
        given = counts[f"{rule} {verdict}"]
        cells += [given, counts[f"{rule} false {verdict}"] / given if given else None]
    return cells


def by_tool(trace: Trace) -> dict[str, list[ExecutionRecorded]]:
    """The executions of each tool, in order."""
    found: dict[str, list[ExecutionRecorded]] = {}
    for entry in trace.entries:
        found.setdefault(entry.tool, []).append(entry)
    return found


def _round(tools: list[list[ExecutionRecorded]], size: int, random: Random) -> Counter[str]:
    """One sample of each tool, and what was said of it."""
    now = tools[0][0].recorded_at
    entries: list[ExecutionRecorded] = []
    truths: dict[str, str] = {}
    for number, own in enumerate(tools):
        name = str(number)
        truths[name] = level(sum(e.success for e in own), len(own), SETTINGS)
        for e in random.choices(own, k=size):
            changes = {"tool": name, "seq": len(entries) + 1}
            times = {"recorded_at": now, "finished_at": now}
            entries.append(msgspec.structs.replace(e, **changes, **times))
    projection = Tools(SETTINGS)
    projection.advance(now)
    for segment in segments(entries, 1000):
        projection.fold(segment)
    counts: Counter[str] = Counter()
    for profile in projection.answer(now).tool_profiles:
        verdict = profile.confidence_level
        rules = ["plain", "sure"] if profile.level_probability >= SURE else ["plain"]
        for rule in rules:
            counts[f"{rule} {verdict}"] += 1
            counts[f"{rule} false {verdict}"] += truths[profile.tool_name] != verdict
    return counts
