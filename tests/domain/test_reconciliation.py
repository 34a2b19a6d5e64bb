"""What cost trackers report beside what was recorded, in words."""

from typing import Any

import msgspec
import pytest

from buddyd.domain.answers import Reconciliation
from buddyd.domain.costs import Costs
from buddyd.domain.settings import DomainSettings
from buddyd.protocol.messages import ReportCosts
from tests.domain.test_stories import DAY, HOUR, NOW, Told

MISSION = ReportCosts(
    source="tracker",
    mission_id="m-1",
    total_actual_usd=1.25,
    total_estimated_usd=2.0,
    since=NOW - HOUR,
    until=NOW,
)
ALL = ReportCosts(source="tracker", total_actual_usd=100.0)


def told() -> Told:
    return Told(Costs)


def spends(host: Told, at: float, dollars: float, estimate: float = 0.0) -> None:
    host.records(at, {"cost_actual": dollars, "cost_estimate": estimate})


def sources(host: Told, at: float) -> list[Reconciliation]:
    found: list[Reconciliation] = host.projection.answer(at, 0).reconciliation
    return found


def source(host: Told, at: float) -> Reconciliation:
    (found,) = sources(host, at)
    return found


def compared(host: Told, at: float) -> Any:  # noqa: ANN401 - Comparison, which must be there
    found = source(host, at).compared
    assert found is not None
    return found


def test_a_mission_is_held_against_what_finished_while_it_ran() -> None:
    host = told()
    for at in (NOW - HOUR - 60, NOW - HOUR, NOW - 60, NOW, NOW + 60):
        spends(host, at, 0.4, 0.5)
    host.hears(NOW, MISSION)
    found = compared(host, NOW + 60)
    assert (found.missions, found.executions) == (1, 3)
    assert (found.reported_actual, found.recorded_actual) == (1.25, 1.2)
    assert found.difference_actual == 0.05
    assert (found.recorded_estimated, found.difference_estimated) == (1.5, 0.5)
    assert (found.since, found.until) == ("2026-06-02T11:00:00Z", "2026-06-02T12:00:00Z")


def test_missions_that_run_at_once_count_each_execution_once() -> None:
    host = told()
    spends(host, NOW - 60, 3.0)
    host.hears(NOW, MISSION, msgspec.structs.replace(MISSION, mission_id="m-2"))
    found = compared(host, NOW)
    assert (found.missions, found.executions, found.difference_actual) == (2, 1, -0.5)


def test_a_report_that_comes_again_changes_nothing() -> None:
    host = told()
    host.hears(NOW, MISSION)
    once = source(host, NOW)
    host.hears(NOW, MISSION, MISSION)
    assert source(host, NOW) == once


def test_a_total_without_a_beginning_is_compared_from_its_first_report_on() -> None:
    host = told()
    spends(host, NOW - 60, 50.0)
    host.hears(NOW, ALL)
    first = source(host, NOW)
    assert first.compared is None
    assert (first.not_compared.no_beginning, first.reported_actual) == (1, 100.0)
    spends(host, NOW + 600, 2.0)
    host.hears(NOW + 1200, msgspec.structs.replace(ALL, total_actual_usd=102.5))
    found = compared(host, NOW + 1200)
    assert (found.reported_actual, found.recorded_actual, found.executions) == (2.5, 2.0, 1)
    assert (found.reported_estimated, found.difference_estimated) == (None, None)


def test_a_mission_of_unknown_beginning_is_never_compared() -> None:
    # Between two reports of it nothing need have been spent: it may have ended long ago.
    host = told()
    for minutes in (0, 10):
        report = ReportCosts(source="tracker", mission_id="m-1", total_actual_usd=2.0)
        host.hears(NOW + minutes * 60, report)
    found = source(host, NOW + 600)
    assert (found.compared, found.not_compared.no_beginning) == (None, 1)


def test_a_tracker_that_begins_anew_is_not_held_to_what_it_said_before() -> None:
    host = told()
    host.hears(NOW, ALL)
    host.hears(NOW + 60, msgspec.structs.replace(ALL, total_actual_usd=1.0))
    assert source(host, NOW + 60).compared is None
    host.hears(NOW + 120, msgspec.structs.replace(ALL, total_actual_usd=1.5))
    assert compared(host, NOW + 120).reported_actual == 0.5


def test_what_is_older_than_the_window_is_not_compared_and_says_so() -> None:
    host = told()
    spends(host, NOW - 60, 1.25)
    host.hears(NOW, MISSION)
    assert compared(host, NOW + DAY - HOUR - 61).difference_actual == 0.0
    late = source(host, NOW + DAY)
    assert (late.compared, late.not_compared.too_old, late.missions) == (None, 1, 1)
    assert late.reported_actual == 1.25


def test_a_total_that_goes_on_for_days_is_compared_over_the_last_one() -> None:
    host = told()
    for hour in range(72):
        at = NOW + hour * HOUR
        spends(host, at - 60, 1.0)
        total = {"total_actual_usd": hour * 1.5, "since": NOW}
        host.hears(at, msgspec.structs.replace(ALL, **total))
    found = compared(host, NOW + 71 * HOUR)
    assert (found.executions, found.reported_actual, found.recorded_actual) == (23, 34.5, 23.0)
    row = host.projection.parts["sources"].rows.popitem()[1]
    assert len(row.points) <= 26


def test_a_thousand_totals_are_remembered() -> None:
    host = told()
    missions = [msgspec.structs.replace(MISSION, mission_id=f"m{n}") for n in range(1001)]
    host.hears(NOW, *missions)
    assert source(host, NOW).missions == 1000
    assert Costs(DomainSettings()).answer(NOW, 0).reconciliation == []


@pytest.mark.parametrize("first", [True, False])
def test_sources_stand_by_themselves(first: bool) -> None:
    host = told()
    other = msgspec.structs.replace(MISSION, source="another", total_actual_usd=7.0)
    host.hears(NOW, *([MISSION, other] if first else [other, MISSION]))
    assert [(s.source, s.reported_actual) for s in sources(host, NOW)] == [
        ("another", 7.0),
        ("tracker", 1.25),
    ]
