"""Executions over equal stretches of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli.plotting.buckets import STEPS_SECONDS, Buckets, step_for
from buddyd.cli.plotting.metrics import METRICS, Plot, round_above, view
from buddyd.cli.render.layout import Screen, lay_out
from buddyd.cli.render.view import Chart, Facts
from buddyd.domain.answers import HourlySummary
from buddyd.domain.windows import rfc3339
from tests.support import gallery


def hour(at: int, total: int, failed: int, mean: float) -> HourlySummary:
    return HourlySummary(
        hour=rfc3339(at),
        total_tasks=total,
        successful_tasks=total - failed,
        failed_tasks=failed,
        total_cost=0.5 * total,
        total_tokens=0,
        avg_task_duration=mean,
        avg_cost_per_task=0.5,
        tool_execution_counts={},
    )


def test_hours_add_up_with_their_weight() -> None:
    buckets = Buckets(0.0, 6 * 3600.0, 7200)
    buckets.add_hours([hour(0, 1, 1, 10.0), hour(3600, 3, 0, 2.0), hour(14_400, 2, 0, 1.0)])
    values = {
        name: [value for _, value in Plot(metric, "", buckets).points()]
        for name, metric in METRICS.items()
    }
    assert values["tasks"] == [4, 0, 2]
    assert values["costs"] == [2.0, 0.0, 1.0]
    assert values["latency"] == [pytest.approx(4.0), None, 1.0]
    assert values["success"] == [0.75, None, 1.0]


@given(
    start=st.floats(0, 2e9),
    span=st.floats(60, 30 * 86_400),
    most=st.integers(10, 200),
    least=st.sampled_from([60, 3600]),
)
def test_the_stretches_cover_the_span(start: float, span: float, most: int, least: int) -> None:
    step = step_for(span, most, least)
    buckets = Buckets(start, start + span, step)
    count = len(buckets.rows)
    assert buckets.begin(0) <= start
    assert buckets.begin(0) % step == 0
    assert buckets.begin(count) >= start + span
    assert step >= least
    assert count <= most + 1 or step == STEPS_SECONDS[-1]


def test_every_record_of_the_span_counts_once_and_no_other() -> None:
    buckets = Buckets(gallery.NOW - 3600, gallery.NOW, 600)
    records = gallery.records("scout", "web_search")
    buckets.add_executions(records)
    inside = [r for r in records if r.finished_at >= buckets.begin(0)]
    assert sum(row.executions for row in buckets.rows) == len(inside) < len(records)
    assert sum(row.failed for row in buckets.rows) == sum(not r.success for r in inside)


@given(st.floats(1e-9, 1e12))
def test_a_scale_ends_above_what_it_measures(value: float) -> None:
    assert value <= round_above(value) <= 2 * value


@pytest.mark.parametrize(
    ("span", "step", "mark"), [(86_400, 3600, "12:00"), (7 * 86_400, 10_800, "27 Feb")]
)
def test_the_marks_are_clocks_or_days(span: int, step: int, mark: str) -> None:
    buckets = Buckets(gallery.NOW - span, gallery.NOW, step)
    lines = lay_out(view(Plot(METRICS["tasks"], "", buckets)), Screen(80))
    assert any(mark in span_.text for line in lines for span_ in line)


def test_executions_are_told_exactly_and_without_an_exponent() -> None:
    buckets = Buckets(gallery.NOW - 5 * 3600, gallery.NOW, 3600)
    for row in buckets.rows:
        row.executions = 45_678
    chart, sums = view(Plot(METRICS["tasks"], "", buckets))
    assert isinstance(chart, Chart)
    assert chart.scale == ("50,000", "25,000")
    assert isinstance(sums, Facts)
    assert sums.cells["Executions"].text == f"{45_678 * len(buckets.rows):,}"
