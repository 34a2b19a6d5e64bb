"""What is found: when it begins and ends, how bad it is, and that nothing else changes it."""

import random
import statistics
from typing import Any

import msgspec
import pytest

from buddyd.config import Settings
from buddyd.domain.answers import RiskFinding
from buddyd.domain.risk import Risks
from buddyd.protocol.messages import RecordExecutions, ReportAgent
from tests.domain.test_projections import KINDS, Life
from tests.domain.test_stories import DAY, FAILED, HOUR, NOW, START, Told, execution
from tests.oracle import Oracle, rfc3339

MINUTE = 60.0


@pytest.fixture
def told() -> Told:
    return Told(Risks)


def lasting(told: Told, now: float, kind: str) -> list[RiskFinding]:
    return [each for each in told.projection.answer(now).findings if each.kind == kind]


def history(told: Told, now: float, kind: str) -> list[RiskFinding]:
    return list(told.projection.history(now, 1000, lambda case: case.kind == kind).findings)


def one(found: list[RiskFinding]) -> RiskFinding:
    (finding,) = found
    return finding


def test_a_streak_began_with_its_first_failure_and_ends_with_a_success(told: Told) -> None:
    told.records(NOW, FAILED | {"execution_id": "1"})
    told.records(NOW + 60, FAILED | {"execution_id": "2"})
    assert lasting(told, NOW + 60, "streak") == []
    told.records(NOW + 120, FAILED | {"execution_id": "3"})
    found = one(lasting(told, NOW + 120, "streak"))
    assert (found.began, found.ended, found.severity) == (rfc3339(NOW), None, "warning")
    assert found.evidence.execution_ids == ["1", "2", "3"]
    told.records(NOW + 180, {})
    assert lasting(told, NOW + 180, "streak") == []
    ended = one(history(told, NOW + DAY, "streak"))
    assert (ended.finding_id, ended.ended) == (found.finding_id, rfc3339(NOW + 180))


def test_ten_failures_in_a_row_are_an_alarm_even_after_they_ended(told: Told) -> None:
    told.records(NOW, *[FAILED] * 10, {})
    found = one(history(told, NOW, "streak"))
    assert (found.severity, found.evidence.executions) == ("alarm", 10)
    assert len(found.evidence.execution_ids) == 10


def test_what_nothing_confirms_for_a_day_is_over_whoever_asked(told: Told) -> None:
    told.records(NOW, *[FAILED] * 3)
    assert one(lasting(told, NOW + DAY - 1, "streak"))
    assert lasting(told, NOW + DAY, "streak") == []
    assert one(history(told, NOW + 20 * DAY, "streak")).ended == rfc3339(NOW + DAY)
    # The tool is at it again: this is another finding.
    told.records(NOW + 3 * DAY, FAILED)
    newer, older = history(told, NOW + 3 * DAY, "streak")
    assert (newer.began, newer.evidence.executions) == (rfc3339(NOW + 3 * DAY), 4)
    assert older.ended == rfc3339(NOW + DAY)


def test_too_many_failures_are_found_at_once_and_are_over_when_the_hour_turns(told: Told) -> None:
    told.records(NOW + 30, *[{}] * 3, *[FAILED] * 2)
    found = one(lasting(told, NOW + 30, "high_failure_rate"))
    assert (found.began, found.evidence.rate) == (rfc3339(NOW + 30), 0.4)
    assert one(lasting(told, NOW + 24 * HOUR - 1, "high_failure_rate"))
    assert lasting(told, NOW + 24 * HOUR, "high_failure_rate") == []
    assert one(history(told, NOW + 2 * DAY, "high_failure_rate")).ended == rfc3339(NOW + DAY)


def test_a_rate_that_hovers_about_the_limit_is_one_finding(told: Told) -> None:
    chance = random.Random(1)
    for minute in range(1440):
        told.records(NOW + MINUTE * minute, FAILED if chance.random() < 0.2 else {})
    assert len(history(told, NOW + DAY, "high_failure_rate")) <= 2


def test_it_ends_when_a_quarter_less_fail(told: Told) -> None:
    told.records(NOW, *[FAILED] * 15, *[{}] * 84)
    assert one(lasting(told, NOW, "high_failure_rate")).evidence.executions == 99
    told.records(NOW + 1, {})
    assert lasting(told, NOW + 1, "high_failure_rate") == []
    assert one(history(told, NOW + 1, "high_failure_rate")).ended == rfc3339(NOW + 1)
    # Back among what ends it, but not among what begins it.
    told.records(NOW + 2, FAILED)
    assert lasting(told, NOW + 2, "high_failure_rate") == []


def test_successes_that_leave_the_day_begin_a_finding_at_the_turn_of_the_hour(told: Told) -> None:
    told.records(NOW, *[{}] * 20)
    told.records(NOW + HOUR, *[FAILED, {}] * 2, {})
    assert lasting(told, NOW + 24 * HOUR - 1, "high_failure_rate") == []
    found = one(lasting(told, NOW + 24 * HOUR + 10, "high_failure_rate"))
    assert found.began == rfc3339(NOW + 24 * HOUR)
    # It is the same one when something else is recorded.
    told.records(NOW + 24 * HOUR + 20, {"tool_name": "other"}, {})
    assert one(history(told, NOW + 25 * HOUR, "high_failure_rate")).finding_id == found.finding_id


def test_another_threshold_is_in_force_from_the_next_hour_on(told: Told) -> None:
    told.records(NOW, *[{}] * 3, *[FAILED] * 2)
    milder = msgspec.structs.replace(told._settings, medium_success_rate=0.4)
    changes, told.projection = told.projection.changes(), Risks(milder)
    told.projection.restore(changes)
    assert one(lasting(told, NOW, "high_failure_rate"))
    assert lasting(told, NOW + HOUR, "high_failure_rate") == []
    assert one(history(told, NOW + HOUR, "high_failure_rate")).ended == rfc3339(NOW + HOUR)


def test_half_of_twenty_is_an_alarm(told: Told) -> None:
    told.records(NOW, *[each | {"task_id": str(n)} for n in range(10) for each in ({}, FAILED)])
    assert one(lasting(told, NOW, "high_failure_rate")).severity == "alarm"
    # Alarms come before warnings, and these before what is good to know.
    assert [f.severity for f in told.projection.answer(NOW).findings] == ["alarm", "info"]


@pytest.mark.parametrize(("repeats", "severity"), [(5, "warning"), (20, "alarm")])
def test_an_agent_that_repeats_itself_is_in_a_loop(told: Told, repeats: int, severity: str) -> None:
    told.records(NOW, *[{}] * (repeats - 1))
    assert severity not in [each.severity for each in lasting(told, NOW, "loop")]
    told.records(NOW + 1, {})
    found = one(lasting(told, NOW + 1, "loop"))
    assert (found.severity, found.evidence.executions) == (severity, repeats)
    assert (found.agent_id, found.tool_name, found.task_id) == ("scout", "search", "task")
    told.records(NOW + 2, {"tool_name": "browser"})
    assert lasting(told, NOW + 2, "loop") == []
    assert one(history(told, NOW + 2, "loop")).ended == rfc3339(NOW + 2)


def test_other_tasks_and_other_agents_between_do_not_break_a_loop(told: Told) -> None:
    between = [{"task_id": "other", "tool_name": "x"}, {"agent_id": "zoe", "tool_name": "x"}]
    told.records(NOW, *[{}, *between] * 5)
    assert [each.agent_id for each in lasting(told, NOW, "loop")] == ["scout", "scout", "zoe"]


def test_an_agent_that_gave_up_is_no_longer_in_a_loop(told: Told) -> None:
    told.records(NOW, *[{}] * 6)
    assert one(lasting(told, NOW + HOUR - 1, "loop"))
    assert lasting(told, NOW + HOUR, "loop") == []


@pytest.mark.parametrize("others", [3, 8, 40])
@pytest.mark.parametrize("first", ["loop-0", "new"])
def test_a_loop_ends_when_the_agent_has_moved_on_to_eight_tasks(
    told: Told, first: str, others: int
) -> None:
    one_by_one = Told(Risks)
    tasks = [first, *[f"other-{n}" for n in range(others)]]
    loops = [{"task_id": f"loop-{n}"} for n in range(3) for _ in range(5)]
    once = [{"task_id": task, "finished_at": NOW + n} for n, task in enumerate(tasks)]
    again = [{"task_id": task} for task in tasks[-8:] for _ in range(4)]
    for batch in loops, once, again:
        told.records(NOW, *batch)
        for each in batch:
            one_by_one.records(NOW, each)
    assert len(lasting(told, NOW, "loop")) == min(8, len({"loop-0", "loop-1", "loop-2", *tasks}))
    assert history(told, NOW, "loop") == history(one_by_one, NOW, "loop")


def test_an_agent_is_silent_from_when_it_is_offline_until_it_is_heard_again(told: Told) -> None:
    told.hears(NOW, ReportAgent(agent_id="scout", queue_depth=3))
    assert lasting(told, NOW + 119.9, "silent") == []
    found = one(lasting(told, NOW + 500, "silent"))
    assert (found.began, found.severity) == (rfc3339(NOW + 120), "alarm")
    assert found.evidence.waiting == 3
    told.hears(NOW + 900, ReportAgent(agent_id="scout", queue_depth=3))
    assert lasting(told, NOW + 900, "silent") == []
    ended = one(history(told, NOW + 900, "silent"))
    assert (ended.finding_id, ended.ended) == (found.finding_id, rfc3339(NOW + 900))


def test_one_that_has_nothing_to_do_may_be_silent(told: Told) -> None:
    told.hears(NOW, ReportAgent(agent_id="scout", queue_depth=0))
    assert history(told, NOW + HOUR, "silent") == []


def test_one_that_never_reports_is_never_silent(told: Told) -> None:
    told.hears(NOW, START)
    assert history(told, NOW + HOUR, "silent") == []


def test_silence_with_an_open_task_lasts_until_it_times_out(told: Told) -> None:
    told.hears(NOW, ReportAgent(agent_id="scout"), START)
    assert one(lasting(told, NOW + 3599, "silent"))
    assert one(history(told, NOW + DAY, "silent")).ended == rfc3339(NOW + HOUR)


def test_a_tool_that_takes_twice_as_long_has_slowed_down(told: Told) -> None:
    chance = random.Random(4)
    usual = [{"duration_seconds": chance.lognormvariate(2.0, 0.3)} for _ in range(200)]
    told.records(NOW, *usual)
    assert history(told, NOW, "slow_down") == []
    slow = [{"duration_seconds": 2 * each["duration_seconds"]} for each in usual]
    told.records(NOW + HOUR, *slow[:20])
    found = one(lasting(told, NOW + HOUR, "slow_down"))
    assert found.evidence.usual == pytest.approx(7.4, rel=0.2)
    assert found.evidence.ratio == pytest.approx(2.0, rel=0.3)
    # It is used to that by and by.
    told.records(NOW + 2 * HOUR, *(slow * 2))
    assert lasting(told, NOW + 2 * HOUR, "slow_down") == []


def test_a_single_slow_execution_is_no_slow_down(told: Told) -> None:
    told.records(NOW, *[{"duration_seconds": 1.0 + 0.01 * (n % 7)} for n in range(100)])
    told.records(NOW, {"duration_seconds": 3600.0})
    assert history(told, NOW, "slow_down") == []


def test_a_price_that_rose_is_told_as_it_is_now_and_not_by_one_execution(told: Told) -> None:
    chance = random.Random(7)
    usual = [chance.lognormvariate(-4.0, 0.3) for _ in range(200)]
    told.records(NOW, *({"cost_actual": cost} for cost in usual))
    for n, cost in enumerate(usual):
        dear = {"cost_actual": 2 * cost, "execution_id": f"dear {n}"}
        told.records(NOW + n, dear)
        if found := lasting(told, NOW + n, "cost_rise"):
            break
    evidence = one(found).evidence
    since = [2 * cost for cost in usual[: n + 1]][-evidence.executions :]
    assert 3 <= len(since) == evidence.executions
    assert evidence.value == pytest.approx(statistics.geometric_mean(since))
    assert f" on average, {evidence.ratio:.1f} times the usual." in one(found).summary


def test_a_cost_is_told_however_little_it_is(told: Told) -> None:
    told.records(NOW, *[{"cost_actual": 2e-6}] * 10, {"cost_actual": 31e-6})
    summary = one(history(told, NOW, "cost_spike")).summary
    assert summary == "search cost scout $0.000031 once, 15.5 times the usual."


@pytest.mark.parametrize(("waiting", "tasks"), [(1, "1 task"), (1200, "1,200 tasks")])
def test_one_task_is_no_tasks(told: Told, waiting: int, tasks: str) -> None:
    told.hears(NOW, ReportAgent(agent_id="scout", queue_depth=waiting))
    summary = one(lasting(told, NOW + 500, "silent")).summary
    assert summary == f"scout fell silent with {tasks} waiting or open."


def test_a_tool_that_gets_worse_is_told_with_how_often_it_fails_since(told: Told) -> None:
    told.records(NOW, *[{}] * 400, *[FAILED, {}] * 15)
    found = one(lasting(told, NOW, "degrading"))
    failed, executions = found.evidence.failed, found.evidence.executions
    assert (
        found.summary == f"search fails more often than it used to: {failed} of {executions} since."
    )


def test_findings_are_kept_for_30_days(told: Told) -> None:
    told.records(NOW, *[FAILED] * 3, {})
    assert one(history(told, NOW + 30 * DAY - HOUR, "streak"))
    assert history(told, NOW + 30 * DAY, "streak") == []


def test_a_thousand_of_a_kind_are_kept_those_that_began_last(told: Told) -> None:
    for n in range(105):
        told.records(NOW + n, *[FAILED, FAILED, FAILED, {}] * 10)
    found = history(told, NOW + 105, "streak")
    assert (len(found), found[-1].began) == (1000, rfc3339(NOW + 5))


def drifting(chance: random.Random) -> list[dict[str, Any]]:
    """Executions of a tool that fails more often for a while, slows down and gets dearer."""
    records = []
    for n in range(500):
        worse = 200 <= n < 320
        records.append(
            {
                "execution_id": str(n),
                "task_id": f"t{n // 3}",
                "agent_id": chance.choice(("scout", "zoe")),
                "success": chance.random() > (0.6 if worse else 0.03),
                "error_type": chance.choice(("timeout", "timeout", None, "refused")),
                "duration_seconds": chance.lognormvariate(2.7 if worse else 2.0, 0.4),
                "cost_actual": chance.lognormvariate(1.0 if worse else 0.0, 0.3),
            }
        )
    return records


@pytest.mark.parametrize("seed", range(4))
def test_what_drifts_is_found_alike_however_the_journal_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    oracle, life = Oracle(Settings(timezone="UTC")), Life(KINDS["risks"], Settings(timezone="UTC"))
    records, now = drifting(chance), NOW
    while records:
        now += chance.choice((1.0, 61.0, 1800.0, 5 * HOUR))
        batch, records = records[: (n := chance.randrange(1, 60))], records[n:]
        before = len(oracle.entries)
        oracle.send(now, RecordExecutions(executions=[execution(**each) for each in batch]))
        life.fold(oracle.entries[before:], now)
        chance.choice((life.put_away, life.crash, life.projection.advance))(now)
    kinds = {span.kind for span in oracle._spans(now)}
    assert {"degrading", "slow_down", "cost_rise", "high_failure_rate"} <= kinds
    for later in (now, now + HOUR, now + DAY, now + 29 * DAY):
        assert life.differences(oracle, later) == []


# Recommendations


def test_a_recommendation_tells_since_when_where_and_what_helps(told: Told) -> None:
    for n in range(5):
        failed = FAILED | {"task_id": str(n), "cost_actual": 0.1, "agent_id": f"a{n % 2}"}
        helped = {"task_id": str(n), "tool_name": "browser", "cost_actual": 0.3}
        told.records(NOW + n, failed, helped)
    (found,) = told.projection.recommend(NOW + 5).recommendations
    assert (found.since, found.agents) == (rfc3339(NOW), {"a0": 3, "a1": 2})
    assert (found.fallback_tool, found.fallback_tried) == ("browser", 5)
    assert found.fallback_cost_ratio == pytest.approx(3.0)
    assert found.fallback_duration_ratio == pytest.approx(1.0)
    assert "Fall back on browser" in found.recommendation
    # To the minute: nobody reads more.
    assert f"like this since {rfc3339(NOW)[:16].replace('T', ' ')} UTC." in found.recommendation
    assert found.missing == []


def test_nothing_is_recommended_that_the_data_do_not_support(told: Told) -> None:
    told.records(NOW, *[{"success": False}] * 3)
    (found,) = told.projection.recommend(NOW + 3 * DAY).recommendations
    assert (found.fallback_tool, found.since) == (None, None)
    assert len(found.missing) == 3
    told.records(NOW, {"tool_name": "browser"})
    (found,) = told.projection.recommend(NOW).recommendations
    assert found.fallback_tool == "browser"
    assert "Fall back on" not in found.recommendation
    assert "browser was tried on fewer than 3 such tasks." in found.missing


def test_a_tool_that_gets_worse_is_watched_before_it_is_low(told: Told) -> None:
    told.records(NOW, *[{}] * 400, *[FAILED, {}] * 15)
    answer = told.projection.recommend(NOW)
    assert (answer.total_recommendations, answer.recommendations) == (0, [])
    (found,) = answer.watch
    assert (found.tool, found.confidence_level) == ("search", "HIGH")
    assert found.since == rfc3339(NOW)
