"""Facts of single answers that a reader should find in words, not only in the oracle."""

from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.config import Settings
from buddyd.domain.agents import Agents
from buddyd.domain.answers import AgentStatus, FailurePattern, Forecast, Recommendation
from buddyd.domain.capacity import Capacity
from buddyd.domain.costs import Costs
from buddyd.domain.execution import Execution
from buddyd.domain.journal import microseconds
from buddyd.domain.pipeline import Pipeline
from buddyd.domain.projection import Projection
from buddyd.domain.risk import Risks
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from buddyd.in_force import domain_settings
from buddyd.protocol.messages import RecordExecutions, ReportAgent, StartExecution
from tests.oracle import Oracle, Submission

HOUR, DAY = 3600.0, 86_400.0
NOW = datetime.fromisoformat("2026-06-02T12:00:00Z").timestamp()


class Told:
    """A projection that is told what was sent."""

    def __init__(self, make: Callable[[DomainSettings], Projection], zone: str = "UTC") -> None:
        settings = Settings(timezone=zone)
        self._journal = Oracle(settings)
        self._make, self._settings = make, domain_settings(settings)
        self.projection: Any = make(self._settings)

    def hears(self, at: float, *requests: Submission) -> None:
        before = len(self._journal.entries)
        for request in requests:
            self._journal.send(at, request)
        for segment in segments(self._journal.entries[before:], 500):
            self.projection.fold(segment)

    def records(self, at: float, *executions: dict[str, Any]) -> None:
        self.hears(at, RecordExecutions(executions=[execution(**each) for each in executions]))

    def moves_to(self, zone: str) -> None:
        """It is put away, and taken up again with another time zone."""
        again = self._make(
            msgspec.structs.replace(
                self._settings, zone=domain_settings(Settings(timezone=zone)).zone
            )
        )
        again.restore(self.projection.changes())
        self.projection = again


def execution(**given: Any) -> Execution:  # noqa: ANN401 - fields by name
    fields: dict[str, Any] = {
        "task_id": "task",
        "agent_id": "scout",
        "tool_name": "search",
        "duration_seconds": 60.0,
        "success": True,
    }
    return Execution(**(fields | given))


FAILED = {"success": False, "error_type": "timeout"}
REPORT = ReportAgent(agent_id="scout")
START = StartExecution(task_id="task", agent_id="scout", tool_name="search")


# Agents


def agent(told: Told, now: float) -> AgentStatus:
    (found,) = told.projection.answer(now).agents
    assert isinstance(found, AgentStatus)
    return found


def test_an_agent_that_reported_is_offline_from_two_minutes_of_silence_on() -> None:
    told = Told(Agents)
    told.hears(NOW, REPORT)
    assert agent(told, NOW + 119.999).status == "IDLE"
    assert agent(told, NOW + 120).status == "OFFLINE"
    told.records(NOW + 130, {})
    assert agent(told, NOW + 249).status == "IDLE"


def test_an_agent_that_never_reported_is_never_offline() -> None:
    told = Told(Agents)
    told.records(NOW, {})
    assert agent(told, NOW + 20 * HOUR).status == "IDLE"


def test_what_the_last_report_says_of_the_status_goes_before_what_is_seen() -> None:
    told = Told(Agents)
    told.hears(NOW, START, ReportAgent(agent_id="scout", status="IDLE", queue_depth=3))
    assert agent(told, NOW).status == "IDLE"
    told.hears(NOW, REPORT)
    assert agent(told, NOW).status == "BUSY"
    assert agent(told, NOW).queue_depth == 3


def test_three_failures_in_a_row_are_an_error() -> None:
    told = Told(Agents)
    told.records(NOW, FAILED, FAILED)
    assert agent(told, NOW).status == "IDLE"
    # In the order of recording, though the others ended after it.
    told.records(NOW, FAILED | {"finished_at": NOW - 23 * HOUR})
    assert agent(told, NOW).status == "ERROR"
    told.records(NOW, {})
    assert agent(told, NOW).status == "IDLE"


def test_what_comes_more_than_a_day_late_neither_makes_an_error_nor_ends_one() -> None:
    told = Told(Agents)
    told.records(NOW, {}, *[FAILED | {"finished_at": NOW - 3 * DAY}] * 12)
    assert agent(told, NOW).status == "IDLE"
    told.records(NOW, FAILED, FAILED, FAILED, {"finished_at": NOW - 3 * DAY})
    assert agent(told, NOW).status == "ERROR"


def test_a_started_task_is_open_until_it_is_recorded_or_an_hour_has_passed() -> None:
    told = Told(Agents)
    told.hears(NOW, START, StartExecution(task_id="2", agent_id="scout", tool_name="x"))
    assert agent(told, NOW).current_task_id == "2"
    told.records(NOW + 5, {"task_id": "2"})
    assert agent(told, NOW + 5).current_task_id == "task"
    assert agent(told, NOW + 3599.9).status == "BUSY"
    assert agent(told, NOW + 3600).status == "IDLE"
    assert agent(told, NOW + 3600).current_task_id is None


def test_an_agent_that_only_started_something_is_listed_while_it_runs() -> None:
    told = Told(Agents)
    told.hears(NOW, START)
    assert agent(told, NOW + 3599).last_activity == "2026-06-02T12:00:00Z"
    assert told.projection.answer(NOW + 3600).agents == []


def test_a_day_without_anything_takes_an_agent_off_the_list() -> None:
    told = Told(Agents)
    told.records(NOW, {})
    told.hears(NOW, ReportAgent(agent_id="other"))
    assert told.projection.answer(NOW + 1439 * 60).total_agents == 2
    assert told.projection.answer(NOW + 1440 * 60).total_agents == 0


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_the_longest_and_the_shortest_day_count_whole(day: str, hours: int) -> None:
    begin = (
        datetime.fromisoformat(f"{day}T00:00:00")
        .replace(tzinfo=ZoneInfo("Europe/Berlin"))
        .timestamp()
    )
    told = Told(Agents, "Europe/Berlin")
    for hour in range(-1, hours):
        told.records(begin + hour * HOUR, {})
    assert agent(told, begin + hours * HOUR - 1).tasks_completed_today == hours
    assert agent(told, begin + hours * HOUR).tasks_completed_today == 0


def test_a_clock_that_is_put_back_past_midnight_finds_yesterday() -> None:
    told = Told(Agents)
    midnight = NOW + 12 * HOUR
    told.records(NOW - 11 * HOUR, {})
    told.records(midnight - 60, {})
    assert agent(told, midnight + 600).tasks_completed_today == 0
    assert agent(told, midnight - 600).tasks_completed_today == 2


def test_in_a_zone_further_west_it_is_still_yesterday() -> None:
    told = Told(Agents, "Pacific/Kiritimati")
    for hour in range(24):
        told.records(NOW - hour * HOUR, {})
    assert agent(told, NOW).tasks_completed_today == 3
    told.moves_to("America/New_York")
    assert agent(told, NOW).tasks_completed_today == 9


# The pipeline and the costs


def test_a_record_is_in_the_answers_of_a_day_for_1440_minutes() -> None:
    told = Told(Pipeline)
    told.records(NOW, {"finished_at": NOW - 1439 * 60}, {"finished_at": NOW - 1439 * 60 - 0.001})
    assert told.projection.answer(NOW + 59.9).last_24_hours.total_tasks == 1
    assert told.projection.answer(NOW + 60).last_24_hours.total_tasks == 0


def test_a_record_that_is_ahead_counts_at_once() -> None:
    told = Told(Pipeline)
    told.records(NOW - 10, {"finished_at": NOW + 290})
    answer = told.projection.answer(NOW - 10)
    assert answer.last_24_hours.total_tasks == 1
    # Its hour has not come yet.
    assert [hour.total_tasks for hour in answer.hourly] == [0] * 24
    assert told.projection.answer(NOW).hourly[-1].total_tasks == 1


def test_ten_million_cents_are_a_hundred_thousand_dollars() -> None:
    told = Told(Costs)
    told.records(NOW, *[{"cost_actual": 0.01}] * 10_000)
    assert told.projection.answer(NOW, 0).costing.execution_costs_24h == 100.0
    told.records(NOW, {"cost_actual": 1e6, "finished_at": NOW - 23 * HOUR})
    assert told.projection.answer(NOW, 0).costing.execution_costs_24h == 1_000_100.0
    assert told.projection.answer(NOW + 2 * HOUR, 0).costing.execution_costs_24h == 100.0


# Risks


def pattern(told: Told, now: float) -> FailurePattern:
    found = told.projection.answer(now).failure_patterns["search"]
    assert isinstance(found, FailurePattern)
    return found


def test_a_tool_is_failing_too_often_only_below_four_fifths() -> None:
    told = Told(Risks)
    told.records(NOW, FAILED, {}, {}, {}, {})
    assert pattern(told, NOW).patterns == []
    told.records(NOW, FAILED)
    assert pattern(told, NOW).patterns == ["high_failure_rate"]


def test_a_streak_and_what_dominates_it() -> None:
    told = Told(Risks)
    told.records(NOW, FAILED, {"success": False}, FAILED)
    assert pattern(told, NOW).consecutive_failures == 3
    assert pattern(told, NOW).patterns == ["streak", "dominant_error"]
    assert pattern(told, NOW).error_types == {"timeout": 2, "unknown": 1}


def test_unknown_errors_dominate_nothing() -> None:
    told = Told(Risks)
    told.records(NOW, *[{"success": False}] * 4)
    assert "dominant_error" not in pattern(told, NOW).patterns


def recommendation(told: Told, now: float = NOW) -> Recommendation:
    (found,) = told.projection.recommend(now).recommendations
    assert isinstance(found, Recommendation)
    return found


def test_a_fallback_counts_once_for_each_task() -> None:
    told = Told(Risks)
    for task in ("1", "2", "3"):
        told.records(NOW, FAILED | {"task_id": task})
        told.records(NOW, *[{"task_id": task, "tool_name": "browser"}] * 3)
    told.records(NOW, FAILED | {"task_id": "4"})
    told.records(NOW, {"task_id": "4", "tool_name": "browser", "success": False})
    found = recommendation(told)
    assert (found.fallback_tool, found.fallback_success_rate) == ("browser", 0.75)


def test_success_before_the_failure_makes_no_fallback() -> None:
    told = Told(Risks)
    told.records(NOW, {"tool_name": "browser"}, FAILED, FAILED, FAILED)
    assert recommendation(told).fallback_tool is None


def test_the_newest_hundred_anomalies_are_told_and_all_are_counted() -> None:
    told = Told(Risks)
    for number in range(130):
        usual = [{"cost_actual": 1.0, "agent_id": f"a{number}"}] * 5
        told.records(NOW + number, *usual, usual[0] | {"cost_actual": 3.0})
    answer = told.projection.answer(NOW + 130)
    assert answer.total_cost_anomalies == 130
    assert [a.agent_id for a in answer.cost_anomalies] == [f"a{n}" for n in range(129, 29, -1)]


# Capacity


def forecast(told: Told, now: float) -> Forecast:
    (found,) = told.projection.answer(now).forecasts
    assert isinstance(found, Forecast)
    return found


def test_long_tasks_do_not_make_a_busy_agent() -> None:
    told = Told(Capacity)
    for day in range(5):
        told.records(NOW + day * DAY, {"duration_seconds": 300.0})
    assert forecast(told, NOW + 5 * DAY - 5 * HOUR).estimated_available_capacity == 100
    # The hour in which it works each day is known.
    assert forecast(told, NOW + 5 * DAY - HOUR).estimated_available_capacity == 92


def test_an_agent_that_works_all_the_time_has_nothing_left() -> None:
    told = Told(Capacity)
    for hour in range(50):
        told.records(NOW + hour * HOUR, {"duration_seconds": HOUR})
    assert forecast(told, NOW + 49 * HOUR).estimated_available_capacity == 0
    # Unless it can run two at once.
    told.hears(NOW + 49 * HOUR, ReportAgent(agent_id="scout", concurrency=2))
    assert forecast(told, NOW + 49 * HOUR).estimated_available_capacity == 50


def test_an_offline_agent_has_no_capacity() -> None:
    told = Told(Capacity)
    told.hears(NOW, REPORT)
    assert forecast(told, NOW).estimated_available_capacity == 100
    offline = forecast(told, NOW + 120)
    assert (offline.capacity_low, offline.estimated_available_capacity) == (0, 0)
    assert offline.capacity_high == 0


def test_before_anything_could_be_compared_the_interval_is_everything() -> None:
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 360.0})
    found = forecast(told, NOW + 1)
    assert (found.capacity_low, found.capacity_high) == (0, 100)
    # Of an agent of which no more is known, work is over within the hour.
    assert found.estimated_available_capacity == 100
    assert found.forecast_error is None


def test_what_was_done_in_the_open_window_is_no_longer_free() -> None:
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 360.0})
    later = NOW + 1800
    told.records(later, {"duration_seconds": 1200.0, "finished_at": later})
    found = forecast(told, later)
    assert (found.capacity_low, found.capacity_high) == (0, 67)
    assert found.estimated_available_capacity == 67


def test_what_waits_and_runs_is_done_at_the_usual_speed() -> None:
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 60.0})
    assert forecast(told, NOW).predicted_completion_time is None
    told.hears(NOW, START, ReportAgent(agent_id="scout", queue_depth=9, concurrency=2))
    found = forecast(told, NOW + 30)
    assert found.current_queue_depth == 9
    # 30 s are left of one, nine wait, and two run at once: (30 + 9 · 60) / 2 s.
    assert found.predicted_completion_time == "2026-06-02T12:05:15Z"


def test_an_execution_that_took_no_time_leaves_no_forecast_before_or_after_a_restart() -> None:
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 0.0, "finished_at": NOW - 3 * HOUR})
    before = forecast(told, NOW)
    told.moves_to("UTC")
    assert forecast(told, NOW) == before
    assert before.forecast_error is None


def test_a_tool_holds_an_agent_up_by_what_it_did_in_this_hour_and_the_23_before_it() -> None:
    told = Told(Capacity)
    before = {"finished_at": NOW - 23 * HOUR - 0.001, "tool_name": "before"}
    told.records(NOW, before, {"finished_at": NOW - 23 * HOUR})
    assert forecast(told, NOW + HOUR - 1).bottleneck_tools == ["search"]
    told.hears(NOW + HOUR, REPORT)
    assert forecast(told, NOW + HOUR).bottleneck_tools == []


def test_tools_that_hold_an_agent_up_equally_go_by_name() -> None:
    """In floats, a share of 12/30 times one and a half is more than 18/30."""
    told = Told(Capacity)
    half = [{"tool_name": "z", "duration_seconds": 2.0, "success": n % 2 == 0} for n in range(6)]
    whole = [{"tool_name": "a", "duration_seconds": 9.0} for _ in range(2)]
    told.records(NOW, *half, *whole)
    assert forecast(told, NOW).bottleneck_tools == ["a", "z"]


def test_a_tool_that_grows_holds_an_agent_up_sooner() -> None:
    """A fifth of the day's busy time is no bottleneck; where it all fell into this hour, it is."""
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 80.0, "finished_at": NOW - 5 * HOUR})
    told.records(NOW, {"tool_name": "new", "duration_seconds": 20.0})
    assert forecast(told, NOW).bottleneck_tools == ["search", "new"]
    assert forecast(told, NOW + 2 * HOUR - 1).bottleneck_tools == ["search", "new"]
    told.hears(NOW + 2 * HOUR, REPORT)
    assert forecast(told, NOW + 2 * HOUR).bottleneck_tools == ["search"]


def test_a_tool_grows_by_what_came_since_the_last_answer() -> None:
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 80.0, "finished_at": NOW - 5 * HOUR})
    told.records(NOW, {"tool_name": "other", "duration_seconds": 1.0})
    assert forecast(told, NOW).bottleneck_tools == ["search"]
    told.records(NOW, {"tool_name": "new", "duration_seconds": 20.0})
    assert forecast(told, NOW).bottleneck_tools == ["search", "new"]


def test_what_is_ahead_of_a_clock_that_was_put_back_counts_as_growth_as_well() -> None:
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 80.0, "finished_at": NOW - 5 * HOUR})
    told.records(NOW, {"tool_name": "new", "duration_seconds": 20.0})
    assert forecast(told, NOW - 1).bottleneck_tools == ["search", "new"]


def test_how_far_a_queue_is_known() -> None:
    told = Told(Capacity)
    told.records(NOW, {})
    assert forecast(told, NOW).queue_source == "estimated"
    told.hears(NOW, START)
    assert forecast(told, NOW).queue_source == "started"
    told.hears(NOW, REPORT)
    assert forecast(told, NOW).queue_source == "reported"


def test_three_tenths_of_the_busy_time_are_enough() -> None:
    """In floats, a share of 11/60 times 18/11 is less."""
    told = Told(Capacity)
    at_limit = [{"tool_name": "a", "duration_seconds": 1.0, "success": n < 4} for n in range(11)]
    told.records(NOW, *at_limit, {"tool_name": "b", "duration_seconds": 49.0})
    assert forecast(told, NOW).bottleneck_tools == ["b", "a"]


def test_a_queue_that_will_never_end_spoils_no_answer() -> None:
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 300.0})
    told.hears(NOW, ReportAgent(agent_id="scout", queue_depth=10**9))
    assert forecast(told, NOW).predicted_completion_time == "9999-12-31T23:59:59Z"


def test_one_long_execution_is_one_in_the_system() -> None:
    told = Told(Capacity)
    told.records(NOW, {"duration_seconds": 7200.0})
    assert forecast(told, NOW).current_queue_depth == 0


@pytest.mark.parametrize("asked", [False, True])
def test_a_tool_that_was_away_for_a_month_starts_anew_whether_anybody_asked_or_not(
    asked: bool,
) -> None:
    told = Told(Risks)
    told.records(NOW, {"success": False}, {"success": False})
    later = NOW + 31 * DAY
    if asked:
        told.projection.answer(later)
    told.records(later, {"success": False, "finished_at": later})
    assert pattern(told, later).consecutive_failures == 1


def test_a_streak_is_of_what_was_recorded_within_a_day() -> None:
    told = Told(Risks)
    late = {"finished_at": NOW - 3 * DAY}
    told.records(NOW, {}, {"success": False}, *[late | {"success": False}] * 12)
    found = pattern(told, NOW)
    assert (found.total, found.failed, found.consecutive_failures) == (2, 1, 1)
    assert "streak" not in found.patterns
    told.records(NOW, {"success": False}, late, {"success": False})
    assert pattern(told, NOW).consecutive_failures == 3


def test_what_is_folded_late_finds_the_tool_as_it_was() -> None:
    told = Told(Risks)
    failed = {"success": False, "finished_at": NOW - 29.9 * DAY}
    told.records(NOW - 29.9 * DAY, failed, failed)
    told.moves_to("UTC")
    # By now the tool has left the window; when it failed again, half an hour on, it had not.
    told.projection.advance(NOW + 5 * HOUR)
    told.records(NOW + 0.5 * HOUR, {"success": False, "finished_at": NOW + 0.5 * HOUR})
    assert pattern(told, NOW + 5 * HOUR).consecutive_failures == 3


def test_a_price_that_never_varied_can_become_another_one() -> None:
    told = Told(Risks)
    told.records(NOW, *[{"cost_actual": 0.01}] * 5000)
    told.records(NOW, *[{"cost_actual": 0.03}] * 1000)
    assert told.projection.answer(NOW).total_cost_anomalies < 50


def test_more_tokens_than_an_integer_holds_are_told_as_the_largest_one() -> None:
    told = Told(Costs)
    told.records(NOW, *[{"tokens_used": 10**12}] * 3)
    for total in told.projection._by_tool.totals.values():
        total[3] = 10**20
    usage = told.projection.answer(NOW, 0).api_usage
    assert usage.total_tokens_24h == 2**63 - 1
    msgspec.msgpack.encode(usage)


def test_what_one_agent_or_one_task_can_make_the_daemon_remember_is_bounded() -> None:
    told, risks = Told(Capacity), Told(Risks)
    records = [{"tool_name": f"tool-{n}", "success": n > 0} for n in range(200)]
    for projection in told, risks:
        projection.records(NOW, *records)
    assert len(told.projection._workday.day.totals) == 51
    assert len(risks.projection._fallbacks.month.totals) == 32
    pattern_of_many = Told(Risks)
    pattern_of_many.records(NOW, *[FAILED | {"error_type": f"kind-{n}"} for n in range(200)])
    assert len(pattern(pattern_of_many, NOW).error_types) == 51
    assert pattern(pattern_of_many, NOW).error_types["~other"] == 150


@given(seconds=st.floats(1.7e9, 1.9e9))
def test_a_time_counts_to_the_nearest_microsecond(seconds: float) -> None:
    assert microseconds(seconds) == round(Fraction(seconds) * 10**6)
