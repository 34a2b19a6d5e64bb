"""No sentence contradicts the answers that it explains, whatever was recorded."""

import re
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli.explaining import agent, tool
from buddyd.cli.explaining.agent import AgentEvidence
from buddyd.cli.explaining.sentences import Explanation, listed, most_frequent, rate
from buddyd.cli.explaining.tool import ToolEvidence
from buddyd.cli.render.cells import printable
from buddyd.domain.answers import RiskHistory, StoredExecution
from buddyd.domain.capacity import Capacity
from buddyd.domain.confidence import level, level_probability, wilson_interval
from buddyd.domain.journal import MICROSECONDS, NANODOLLARS, ExecutionRecorded
from buddyd.domain.registry import Registry
from buddyd.domain.risk import Risks
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from buddyd.in_force import domain_settings
from tests.oracle import Oracle
from tests.support import gallery
from tests.support.workloads import Workload, examples, workloads

NO_HISTORY = RiskHistory(timestamp=gallery.LEARNING.timestamp, total_findings=0, findings=[])
_SHARE = r"(\d+(?:\.\d+)?) %"


class House:
    """All that was sent, and what the daemon answers in the end."""

    def __init__(self, workload: Workload) -> None:
        oracle = Oracle(workload.settings)
        for step in workload.steps:
            oracle.send(step.at, step.request)
        self.now = workload.end
        self.settings = domain_settings(workload.settings)
        self.entries = [e for e in oracle.entries if isinstance(e, ExecutionRecorded)]
        registry, risks, capacity = (kind(self.settings) for kind in (Registry, Risks, Capacity))
        for projection in (registry, risks, capacity):
            projection.advance(self.now)
            for segment in segments(oracle.entries, 500):
                projection.fold(segment)
        assert isinstance(registry, Registry)
        self.agents = registry.agents.answer(self.now)
        self.tools = registry.tools.answer(self.now)
        assert isinstance(risks, Risks)
        self.risks = risks.answer(self.now)
        self.advice = risks.recommend(self.now)
        self.history = risks.history(self.now, 1000, lambda _: True)
        assert isinstance(capacity, Capacity)
        self.capacity = capacity.answer(self.now)

    def records(self, field: str, name: str) -> list[StoredExecution]:
        newest_first = sorted(self.entries, key=lambda e: (-e.finished_at, -e.seq))
        return [_stored(entry) for entry in newest_first if getattr(entry, field) == name]

    def history_of(self, field: str, name: str) -> RiskHistory:
        found = [each for each in self.history.findings if getattr(each, field) == name]
        return msgspec.structs.replace(self.history, findings=found)

    def tool_evidence(self) -> Iterator[ToolEvidence]:
        for profile in self.tools.tool_profiles:
            name = profile.tool_name
            yield ToolEvidence(
                profile=profile,
                pattern=self.risks.failure_patterns.get(name),
                history=self.history_of("tool_name", name),
                recommendation=next(
                    (r for r in self.advice.recommendations if r.tool == name), None
                ),
                records=self.records("tool", name),
                settings=self.settings,
            )

    def agent_evidence(self) -> Iterator[AgentEvidence]:
        for status, forecast in zip(self.agents.agents, self.capacity.forecasts, strict=True):
            yield AgentEvidence(
                timestamp=self.agents.timestamp,
                status=status,
                forecast=forecast,
                window_seconds=self.capacity.window_seconds,
                history=self.history_of("agent_id", status.agent_id),
                records=self.records("agent", status.agent_id),
                settings=self.settings,
            )


def _stored(entry: ExecutionRecorded) -> StoredExecution:
    return StoredExecution(
        execution_id=entry.execution_id,
        task_id=entry.task_id,
        agent_id=entry.agent,
        tool_name=entry.tool,
        duration_seconds=entry.duration / MICROSECONDS,
        success=entry.success,
        finished_at=entry.finished_at,
        cost_actual=entry.cost / NANODOLLARS,
        cost_estimate=entry.estimate / NANODOLLARS,
        tokens_used=entry.tokens,
        human_effort_level=entry.effort,
        browser_used=entry.browser,
        error_type=entry.error_type,
    )


def said(explanation: Explanation, about: str) -> str:
    return " ".join(explanation[about])


def check_findings(explanation: Explanation, history: RiskHistory) -> None:
    """Each that lasts is told, and none that is over."""
    told = explanation.get("Findings", [])
    last = [each for each in history.findings if each.ended is None]
    assert len(told) == len(last)
    for each in last:
        text = printable(each.summary.removesuffix("."))
        assert any(said.startswith(f"{text} ({each.severity}, ") for said in told)


def check_tool(evidence: ToolEvidence) -> None:
    explanation, profile = tool.explain(evidence), evidence.profile
    confidence = said(explanation, "Confidence")
    named = set(re.findall(r"\b(HIGH|MEDIUM|LOW)\b", confidence))
    assert named == {profile.confidence_level}
    _check_reason(confidence, evidence)
    low, high = re.findall(rf"interval is {_SHARE} to {_SHARE}", confidence)[0]
    assert float(low) == pytest.approx(profile.success_rate_low * 100, abs=0.1)
    assert float(high) == pytest.approx(profile.success_rate_high * 100, abs=0.1)
    _check_day(said(explanation, "24 hours"), evidence)
    assert ("Do" in explanation) == (evidence.recommendation is not None)
    check_findings(explanation, evidence.history)
    trend = said(explanation, "Trend")
    assert ("fail more often" in trend) == (profile.trend == "degrading")
    assert ("fail less often" in trend) == (profile.trend == "improving")


def _check_reason(confidence: str, evidence: ToolEvidence) -> None:
    """What is said to be at least, or below, is so as it is written."""
    if found := re.search(rf"{_SHARE} is at least {_SHARE}", confidence):
        assert float(found[1]) >= float(found[2])
    if found := re.search(rf"{_SHARE} is (?:at least .* % but )?below {_SHARE}", confidence):
        assert float(found[1]) < float(found[2])
    new = evidence.profile.total_executions < evidence.settings.learning_min_executions
    assert ("it is new" in confidence) == new


def _check_day(text: str, evidence: ToolEvidence) -> None:
    pattern = evidence.pattern
    if pattern is None:
        assert text == "Nothing failed."
        return
    assert text.startswith(f"{pattern.failed:,} of {pattern.total:,} execution")
    row = re.search(r"last ([\d,]+) executions failed in a row", text)
    assert (int(row[1].replace(",", "")) if row else 1) == max(1, pattern.consecutive_failures)
    assert row or "streak" not in pattern.patterns
    assert ("too many for a tool" in text) == ("high_failure_rate" in pattern.patterns)
    assert ("More than half" in text) == ("dominant_error" in pattern.patterns)


def check_agent(evidence: AgentEvidence) -> None:
    explanation, agent_ = agent.explain(evidence), evidence.status
    first = explanation["Status"][0]
    assert first.startswith(f"{printable(agent_.agent_id)} is {agent_.status}: ")
    reason = first.removeprefix(f"{printable(agent_.agent_id)} is {agent_.status}: ")
    if "no open task" in reason:
        assert agent_.current_task_id is None
        assert agent_.queue_depth == 0
    if "it is working on" in reason:
        assert f"it is working on {printable(agent_.current_task_id or '')}" in reason
    if "executions failed, with" in reason:
        assert [record.success for record in evidence.records[:3]] == [False] * 3
    check_findings(explanation, evidence.history)
    _check_capacity(said(explanation, "Capacity"), evidence)


def _check_capacity(text: str, evidence: AgentEvidence) -> None:
    forecast = evidence.forecast
    if found := re.search(r"about (\d+) % .* interval is (\d+) % to (\d+) %", text):
        assert [int(share) for share in found.groups()] == [
            forecast.estimated_available_capacity,
            forecast.capacity_low,
            forecast.capacity_high,
        ]
    else:
        assert forecast.estimated_available_capacity == 0
        assert evidence.status.status == "OFFLINE"
    assert ("should be done" in text) == (forecast.predicted_completion_time is not None)
    assert ("None of its forecasts" in text) == (forecast.forecast_error is None)


@examples(60)
@given(workload=workloads())
def test_no_sentence_contradicts_the_answers(workload: Workload) -> None:
    house = House(workload)
    for evidence in house.tool_evidence():
        check_tool(evidence)
    for about_agent in house.agent_evidence():
        check_agent(about_agent)


@st.composite
def profiles(draw: st.DrawFn) -> ToolEvidence:
    """Tools with many executions, and rates as near to the thresholds as can be."""
    high, medium = draw(st.sampled_from([(0.95, 0.80), (0.9501, 0.8), (1.0, 0.333), (0.5, 0.5)]))
    settings = DomainSettings(high_success_rate=high, medium_success_rate=medium)
    total = draw(st.integers(1, 10**6))
    near = round(total * draw(st.sampled_from([high, medium, 1.0, 0.0])))
    successes = min(total, max(0, near + draw(st.integers(-2, 2))))
    verdict = level(successes, total, settings)
    low, upper = wilson_interval(successes, total)
    profile = msgspec.structs.replace(
        gallery.LEARNING.tool_profiles[0],
        total_executions=total,
        successful_executions=successes,
        failed_executions=total - successes,
        success_rate=successes / total,
        success_rate_low=low,
        success_rate_high=upper,
        confidence_level=verdict,
        level_probability=level_probability(verdict, successes, total, settings),
    )
    return ToolEvidence(profile, None, NO_HISTORY, None, [], settings)


@examples(300)
@given(evidence=profiles())
def test_a_rate_next_to_a_threshold_is_written_on_its_side(evidence: ToolEvidence) -> None:
    check_tool(evidence)


@examples(300)
@given(share=st.floats(0, 1), marks=st.lists(st.floats(0.01, 0.99), max_size=3))
def test_a_rounded_rate_stays_on_its_side(share: float, marks: list[float]) -> None:
    shown = float(rate(share, marks).removesuffix(" %")) / 100
    assert all((shown < mark) == (share < mark) or abs(share - mark) < 1e-12 for mark in marks)


def test_settings_that_have_changed_meanwhile_give_no_reason() -> None:
    settings = DomainSettings(high_success_rate=1.0)
    profile = gallery.LEARNING.tool_profiles[0]
    evidence = ToolEvidence(profile, None, NO_HISTORY, None, [], settings)
    assert tool.explain(evidence)["Confidence"][0] == "Its confidence is HIGH."


def test_an_agent_that_says_itself_how_it_is_has_said_so() -> None:
    busy = gallery.AGENTS_STATUS.agents[4]
    for state, begin in (
        ("IDLE", "its last report said so, though it is working on t-77"),
        ("ERROR", "its last report said so, though it is working on t-77"),
    ):
        evidence = AgentEvidence(
            timestamp=gallery.AGENTS_STATUS.timestamp,
            status=msgspec.structs.replace(busy, status=state),
            forecast=gallery.CAPACITY.forecasts[4],
            window_seconds=3600,
            history=NO_HISTORY,
            records=[],
            settings=DomainSettings(),
        )
        assert agent.explain(evidence)["Status"][0].startswith(f"scout is {state}: {begin}")


def test_names_are_listed_as_people_do() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c\x1b"]) == "a, b and c\\x1b"
    assert most_frequent(["b", "a", "b", "a"]) == ("a", 2)
    assert most_frequent([]) is None
