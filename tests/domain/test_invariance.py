"""What must make no difference to an answer: the order of arrival, the day, the unit."""

import math
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.anomalies import Baseline
from buddyd.domain.capacity import Capacity
from buddyd.domain.journal import AgentReported, ExecutionRecorded, JournalEntry
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from buddyd.domain.tools import Tools
from tests.backtest.forecasts import predictions
from tests.support.workloads import examples

HOUR, DAY = 3600.0, 86_400.0
NOW = 1_780_394_400.0

HISTORIES = st.lists(
    st.builds(
        ExecutionRecorded,
        seq=st.just(1),
        recorded_at=st.just(NOW),
        agent=st.sampled_from(("ann", "ben")),
        tool=st.sampled_from(("search", "browse", "write")),
        execution_id=st.just(""),
        task_id=st.just("task"),
        # Quarters of a second, which floats hold exactly at any date.
        finished_at=st.integers(1, 4 * 6 * 86_400).map(lambda ago: NOW - ago / 4),
        duration=st.integers(0, 3 * 3600 * 10**6),
        success=st.booleans(),
        cost=st.just(0),
        estimate=st.just(0),
        tokens=st.just(0),
        effort=st.just("MEDIUM"),
        browser=st.just(False),
        error_type=st.none(),
    ),
    min_size=1,
    max_size=30,
)
SHUFFLES = st.randoms(use_true_random=False)


def forecasts(entries: Iterable[JournalEntry], now: float, most: int = 500) -> Any:  # noqa: ANN401 - an answer as plain values
    capacity = Capacity(DomainSettings())
    for segment in segments(list(entries), most):
        capacity.fold(segment)
    return msgspec.to_builtins(capacity.answer(now))["forecasts"]


def said(agent: str) -> AgentReported:
    """An agent tells what it can do at once, so that nobody has to guess it from the order."""
    return AgentReported(
        seq=1, recorded_at=NOW, agent=agent, queue_depth=None, status=None, concurrency=4
    )


@examples(40)
@given(history=HISTORIES, random=SHUFFLES)
def test_a_forecast_does_not_depend_on_the_order_of_arrival(
    history: list[ExecutionRecorded], random: Random
) -> None:
    reports = [said("ann"), said("ben")]
    shuffled = random.sample(history, len(history))
    assert forecasts([*reports, *history], NOW) == forecasts([*reports, *shuffled], NOW, most=3)


@examples(60)
@given(history=HISTORIES, put_away=st.booleans())
def test_a_forecast_does_not_depend_on_who_asked_before(
    history: list[ExecutionRecorded], *, put_away: bool
) -> None:
    def sooner(entry: ExecutionRecorded) -> ExecutionRecorded:
        """In the last few hours, where a tool grows."""
        ago = (NOW - entry.finished_at) % (4 * HOUR)
        return msgspec.structs.replace(entry, finished_at=NOW - ago)

    entries = [*map(sooner, history)]
    asked = Capacity(DomainSettings())
    for segment in segments(entries, 2):
        asked.fold(segment)
        asked.answer(NOW)
        if put_away:
            asked.changes()
    assert msgspec.to_builtins(asked.answer(NOW))["forecasts"] == forecasts(entries, NOW)


@examples(40)
@given(history=HISTORIES, days=st.integers(-400, 400))
def test_a_forecast_does_not_depend_on_the_date(
    history: list[ExecutionRecorded], days: int
) -> None:
    def moved(entry: ExecutionRecorded) -> ExecutionRecorded:
        times = {"recorded_at": entry.recorded_at, "finished_at": entry.finished_at}
        return msgspec.structs.replace(entry, **{k: at + days * DAY for k, at in times.items()})

    then, now = forecasts(map(moved, history), NOW + days * DAY), forecasts(history, NOW)
    for forecast in (*then, *now):
        forecast["predicted_completion_time"] = forecast["predicted_completion_time"] is not None
    assert then == now


@examples(40)
@given(
    loads=st.lists(st.sampled_from((0.0, 0.3)) | st.floats(0.01, 1.0), min_size=2, max_size=80),
    doublings=st.integers(-6, 6),
    width=st.sampled_from((300, 3600)),
)
def test_a_forecast_scales_with_the_load(loads: list[float], doublings: int, width: int) -> None:
    hours = [number % 24 for number in range(len(loads) + 1)]
    times = 2.0**doublings
    scaled = [each.value for each in predictions([times * load for load in loads], hours, width)]
    assert scaled == [times * each.value for each in predictions(loads, hours, width)]


@examples(40)
@given(seed=st.integers(0, 2**32), currency=st.sampled_from((0.01, 7.3, 1000.0)))
def test_what_stands_out_does_not_depend_on_the_currency(seed: int, currency: float) -> None:
    random = Random(seed)
    costs = [math.exp(random.gauss(0.0, 1.0)) for _ in range(100)]

    def found(unit: float) -> list[str | None]:
        baseline = Baseline(1)
        findings = [baseline.add(unit * cost, 2.0, 5) for cost in costs]
        return [finding and finding.kind for finding in findings]

    assert found(currency) == found(1.0)


@examples(40)
@given(history=HISTORIES, cuts=st.integers(1, 7))
def test_the_moment_of_a_change_does_not_depend_on_cuts_and_restarts(
    history: list[ExecutionRecorded], cuts: int
) -> None:
    arrivals = [
        msgspec.structs.replace(entry, seq=seq, recorded_at=NOW + seq * HOUR * 7)
        for seq, entry in enumerate(history, 1)
    ]
    end = NOW + 33 * DAY
    whole, cut = Tools(DomainSettings()), Tools(DomainSettings())
    kept: dict[tuple[str, str | int], Any] = {}
    for segment in segments(arrivals, 500):
        whole.fold(segment)
    for segment in segments(arrivals, cuts):
        cut.fold(segment)
        cut.advance(segment.entries[-1].recorded_at)
        kept |= {(change.part, change.key): change for change in cut.changes()}
        cut = Tools(DomainSettings())
        cut.restore(kept.values())
    for now in (arrivals[-1].recorded_at, end - 2 * DAY, end):
        assert cut.answer(now) == whole.answer(now)
