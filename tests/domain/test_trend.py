"""The chart tells a tool that gets worse from one that is only unlucky."""

from random import Random
from statistics import median

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.answers import Trend
from buddyd.domain.trend import Chart
from tests.oracle import trend
from tests.support.workloads import examples

# Stretches of executions that fail at some rate, as a tool's life has them.
LIVES = st.lists(
    st.tuples(st.sampled_from((0.0, 0.02, 0.2, 0.6, 1.0)), st.integers(1, 150)), max_size=5
)


def drawn(rate: float, length: int, random: Random) -> list[bool]:
    return [random.random() < rate for _ in range(length)]


@examples(60)
@given(life=LIVES, seed=st.integers(0, 2**32))
def test_the_chart_is_that_of_the_formula_at_every_step(
    life: list[tuple[float, int]], seed: int
) -> None:
    random, chart, seen = Random(seed), Chart(), []
    failures = [failed for stretch in life for failed in drawn(*stretch, random)]
    for number, failed in enumerate(failures):
        chart.add([not failed])
        seen.append(failed)
        if number % 37 == 0:
            chart = msgspec.msgpack.decode(msgspec.msgpack.encode(chart), type=Chart)
            assert chart.trend == trend(seen)
    assert chart.trend == trend(seen)


def add(chart: Chart, *, failed: bool) -> Trend:
    chart.add([not failed])
    return chart.trend


def test_nothing_is_said_of_the_first_thirty() -> None:
    chart = Chart()
    for _ in range(30):
        chart.add([False])
    assert chart.trend == "stable"


def test_a_tool_that_breaks_is_degrading_for_a_hundred_executions() -> None:
    chart = Chart()
    for _ in range(200):
        chart.add([True])
    while add(chart, failed=True) == "stable":
        pass
    assert chart.count < 210
    shown = [chart.trend, *(add(chart, failed=chart.count % 20 == 0) for _ in range(100))]
    assert shown == ["degrading"] * 100 + ["stable"]


def test_a_tool_that_is_mended_is_improving() -> None:
    chart = Chart()
    shown = {add(chart, failed=number % 2 == 0) for number in range(500)}
    assert shown == {"stable"}
    assert [add(chart, failed=False) for _ in range(60)][-1] == "improving"


def test_a_fall_to_half_is_found_within_a_few_executions() -> None:
    delays = []
    for seed in range(60):
        random, chart = Random(seed), Chart()
        for failed in drawn(0.02, 500, random):
            chart.add([not failed])
        begin = chart.count
        while chart.alarm_at <= begin:
            chart.add([random.random() >= 0.51])
        delays.append(chart.count - begin)
    assert median(delays) <= 13


def test_false_alarms_are_rare() -> None:
    random, alarms = Random(7), 0
    for _ in range(20):
        chart = Chart()
        for failed in drawn(0.05, 3000, random):
            before = chart.alarm_at
            chart.add([not failed])
            alarms += chart.alarm_at != before
    assert alarms <= 12
