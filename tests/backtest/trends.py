"""How soon a tool that gets worse is told, and how often one that does not.

A tool's executions are put into an order of chance, so that nothing changes in them but what is
injected: then no alarm is due, and each one is false. The drift turns a share of the successes
from some execution on into failures. The chart is the one that the projections of tools keep.
"""

from collections.abc import Iterator, Sequence
from random import Random
from statistics import median

from buddyd.domain.trend import Chart
from tests.backtest.confidence import by_tool
from tests.backtest.tables import Cell, Table, verdict
from tests.backtest.traces import Trace

LEAST_EXECUTIONS = 100
LEAST_RATE = 0.5
"""What fails more often than not has little to lose."""
FACTORS = (0.8, 0.5, 0.1)
CALM = 500
"""Executions before the drift, as many as the baseline takes to settle."""
LATEST = 2000
MOST_FALSE = 0.5
MOST_DELAY = 30


def table(traces: Sequence[Trace], rounds: int = 40) -> Table:
    """Delays by how far the success rate falls, and false alarms."""
    rows: list[list[Cell]] = []
    for trace in traces:
        sequences = [
            [e.success for e in own]
            for own in by_tool(trace).values()
            if len(own) >= LEAST_EXECUTIONS
        ]
        sequences = [own for own in sequences if sum(own) >= LEAST_RATE * len(own)]
        if not any(False in own for own in sequences):
            # Where nothing ever failed, nothing can be told of false alarms.
            rows.append([trace.name, len(sequences), *[None] * (len(FACTORS) + 4)])
            continue
        rows.append([trace.name, len(sequences), *_figures(sequences, rounds)])
    return Table(
        "Trend: executions until a fall of the success rate is told (median)",
        [
            "trace",
            "tools",
            *(f"to {f:.0%}" for f in FACTORS),
            "executions",
            "false",
            "per 10,000",
            "bar",
        ],
        rows,
        f"Bar: at most {MOST_FALSE} false alarms per 10,000 executions, and a fall by a fifth "
        f"told after at most {MOST_DELAY}.",
    )


def _figures(sequences: list[list[bool]], rounds: int) -> Iterator[Cell]:
    delays = [
        median(_delay(own, factor, Random(number)) for own in sequences for number in range(rounds))
        for factor in FACTORS
    ]
    calm = [false_alarms(own, Random(number)) for own in sequences for number in range(rounds)]
    executions = rounds * sum(map(len, sequences))
    rate = 10_000 * sum(calm) / executions
    yield from delays
    yield from (executions, sum(calm), rate)
    yield verdict(met=rate <= MOST_FALSE and delays[0] <= MOST_DELAY)


def false_alarms(successes: list[bool], random: Random) -> int:
    """The alarms in a sequence in which nothing changes."""
    chart, alarms = Chart(), 0
    for success in random.sample(successes, len(successes)):
        before = chart.alarm_at
        chart.add([success])
        alarms += chart.alarm_at != before
    return alarms


def _delay(successes: list[bool], factor: float, random: Random) -> int:
    """Executions from the fall on until the chart calls the tool degrading."""
    chart = Chart()
    chart.add(random.choices(successes, k=CALM))
    begin = chart.count
    while chart.count < begin + LATEST:
        before = chart.alarm_at
        chart.add([random.choice(successes) and random.random() < factor])
        if chart.alarm_at != before and chart.alarm == "degrading":
            break
    return chart.count - begin
