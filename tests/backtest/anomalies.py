"""Whether costs that stand out are found, and how much else is called so.

Into the real costs of a trace some are injected that are three to ten times what they were. The
projection that answers `get_risk_patterns` folds the trace; what it calls a spike and was not
injected counts as false, though the trace may well have spikes of its own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import msgspec
from msgspec import Struct

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


def table(traces: Sequence[Trace], rounds: int = 3) -> Table:
    """Precision, recall and false alarms on each trace with costs."""
    rows: list[list[Cell]] = []
    for trace in traces:
        early, late = _counts(trace, rounds)
        rows.append([trace.name, f"from {SPREAD_KNOWN} on", *late.figures()])
        rows.append([trace.name, f"before {SPREAD_KNOWN}", *early.figures()])
    return Table(
        f"Cost spikes: {SHARE:.0%} of the costs times {FACTORS[0]:g} to {FACTORS[1]:g}",
        [
            "trace", "executions", "costs", "injected", "found", "false", "precision", "recall",
            "false per 1,000", "bar",
        ],
        rows,
        f"Bar: at most {MOST_FALSE:g} false alarms per 1,000 executions with a cost, at a "
        f"precision of at least {LEAST_PRECISION}. The first {SPREAD_KNOWN} executions of a tool "
        "by an agent are judged by the factor above what those few let call usual.",
    )  # fmt: skip


def _counts(trace: Trace, rounds: int) -> tuple[Counts, Counts]:
    """The counts before and after the spread of a tool's costs is known."""
    earlier: Counter[tuple[str, str]] = Counter()
    kinds: dict[str, Counts] = {}
    both = (Counts(), Counts())
    for e in trace.entries:
        if e.cost:
            kinds[e.execution_id] = both[earlier[e.agent, e.tool] >= SPREAD_KNOWN]
            earlier[e.agent, e.tool] += 1
    for number in range(rounds):
        entries, spikes = _injected(trace.entries, Random(number))
        alarms = _spikes(entries)
        for execution_id, counts in kinds.items():
            is_spike, is_told = execution_id in spikes, execution_id in alarms
            counts.costs += 1
            counts.injected += is_spike
            counts.found += is_spike and is_told
            counts.false += is_told and not is_spike
    return both


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


def _spikes(entries: list[ExecutionRecorded]) -> set[str]:
    """The executions that were called spikes."""
    risks = Risks(DomainSettings())
    found: set[str] = set()
    for segment in segments(entries, 200):
        risks.advance(segment.entries[-1].recorded_at)
        risks.fold(segment)
        anomalies = risks.anomalies_after(segment.first_seq - 1)
        found |= {each.execution_id for each in anomalies if each.kind == "spike"}
    return found
