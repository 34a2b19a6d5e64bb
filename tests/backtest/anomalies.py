"""Whether costs that stand out are found, and how much else is called so.

Into the real costs of a trace some are injected that are three to ten times what they were. The
projection that answers `get_risk_patterns` folds the trace; an unusual spike that was not injected
counts as false, though the trace may well have spikes of its own. How the factor alone does on the
first executions stands beside it: those spikes are listed, but nobody is alarmed by them.
"""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from random import Random

import msgspec
from msgspec import Struct, field

from buddyd.domain.anomalies import SPREAD_KNOWN
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.risk import Risks
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from tests.backtest.tables import Cell, Table, verdict
from tests.backtest.traces import Trace

SHARE = 0.01
FACTORS = (3.0, 10.0)
MOST_FALSE = 3.0
LEAST_PRECISION = 0.6


class Counts(Struct):
    """What was injected, what of it was found, and what else was called a spike."""

    costs: int = 0
    injected: int = 0
    found: int = 0
    false: int = 0

    def figures(self) -> Iterator[Cell]:
        """These, and what follows from them."""
        alarms = self.found + self.false
        precision = self.found / alarms if alarms else None
        rate = 1000 * self.false / self.costs if self.costs else None
        yield from (self.costs, self.injected, self.found, self.false, precision)
        yield self.found / self.injected if self.injected else None
        yield rate
        if precision is None or rate is None:
            yield None
        else:
            yield verdict(met=rate <= MOST_FALSE and precision >= LEAST_PRECISION)


class Kinds(Struct, frozen=True):
    """The executions by how much is known of the costs before them."""

    settled: Counts = field(default_factory=Counts)
    early: Counts = field(default_factory=Counts)
    by_factor: Counts = field(default_factory=Counts)
    """The early ones again, with all spikes that are listed."""


def table(traces: Sequence[Trace], rounds: int = 3) -> Table:
    """Precision, recall and false alarms on each trace with costs."""
    rows: list[list[Cell]] = []
    for trace in traces:
        kinds = _counts(trace, rounds)
        rows.append([trace.name, f"from {SPREAD_KNOWN} on", *kinds.settled.figures()])
        rows.append([trace.name, f"before {SPREAD_KNOWN}", *kinds.early.figures()])
        *factor, _ = kinds.by_factor.figures()
        rows.append([trace.name, "the same, by the factor alone", *factor, None])
    return Table(
        f"Cost spikes: {SHARE:.0%} of the costs times {FACTORS[0]:g} to {FACTORS[1]:g}",
        [
            "trace", "executions", "costs", "injected", "found", "false", "precision", "recall",
            "false per 1,000", "bar",
        ],
        rows,
        f"Bar: at most {MOST_FALSE:g} false alarms per 1,000 executions with a cost, at a "
        f"precision of at least {LEAST_PRECISION}. Before the {SPREAD_KNOWN}th execution of a tool "
        "by an agent its spread is not known; what is above the factor is listed, and what is "
        "above it even from the upper end of the few costs so far is an alarm.",
    )  # fmt: skip


def _counts(trace: Trace, rounds: int) -> Kinds:
    """The counts before and after the spread of a tool's costs is known."""
    earlier: Counter[tuple[str, str]] = Counter()
    is_settled: dict[str, bool] = {}
    for e in trace.entries:
        if e.cost:
            is_settled[e.execution_id] = earlier[e.agent, e.tool] >= SPREAD_KNOWN
            earlier[e.agent, e.tool] += 1
    kinds = Kinds()
    for number in range(rounds):
        entries, injected = _injected(trace.entries, Random(number))
        spikes = _spikes(entries)
        alarms = {execution_id for execution_id, unusual in spikes.items() if unusual}
        for each, settled in is_settled.items():
            _count(kinds.settled if settled else kinds.early, each, injected, alarms)
            if not settled:
                _count(kinds.by_factor, each, injected, spikes)
    return kinds


def _count(counts: Counts, each: str, injected: Container[str], told: Container[str]) -> None:
    counts.costs += 1
    counts.injected += each in injected
    counts.found += each in injected and each in told
    counts.false += each in told and each not in injected


def _injected(
    entries: list[ExecutionRecorded], random: Random
) -> tuple[list[ExecutionRecorded], set[str]]:
    changed: list[ExecutionRecorded] = []
    spikes: set[str] = set()
    for e in entries:
        if e.cost and random.random() < SHARE:
            cost = round(e.cost * random.uniform(*FACTORS))
            changed.append(msgspec.structs.replace(e, cost=cost))
            spikes.add(e.execution_id)
        else:
            changed.append(e)
    return changed, spikes


def _spikes(entries: list[ExecutionRecorded]) -> dict[str, bool]:
    """The executions that were called spikes, and whether they are unusual."""
    risks = Risks(DomainSettings())
    found: dict[str, bool] = {}
    for segment in segments(entries, 200):
        risks.advance(segment.entries[-1].recorded_at)
        risks.fold(segment)
        anomalies = risks.anomalies_after(segment.first_seq - 1)
        found |= {each.execution_id: each.unusual for each in anomalies if each.kind == "spike"}
    return found
