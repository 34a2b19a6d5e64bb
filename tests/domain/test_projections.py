"""Every projection answers what the list of all that was sent answers, whatever happens to it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from buddyd.config import Settings
from buddyd.domain.answers import Answer
from buddyd.domain.capacity import Capacity
from buddyd.domain.costs import Costs
from buddyd.domain.journal import JournalEntry
from buddyd.domain.pipeline import Pipeline
from buddyd.domain.projection import Change, Projection
from buddyd.domain.registry import Registry
from buddyd.domain.risk import Risks
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from buddyd.in_force import domain_settings
from tests.oracle import Json, Oracle, differences
from tests.oracle_findings import Span
from tests.support.workloads import Workload, examples, workloads

DATABASE_BYTES = 12_345
FAR = 2**40
LASTING_BUDGETS, BUDGETS_OF_30_DAYS = "lasting budgets", "budgets of 30 days"


class Kind(Struct, frozen=True):
    """A projection, and what it answers to which question."""

    make: Callable[[DomainSettings], Any]
    answers: Callable[[Any, float], dict[str, Answer | list[Any]]]


KINDS = {
    "registry": Kind(
        Registry,
        lambda p, now: {
            "get_agents_status": p.agents.answer(now),
            "get_system_learning": p.tools.answer(now),
        },
    ),
    "pipeline": Kind(
        Pipeline,
        lambda p, now: {
            "get_task_pipeline": p.answer(now),
            "get_hourly_summaries": [hour.summary() for hour in p.hours(-FAR, FAR, now)],
        },
    ),
    "costs": Kind(
        Costs, lambda p, now: {"get_api_usage_and_costing": p.answer(now, DATABASE_BYTES)}
    ),
    "budgets": Kind(
        Costs,
        lambda p, now: {
            LASTING_BUDGETS: p.lasting_findings(now),
            BUDGETS_OF_30_DAYS: p.past_findings(now, 100, lambda _: True),
        },
    ),
    "risks": Kind(
        Risks,
        lambda p, now: {
            "get_risk_patterns": p.answer(now),
            "get_tool_recommendations": p.recommend(now),
            "get_risk_history": p.history(now, 100, lambda _: True),
        },
    ),
    "capacity": Kind(Capacity, lambda p, now: {"get_predictive_capacity": p.answer(now)}),
}


def expected(oracle: Oracle, question: str, now: float) -> Json | list[Json]:
    if question == "get_hourly_summaries":
        summaries: list[Json] = oracle.get_hourly_summaries(now)["summaries"]
        return summaries
    if question == "get_api_usage_and_costing":
        return oracle.get_api_usage_and_costing(now, DATABASE_BYTES)
    if question == LASTING_BUDGETS:
        return findings_in(oracle.get_risk_patterns(now, is_of_budget))
    if question == BUDGETS_OF_30_DAYS:
        return findings_in(oracle.get_risk_history(now, about=is_of_budget))
    if question in {"get_risk_patterns", "get_risk_history"}:
        risks: Json = getattr(oracle, question)(now, about=lambda span: not is_of_budget(span))
        return risks
    answer: Json = getattr(oracle, question)(now)
    return answer


def is_of_budget(span: Span) -> bool:
    return span.kind == "budget"


def findings_in(answer: Json) -> Json:
    return {name: answer[name] for name in ("total_findings", "findings")}


class Life:
    """A projection as its actor keeps it: what is put away, and what came after."""

    def __init__(self, kind: Kind, settings: Settings) -> None:
        self._kind = kind
        self._settings = domain_settings(settings)
        self._kept: dict[tuple[str, str | int], bytes] = {}
        self._since: list[JournalEntry] = []
        self.projection: Projection = kind.make(self._settings)

    def fold(self, entries: list[JournalEntry], now: float) -> None:
        self.projection.advance(now)
        for segment in segments(entries, 500):
            self.projection.fold(segment)
        self._since += entries

    def put_away(self, now: float) -> None:
        self.projection.advance(now)
        for change in self.projection.changes():
            if change.state is None:
                self._kept.pop((change.part, change.key), None)
            else:
                self._kept[change.part, change.key] = change.state
        self._since.clear()

    def crash(self, now: float) -> None:
        """Begin again with what was put away, and with the journal after that."""
        self.projection = self._kind.make(self._settings)
        kept = sorted(self._kept.items(), key=str)
        self.projection.restore([Change(*key, state) for key, state in kept])
        self.projection.advance(now)
        # Cut elsewhere than the first time.
        for segment in segments(self._since, 3):
            self.projection.fold(segment)

    def differences(self, oracle: Oracle, now: float) -> list[str]:
        found = self._kind.answers(self.projection, now)
        return [
            difference
            for question, answer in found.items()
            for difference in differences(
                msgspec.to_builtins(answer), expected(oracle, question, now), question
            )
        ]


def live(kind: Kind, workload: Workload) -> None:
    oracle, life = Oracle(workload.settings), Life(kind, workload.settings)
    for step in workload.steps:
        before = len(oracle.entries)
        oracle.send(step.at, step.request)
        life.fold(oracle.entries[before:], step.at)
        if step.then in {"put away", "restart"}:
            life.put_away(step.at)
        if step.then in {"restart", "crash"}:
            life.crash(step.at)
        if step.then != "go on":
            assert life.differences(oracle, step.at) == []
    assert life.differences(oracle, workload.end) == []


@pytest.mark.parametrize("name", ["registry", "pipeline", "costs", "budgets", "risks"])
@examples(100)
@given(workload=workloads())
def test_answers_are_those_of_the_whole_list(name: str, workload: Workload) -> None:
    live(KINDS[name], workload)


# A clock that is put back costs a forecast the oldest windows of its 30 days: it is not told here.
@examples(30)
@given(workload=workloads(back=False))
def test_forecasts_are_those_of_the_whole_list(workload: Workload) -> None:
    live(KINDS["capacity"], workload)


@pytest.mark.parametrize("name", ["costs", "pipeline"])
@examples(20)
@given(
    workload=workloads(starts_and_reports=False, thens=("go on",)),
    random=st.randoms(use_true_random=False),
)
def test_sums_do_not_depend_on_the_order_of_arrival(
    name: str,
    workload: Workload,
    random: Any,  # noqa: ANN401 - as hypothesis gives it
) -> None:
    oracle, life = Oracle(workload.settings), Life(KINDS[name], workload.settings)
    for step in workload.steps:
        oracle.send(step.at, step.request)
    shuffled = list(oracle.entries)
    random.shuffle(shuffled)
    for entry in shuffled:
        life.fold([entry], entry.recorded_at)
    assert life.differences(oracle, workload.end) == []
