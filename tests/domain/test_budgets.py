"""Budgets in words: midnights, ends of months, summer time, restarts, and what was there before."""

import math
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddyd.domain.answers import BudgetUse
from buddyd.domain.burn import Burn, Spending, burn, exhaustion
from buddyd.domain.costs import Costs
from buddyd.domain.journal import NANODOLLARS
from buddyd.domain.ledger import period
from buddyd.domain.projection import Change
from buddyd.domain.segment import segments
from buddyd.domain.settings import Budget, DomainSettings
from buddyd.protocol.messages import RecordExecutions, ReportBudget
from tests.domain.test_stories import execution
from tests.oracle import Oracle, Submission
from tests.oracle_money import gone

BERLIN = ZoneInfo("Europe/Berlin")
HOUR, DAY = 3600.0, 86_400.0


def time(text: str) -> float:
    """A time in Berlin, as Unix seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def of(dollars: float, period: Any, **given: str) -> Budget:  # noqa: ANN401 - a literal
    return Budget(limit=round(dollars * NANODOLLARS), period=period, **given)


class Host:
    """The projection of a daemon in Berlin, which may be taken up again with other budgets."""

    def __init__(self, *budgets: Budget) -> None:
        self._journal = Oracle()
        self._kept: dict[tuple[str, str | int], bytes] = {}
        self._make(budgets)

    def hears(self, at: float, *requests: Submission) -> None:
        before = len(self._journal.entries)
        for request in requests:
            self._journal.send(at, request)
        for segment in segments(self._journal.entries[before:], 500):
            self.costs.fold(segment)

    def spends(self, at: float, dollars: float, **given: object) -> None:
        fields = {"cost_actual": dollars, "duration_seconds": 1.0, **given}
        self.hears(at, RecordExecutions(executions=[execution(**fields)]))

    def reloads(self, at: float, *budgets: Budget) -> None:
        self.costs.advance(at)
        for change in self.costs.changes():
            if change.state is None:
                self._kept.pop((change.part, change.key), None)
            else:
                self._kept[change.part, change.key] = change.state
        self._make(budgets)
        self.costs.restore([Change(*key, state) for key, state in self._kept.items()])

    def uses(self, at: float) -> list[BudgetUse]:
        return self.costs.answer(at, 0).budgets

    def use(self, at: float) -> BudgetUse:
        (use,) = self.uses(at)
        return use

    def _make(self, budgets: tuple[Budget, ...]) -> None:
        self.costs = Costs(DomainSettings(zone=BERLIN, budgets=budgets))


def test_a_budget_of_a_day_begins_anew_at_midnight_in_its_zone() -> None:
    host = Host(of(10, "day"))
    host.spends(time("2026-07-01T23:59:59.9"), 4.0)
    assert host.use(time("2026-07-01T23:59:59.95")).used == 4.0
    host.spends(time("2026-07-02T00:00"), 1.0)
    today = host.use(time("2026-07-02T00:00"))
    assert (today.used, today.share_used, today.limit) == (1.0, 0.1, 10.0)
    assert today.period_start == today.counted_since == "2026-07-01T22:00:00Z"
    assert today.period_end == "2026-07-02T22:00:00Z"


def test_a_budget_of_a_month_counts_all_of_its_31_days() -> None:
    host = Host(of(100, "month"))
    host.spends(time("2026-06-30T23:59"), 50.0)
    for day in range(1, 32):
        host.spends(time(f"2026-07-{day:02}T00:00"), 0.1)
    assert host.use(time("2026-07-31T23:59:59")).used == pytest.approx(3.1, rel=1e-12)
    assert host.use(time("2026-08-01T00:00")).used == 0.0
    # Put back, the clock finds the month that it left.
    assert host.use(time("2026-07-31T23:00")).used == pytest.approx(3.1, rel=1e-12)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23.0), ("2026-10-25", 25.0), ("2026-10-26", 24.0)]
)
def test_a_day_is_as_long_as_summer_time_makes_it(day: str, hours: float) -> None:
    span = period("day", time(f"{day}T12:00"), BERLIN)
    assert (span.end - span.start) / HOUR == hours
    assert period("day", span.start, BERLIN) == span
    assert period("day", span.end - 0.001, BERLIN) == span


def test_a_budget_is_of_one_agent_of_one_tool_or_of_all() -> None:
    host = Host(of(9, "day"), of(9, "day", agent="scout"), of(9, "month", tool="search"))
    noon = time("2026-07-02T12:00")
    host.spends(noon, 1.0)
    host.spends(noon, 2.0, agent_id="zoe")
    host.spends(noon, 4.0, tool_name="maps")
    uses = host.uses(noon)
    assert [(use.scope, use.name, use.used) for use in uses] == [
        ("all", None, 7.0),
        ("agent", "scout", 5.0),
        ("tool", "search", 3.0),
    ]


def test_a_warning_comes_before_the_budget_is_used_up() -> None:
    host = Host(of(10, "day"))
    severities = []
    for hour in range(8, 22):
        host.spends(time(f"2026-07-02T{hour:02}:59"), 0.8)
        use = host.use(time(f"2026-07-02T{hour:02}:59:59"))
        severities.append(use.warning and use.warning.severity)
    assert severities[0] == "warning"
    assert severities[-3:] == ["warning", "alarm", "alarm"]
    assert use.exhausted
    assert (use.exhausted_low, use.exhausted_at, use.exhausted_high) == (None, None, None)


def test_steady_spending_is_foreseen_to_the_minute() -> None:
    host = Host(of(20, "day"))
    for hour in range(4):
        host.spends(time(f"2026-07-02T{8 + hour:02}:30"), 2.0)
    use = host.use(time("2026-07-02T11:59:59.999999"))
    assert (use.used, use.rate) == (8.0, pytest.approx(2.0))
    assert use.rate_hours == pytest.approx(4.0)
    times = (use.exhausted_low, use.exhausted_at, use.exhausted_high)
    around = {"2026-07-02T15:59", "2026-07-02T16:00"}
    assert {time[:16] for time in times if time is not None} <= around
    assert None not in times
    assert use.warning is not None
    assert use.warning.severity == "warning"
    assert "$20.00 a day" in use.warning.message
    assert f"{use.exhausted_at}"[:16].replace("T", " ") + " UTC" in use.warning.message


def test_what_lasts_longer_than_its_period_is_no_cause_for_a_warning() -> None:
    host = Host(of(1000, "day"))
    for quarter in range(16):
        host.spends(time("2026-07-02T08:00") + quarter * 900, 0.01)
    use = host.use(time("2026-07-02T12:00"))
    assert (use.exhausted_at, use.exhausted_low, use.exhausted_high) == (None, None, None)
    assert use.warning is None


def test_a_new_budget_begins_with_the_day_that_is_known_and_says_so() -> None:
    host = Host()
    host.spends(time("2026-07-01T10:00"), 100.0)
    host.spends(time("2026-07-14T20:07"), 3.0, agent_id="zoe")
    host.spends(time("2026-07-15T09:00"), 2.0)
    noon = time("2026-07-15T12:00")
    host.reloads(noon, of(50, "month"), of(50, "day"), of(50, "month", agent="zoe"))
    month, day, agent = host.uses(noon)
    assert (month.used, day.used, agent.used) == (5.0, 2.0, 3.0)
    assert month.counted_since == agent.counted_since == "2026-07-14T18:07:00Z"
    assert day.counted_since == day.period_start
    host.spends(noon, 1.0)
    host.reloads(noon + 60, of(50, "month"))
    assert host.use(noon + 60).used == 6.0


def test_a_budget_that_went_and_came_back_counts_nothing_twice() -> None:
    host = Host(of(50, "month"))
    noon = time("2026-07-15T12:00")
    host.spends(noon, 2.0)
    for _ in range(3):
        host.reloads(noon)
        host.spends(noon, 1.0)
        host.reloads(noon, of(50, "month"))
    assert host.use(noon).used == 5.0


def test_scopes_that_come_and_go_are_never_mixed_up() -> None:
    scout, zoe, everything = of(9, "day", agent="scout"), of(9, "month", agent="zoe"), of(9, "day")
    host = Host(scout)
    noon = time("2026-07-15T12:00")
    host.spends(noon, 1.0)
    host.spends(noon, 2.0, agent_id="zoe")
    for budgets in ((zoe, scout), (everything,), (zoe,), (everything, zoe, scout), (scout, zoe)):
        host.reloads(noon, *budgets)
        used = {use.name: use.used for use in host.uses(noon)}
        expected = {"scout": 1.0, "zoe": 2.0, None: 3.0}
        assert used == {name: expected[name] for name in used}
        assert len(used) == len(budgets)


def test_a_budget_that_nothing_was_spent_of_yet_stays_apart_from_a_new_one() -> None:
    host = Host(of(9, "day", agent="scout"))
    noon = time("2026-07-15T12:00")
    host.spends(noon, 2.0, agent_id="zoe")
    host.reloads(noon, of(9, "day", agent="scout"), of(9, "day", agent="zoe"))
    assert [use.used for use in host.uses(noon)] == [0.0, 2.0]


def test_another_zone_has_another_first_of_the_month() -> None:
    host = Host(of(50, "month"))
    host.spends(time("2026-07-01T01:00"), 2.0)
    at = time("2026-07-01T12:00")
    utc = DomainSettings(budgets=(of(50, "month"),))
    again = Costs(utc)
    host.costs.advance(at)
    again.restore(host.costs.changes())
    assert again.answer(at, 0).budgets[0].used == 0.0
    assert host.use(at).used == 2.0


def test_a_service_is_told_as_it_was_reported_until_its_period_is_over() -> None:
    host = Host()
    morning, evening = time("2026-07-02T08:00"), time("2026-07-02T18:00")
    report = ReportBudget(service="llm", limit_usd=20.0, period="day", spent_usd=4.0)
    host.hears(morning, report)
    host.hears(evening, msgspec.structs.replace(report, spent_usd=14.0))
    use = host.use(evening)
    assert (use.scope, use.name, use.used, use.counted_since) == ("service", "llm", 14.0, None)
    assert use.reported_at == "2026-07-02T16:00:00Z"
    # 14 dollars in the 18 hours since midnight.
    assert (use.rate, use.rate_hours) == (pytest.approx(14 / 18), 18.0)
    assert use.exhausted_at is None
    assert use.exhausted_low is not None
    assert use.warning is not None
    assert use.warning.severity == "info"
    tomorrow = host.use(time("2026-07-03T00:00"))
    assert (tomorrow.used, tomorrow.share_used, tomorrow.warning) == (None, None, None)
    host.hears(time("2026-07-03T01:00"), msgspec.structs.replace(report, spent_usd=0.5))
    assert host.use(time("2026-07-03T01:00")).used == 0.5


def test_a_limit_of_nothing_that_was_once_taken_is_used_up_and_hurts_nobody() -> None:
    """Earlier versions took limits of less than a billionth of a dollar, which count as none."""
    host = Host()
    now = time("2026-07-02T08:00")
    report = ReportBudget(service="llm", limit_usd=1e-10, period="day", spent_usd=4.0)
    host.hears(now, report)
    use = host.use(now)
    assert (use.limit, use.used, use.share_used, use.exhausted) == (0.0, 4.0, 0.0, True)


def test_of_many_services_the_last_hundred_are_known() -> None:
    host = Host()
    report = ReportBudget(service="", limit_usd=1.0, period="total", spent_usd=0.0)
    for number in range(101):
        host.hears(time("2026-07-02T08:00"), msgspec.structs.replace(report, service=f"s{number}"))
    names = {use.name for use in host.uses(time("2026-07-02T08:00"))}
    assert len(names) == 100
    assert "s0" not in names


@given(
    left=st.integers(1, 10**15),
    spent=st.lists(st.integers(0, 10**12), min_size=1, max_size=24).filter(any),
)
def test_a_sum_is_gone_when_the_equations_say_so(left: int, spent: list[int]) -> None:
    measured = burn([Spending(1.0, each) for each in spent])
    found = exhaustion(left, measured)
    expected = gone(float(left), measured.rate, measured.variance, measured.hours)
    for a, b in zip(found, expected, strict=True):
        assert math.isclose(a, b, rel_tol=1e-6) or max(a, b) > 1e5 * left / measured.rate


@example(left=2_147_483_647, spent=[50_443_403] * 2, times=2)
@given(
    left=st.integers(1, 10**12),
    spent=st.lists(st.integers(0, 10**12), min_size=1, max_size=24).filter(any),
    times=st.sampled_from((2, 1000)),
)
def test_times_do_not_depend_on_the_currency(left: int, spent: list[int], times: int) -> None:
    found = exhaustion(left, burn([Spending(1.0, each) for each in spent]))
    other = exhaustion(left * times, burn([Spending(1.0, each * times) for each in spent]))
    assert found.low <= found.likely <= found.high
    assert other[:2] == pytest.approx(found[:2], rel=1e-6)


def test_nothing_spent_lasts_for_ever() -> None:
    assert exhaustion(5, burn([])) == (math.inf, math.inf, math.inf)
    assert burn([Spending(0.5, 0)]) == Burn(0.0, 0.5, 0.0)
