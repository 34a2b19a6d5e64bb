"""Findings about budgets in words: when they begin and end, and that nothing else changes them."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.answers import RiskFinding, RiskHistory, RiskPatterns
from buddyd.domain.costs import Costs
from buddyd.domain.findings import Case
from buddyd.domain.journal import JournalEntry
from buddyd.domain.projection import Change
from buddyd.domain.reporting import FINDINGS_SHOWN, history_with_budgets, with_budgets
from buddyd.domain.segment import segments
from buddyd.domain.settings import Budget, DomainSettings
from buddyd.protocol.messages import RecordExecutions, ReportBudget
from tests.domain.test_budgets import BERLIN, DAY, HOUR, Host, of, time
from tests.domain.test_stories import execution
from tests.oracle import Oracle, rfc3339
from tests.support.samples import evidence, finding
from tests.support.workloads import examples

MINUTE, QUARTER = 60.0, 900.0
NOON = time("2026-07-02T12:00")
LLM = ReportBudget(service="llm", limit_usd=20.0, period="day", spent_usd=10.0)


def lasting(host: Host, at: float) -> list[RiskFinding]:
    return host.costs.lasting_findings(at).findings


def history(host: Host, at: float) -> list[RiskFinding]:
    return host.costs.past_findings(at, 1000, lambda _: True).findings


def one(found: list[RiskFinding]) -> RiskFinding:
    (finding,) = found
    return finding


def overspent() -> Host:
    """A host whose budget of ten dollars a day was used up at noon."""
    host = Host(of(10, "day"))
    host.spends(NOON, 11.0)
    return host


def test_a_budget_is_found_before_it_is_used_up_and_alarming_when_it_is() -> None:
    host = Host(of(10, "day", agent="scout"))
    host.spends(time("2026-07-02T08:59"), 0.1)
    assert lasting(host, time("2026-07-02T08:59")) == []
    host.spends(time("2026-07-02T11:59:30"), 8.0)
    warned = one(lasting(host, NOON))
    assert (warned.kind, warned.severity, warned.agent_id) == ("budget", "warning", "scout")
    assert (warned.tool_name, warned.task_id, warned.service) == (None, None, None)
    assert warned.began == rfc3339(time("2026-07-02T11:59"))
    assert warned.summary.startswith("The budget of $10.00 a day for scout will last until 2026-")
    assert warned.summary.endswith(" an hour; $8.10 is spent.")
    host.spends(time("2026-07-02T15:00:30"), 2.0)
    alarm = one(lasting(host, time("2026-07-02T15:00:31")))
    assert (alarm.finding_id, alarm.severity) == (warned.finding_id, "alarm")
    assert alarm.summary == ("The budget of $10.00 a day for scout is used up: $10.10 is spent.")
    assert (alarm.evidence.value, alarm.evidence.usual) == (10.1, 10.0)
    assert alarm.evidence.ratio == pytest.approx(1.01)
    assert alarm.evidence.executions == len(alarm.evidence.execution_ids) == 3


def test_it_ends_at_midnight_in_its_zone_and_stays_in_the_history() -> None:
    host, midnight = overspent(), time("2026-07-03T00:00")
    found = one(lasting(host, midnight - 0.001))
    # At the rate of that day, the next one's will not last, either.
    tomorrow = one(lasting(host, midnight))
    assert (tomorrow.severity, tomorrow.evidence.value) == ("warning", 0.0)
    assert tomorrow.began == rfc3339(midnight)
    for later in (midnight, midnight + 20 * DAY):
        ended = history(host, later)[-1]
        assert (ended.finding_id, ended.ended) == (found.finding_id, rfc3339(midnight))
    # What comes late changes nothing.
    host.spends(midnight + HOUR, 5.0, finished_at=NOON)
    assert history(host, midnight + HOUR)[-1].evidence == found.evidence
    assert history(host, midnight + 32 * DAY) == []


def test_it_ends_when_spending_slows_down_and_not_a_little_before() -> None:
    host = Host(of(24, "day"))
    for hour in range(1, 9):
        host.spends(time(f"2026-07-02T{hour:02}:00"), 1.4)
    warned = one(lasting(host, time("2026-07-02T09:00")))
    assert warned.severity == "warning"
    # For a while it is not likely any more, and not yet unlikely enough.
    slower = next(
        at
        for at in (time("2026-07-02T09:00") + n * QUARTER for n in range(60))
        if host.use(at).exhausted_at is None
    )
    relieved = one(lasting(host, slower))
    assert relieved.finding_id == warned.finding_id
    assert relieved.summary == (
        "The budget of $24.00 a day is close to being used up: $11.20 is spent."
    )
    ended = one(history(host, time("2026-07-02T23:59")))
    assert ended.ended is not None
    assert rfc3339(slower) < ended.ended < rfc3339(time("2026-07-02T20:00"))
    assert lasting(host, time("2026-07-02T23:59")) == []
    # It grows again: this is another finding.
    host.spends(time("2026-07-02T22:00"), 12.0)
    newer, older = history(host, time("2026-07-02T22:01"))
    assert (older, newer.ended, newer.severity) == (ended, None, "warning")


def test_a_record_that_comes_late_counts_in_its_period_and_not_in_another() -> None:
    host = Host(of(10, "month"), of(10, "day"))
    host.spends(NOON, 11.0, finished_at=NOON - DAY)
    found = one(lasting(host, NOON))
    assert "a month is used up" in found.summary
    assert found.ended is None
    host.spends(NOON, 11.0, finished_at=time("2026-06-30T23:59"))
    assert one(lasting(host, NOON)) == found


def test_each_budget_has_its_own_finding() -> None:
    host = Host(of(1, "day"), of(2, "day"), of(1, "month"), of(1, "day", tool="search"))
    host.spends(NOON, 3.0)
    found = lasting(host, NOON)
    assert len({each.finding_id for each in found}) == len(found) == 4
    assert {each.severity for each in found} == {"alarm"}
    assert [each.tool_name for each in found].count("search") == 1
    assert [each.ended for each in history(host, NOON + 2 * DAY)].count(None) == 1


def test_the_ten_that_cost_most_are_named_the_first_of_equal_ones_first() -> None:
    host = Host(of(1, "day"))
    yesterday = {"execution_id": "yesterday", "finished_at": NOON - DAY}
    host.spends(NOON, 99.0, **yesterday)
    for n in range(12):
        host.spends(NOON + n, float(n % 6), execution_id=f"{n}")
    found = one(lasting(host, NOON + 60)).evidence
    assert found.execution_ids == ["5", "11", "4", "10", "3", "9", "2", "8", "1", "7"]
    assert (found.executions, found.value) == (12, 30.0)


def test_a_budget_that_is_configured_away_is_over_and_a_new_one_is_found() -> None:
    host = overspent()
    of_day = one(lasting(host, NOON + HOUR))
    host.reloads(NOON + HOUR, of(10, "month"))
    of_month = one(lasting(host, NOON + HOUR))
    assert ("a month" in of_month.summary, of_month.severity) == (True, "alarm")
    ids, ends = {of_day.finding_id, of_month.finding_id}, [rfc3339(NOON), None]
    assert [each.ended for each in history(host, NOON + HOUR)] == ends
    # None is left: that one is over, too, and remains so when more comes.
    host.reloads(NOON + HOUR)
    for later in (NOON + HOUR, NOON + 2 * HOUR):
        found = history(host, later)
        assert {each.finding_id for each in found} == ids
        assert [each.ended for each in found] == [rfc3339(NOON)] * 2
        host.spends(NOON + 2 * HOUR, 1.0)
    # Nor is kept what nobody would forget.
    host.reloads(NOON + 2 * HOUR)
    assert not any(part in {"quarters", "scopes"} for part, _ in host._kept)


def test_the_first_budget_is_found_at_once_and_as_of_what_was_recorded_last() -> None:
    host = Host()
    host.spends(NOON - 3 * DAY, 11.0)
    host.reloads(NOON - 3 * DAY, of(10, "day"))
    assert one(lasting(host, NOON - 3 * DAY)).began == rfc3339(NOON - 3 * DAY)
    # It goes and comes again: meanwhile, nobody noted when anything was recorded.
    host.reloads(NOON - 2 * DAY)
    host.spends(NOON - 1 * DAY, 0.1)
    host.spends(NOON, 12.0)
    host.reloads(NOON + HOUR, of(10, "day"))
    found = one(lasting(host, NOON + HOUR))
    assert (found.began, found.evidence.value) == (rfc3339(NOON), 12.0)
    host.spends(NOON + HOUR, 1.0)
    host.spends(NOON + 2 * HOUR, 1.0)
    assert one(lasting(host, NOON + 2 * HOUR)).finding_id == found.finding_id


def test_a_service_is_found_as_it_is_reported() -> None:
    host = Host()
    host.hears(time("2026-07-02T08:00"), LLM)
    warned = one(lasting(host, time("2026-07-02T08:00:01")))
    assert (warned.service, warned.severity, warned.agent_id) == ("llm", "warning", None)
    assert "a day for llm will last until " in warned.summary
    assert (warned.evidence.executions, warned.evidence.execution_ids) == (0, [])
    host.hears(NOON, msgspec.structs.replace(LLM, spent_usd=20.0))
    assert one(lasting(host, NOON)).severity == "alarm"
    assert lasting(host, time("2026-07-03T00:00")) == []
    # Another limit is another budget.
    host.hears(NOON + HOUR, msgspec.structs.replace(LLM, spent_usd=20.0, limit_usd=100.0))
    assert one(history(host, NOON + HOUR)).ended == rfc3339(NOON + HOUR)


def test_a_budget_without_a_period_is_over_30_days_after_its_last_report() -> None:
    host = Host()
    total = msgspec.structs.replace(LLM, period="total", spent_usd=20.0)
    host.hears(NOON, total)
    host.hears(NOON + DAY, total)
    found = one(lasting(host, NOON + 31 * DAY - 1))
    assert (found.began, found.severity) == (rfc3339(NOON), "alarm")
    assert lasting(host, NOON + 31 * DAY) == []
    # A report that it was paid for ends one, too.
    host.hears(NOON + 32 * DAY, total)
    assert one(lasting(host, NOON + 32 * DAY)).finding_id != found.finding_id
    host.hears(NOON + 33 * DAY, msgspec.structs.replace(total, spent_usd=0.0))
    assert lasting(host, NOON + 33 * DAY) == []


def test_what_a_report_lets_expect_does_not_come_nearer_by_itself() -> None:
    host = Host()
    slow = msgspec.structs.replace(LLM, period="total", spent_usd=0.0)
    host.hears(NOON, slow)
    host.hears(NOON + 12 * HOUR, msgspec.structs.replace(slow, spent_usd=0.2))
    for day in range(60):
        assert host.use(NOON + day * DAY).exhausted_at is None
        assert lasting(host, NOON + day * DAY) == []


def test_who_catches_up_finds_what_was_so_a_month_ago() -> None:
    """As where a damaged state is discarded, or the actor was away."""
    host = Host(of(10, "month"))
    host.costs.advance(NOON + 40 * DAY)
    host.spends(NOON, 11.0)
    host.spends(NOON + 25 * DAY, 1.0)
    assert one(history(host, NOON + 25 * DAY)).severity == "alarm"
    assert one(history(host, NOON + 40 * DAY)).evidence.value == 12.0


def test_what_an_earlier_version_put_away_is_looked_at_at_once() -> None:
    host = overspent()
    host.hears(NOON, msgspec.structs.replace(LLM, spent_usd=30.0))
    before = lasting(host, NOON)
    host.reloads(NOON, of(10, "day"))
    for key in [key for key in host._kept if key[0] in {"cases", "recorded", "in_force"}]:
        del host._kept[key]
    host.costs.changes()
    host.reloads(NOON, of(10, "day"))
    after = lasting(host, NOON)
    assert [each.summary for each in after] == [each.summary for each in before]
    assert [each.began for each in after] == [rfc3339(NOON)] * 2


def test_a_month_that_an_earlier_version_counted_is_looked_at_with_the_next_record() -> None:
    host = Host(of(10, "month"))
    host.spends(NOON, 11.0)
    later = NOON + 3 * DAY
    host.reloads(later, of(10, "month"))
    for key in [key for key in host._kept if key[0] in {"cases", "recorded", "in_force"}]:
        del host._kept[key]
    host.costs.changes()
    host.reloads(later, of(10, "month"))
    assert lasting(host, later) == []
    host.spends(later, 0.0)
    assert one(lasting(host, later)).evidence.value == 11.0


def test_what_an_earlier_version_told_is_remembered_under_the_same_key() -> None:
    host, cases = overspent(), list[Case]()
    host.costs.past_findings(NOON, 0, lambda case: cases.append(case) is None)
    assert [case.subject for case in cases] == ["all\x1f\x1fday\x1f1782943200.0\x1f10000000000"]


def test_a_clock_that_was_a_week_ahead_for_a_while_does_no_harm() -> None:
    host = Host(of(10, "day"))
    host.spends(NOON + 7 * DAY, 0.05)
    host.spends(NOON, 0.05)
    assert lasting(host, NOON) == []
    host.spends(NOON + HOUR, 12.0)
    found = one(lasting(host, NOON + HOUR))
    assert (found.began, found.severity) == (rfc3339(NOON + HOUR), "alarm")
    # Put back a little, it goes on from where it was.
    host.spends(NOON + HOUR / 2, 0.1)
    assert one(lasting(host, NOON + HOUR / 2)).finding_id == found.finding_id


def test_nothing_is_kept_where_there_is_no_budget() -> None:
    host = Host()
    host.costs.changes()
    host.spends(NOON, 11.0)
    assert {change.part for change in host.costs.changes()} == {
        "by_tool",
        "by_agent",
        "tier1",
        "tier2",
    }


# Together with the other findings


def test_the_worst_of_both_come_first_and_are_counted_together() -> None:
    host = overspent()
    streaks = [
        finding("streak", f"{n}", began=began, severity=severity, evidence=evidence(1))
        for n, (began, severity) in enumerate(
            [("2026-07-02T10:00:00.5Z", "alarm"), ("2026-07-02T09:00:00Z", "alarm")]
            + [("2026-07-02T11:00:00Z", "warning")] * 60
        )
    ]
    risks = RiskPatterns("", {}, [], 0, streaks[:FINDINGS_SHOWN], len(streaks))
    of_budgets = host.costs.lasting_findings(NOON)
    both = with_budgets(risks, of_budgets)
    assert (both.total_findings, len(both.findings)) == (63, FINDINGS_SHOWN)
    # That of the budget began at ten o'clock sharp.
    assert both.findings[:3] == [streaks[0], *of_budgets.findings, streaks[1]]
    newest = history_with_budgets(RiskHistory("", 62, streaks[2:3]), of_budgets, 1)
    assert (newest.total_findings, newest.findings) == (63, streaks[2:3])


# What must make no difference


class Costly(msgspec.Struct, frozen=True):
    """Something that is recorded some seconds after what came before it."""

    pause: float
    dollars: float
    ago: float
    reported: bool


COSTLY = st.lists(
    st.builds(
        Costly,
        pause=st.sampled_from((0.0, 7.5, 59.0, 60.0, 400.0, 3000.0, 6 * HOUR, 26 * HOUR)),
        dollars=st.sampled_from((0.0, 0.3, 1.0, 2.5, 6.0)),
        ago=st.sampled_from((0.0, 0.0, 0.0, -250.0, 1800.0, 20 * HOUR, 3 * DAY)),
        reported=st.sampled_from((False, False, True)),
    ),
    min_size=1,
    max_size=25,
)
BUDGETS = (of(10, "day"), of(5, "day", agent="scout"), of(40, "month", tool="search"))
EVENING = time("2026-07-30T22:20")


def journal(costly: Iterable[Costly]) -> list[JournalEntry]:
    """What was sent from an evening at the end of a month on."""
    oracle, now = Oracle(), EVENING
    for each in costly:
        now += each.pause
        if each.reported:
            oracle.send(now, msgspec.structs.replace(LLM, spent_usd=4 * each.dollars))
            continue
        fields = {"cost_actual": each.dollars, "finished_at": now - each.ago}
        oracle.send(now, RecordExecutions(executions=[execution(**fields)]))
    return oracle.entries


def told(costs: Costs, now: float) -> object:
    return costs.lasting_findings(now), costs.past_findings(now, 1000, lambda _: True)


def folded(entries: list[JournalEntry], budgets: tuple[Budget, ...] = BUDGETS) -> Costs:
    costs = Costs(DomainSettings(zone=BERLIN, budgets=budgets))
    for segment in segments(entries, 500):
        costs.fold(segment)
    return costs


@examples(150)
@given(costly=COSTLY, cuts=st.integers(1, 4), asked=st.booleans(), configured=st.booleans())
def test_cuts_restarts_and_questions_change_nothing(
    costly: list[Costly], cuts: int, *, asked: bool, configured: bool
) -> None:
    entries, budgets = journal(costly), BUDGETS if configured else ()
    settings = DomainSettings(zone=BERLIN, budgets=budgets)
    cut, kept = Costs(settings), dict[tuple[str, str | int], Change]()
    for segment in segments(entries, cuts):
        cut.fold(segment)
        now = segment.entries[-1].recorded_at
        if asked:
            for later in (now, now + MINUTE, now + 5 * HOUR):
                told(cut, later)
        cut.advance(now)
        kept |= {(change.part, change.key): change for change in cut.changes()}
        cut = Costs(settings)
        cut.restore(kept.values())
    end = entries[-1].recorded_at
    for later in (end, end + QUARTER, end + 9 * HOUR, end + 26 * HOUR, end + 9 * DAY):
        assert told(cut, later) == told(folded(entries, budgets), later)


@examples(150)
@given(costly=COSTLY)
def test_what_was_told_is_put_on_record_under_the_same_id(costly: list[Costly]) -> None:
    """But where a record that comes late within the minute makes the rate smaller."""
    entries = journal(each for each in costly if each.ago <= 0.0)
    seen: dict[str, str] = {}
    for n, entry in enumerate(entries):
        if isinstance(entry, JournalEntry) and n + 1 < len(entries):
            costs = folded(entries[: n + 1])
            for at in {entry.recorded_at, entries[n + 1].recorded_at}:
                found = costs.lasting_findings(at).findings
                seen |= {each.finding_id: each.began for each in found if not each.service}
    if entries:
        whole = folded(entries).past_findings(entries[-1].recorded_at, 1000, lambda _: True)
        assert seen.items() <= {each.finding_id: each.began for each in whole.findings}.items()


@examples(150)
@given(costly=COSTLY, later=st.sampled_from((0.0, 20.0, 61.0, 890.0, 3 * HOUR, 7 * HOUR, DAY)))
def test_costs_warn_of_nothing_that_is_no_finding(costly: list[Costly], later: float) -> None:
    entries = journal(costly)
    costs, now = folded(entries), entries[-1].recorded_at + later
    warned = {
        (use.scope, use.name, use.limit)
        for use in costs.answer(now, 0).budgets
        if use.warning and use.warning.severity != "info"
    }
    cases: list[Case] = []
    costs.past_findings(now, 0, lambda case: cases.append(case) is None)
    found = {
        (case.budget.scope, case.budget.name, (case.usual or 0.0) / 1e9)
        for case in cases
        if case.budget and case.ended_by(now) is None
    }
    assert warned <= found
