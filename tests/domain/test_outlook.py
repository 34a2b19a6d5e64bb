"""An outlook is that of the whole series, whatever was known before, and costs little then."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from buddyd.domain.capacity import Capacity
from buddyd.domain.forecast import Backcaster
from buddyd.domain.journal import (
    AgentReported,
    ExecutionRecorded,
    ExecutionStarted,
    JournalEntry,
    microseconds,
)
from buddyd.domain.load import BusySeries
from buddyd.domain.outlook import STEPS_OF_A_WALK, Outlooks
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from tests.support.workloads import examples

HOUR, DAY = 3600.0, 86_400.0
BEGIN = 20_000 * DAY
SETTINGS = DomainSettings(capacity_window_seconds=86_400)
"""A series is thirty windows long: it soon loses the first one."""
LENGTH = 30
AGENTS = ("ann", "ben")
PLENTY = 10**6


class Event(Struct, frozen=True):
    """What comes after a while, and who looks then."""

    pause: float
    agent: str
    kind: str
    late: float
    duration: float
    amount: int
    then: str


EVENTS = st.lists(
    st.builds(
        Event,
        pause=st.sampled_from((1.0, HOUR, 11 * HOUR, DAY / 2, DAY, DAY, DAY, 3 * DAY, 28 * DAY)),
        agent=st.sampled_from(AGENTS),
        kind=st.sampled_from(("run", "run", "run", "run", "start", "report")),
        late=st.sampled_from((0.0, 0.0, HOUR, DAY, 2 * DAY, 5 * DAY, 9 * DAY, 31 * DAY)),
        duration=st.sampled_from((5.0, HOUR, 0.3 * DAY, 0.9 * DAY, 3 * DAY)),
        amount=st.sampled_from((0, 0, 0, 1, 3)),
        then=st.sampled_from(("ask", "ask", "prepare", "prepare", "restart", "go on")),
    ),
    min_size=12,
    max_size=40,
)
PRESENT = [Event(0.0, agent, "run", 0.0, 0.0, 0, "go on") for agent in AGENTS]
"""Runs that took no time: whoever has one is told of, and nothing else changes."""


def entry(seq: int, event: Event, now: float) -> JournalEntry:
    if event.kind == "report":
        return AgentReported(
            seq=seq,
            recorded_at=now,
            agent=event.agent,
            queue_depth=event.amount,
            status=None,
            concurrency=event.amount or None,
        )
    if event.kind == "start":
        return ExecutionStarted(
            seq=seq,
            recorded_at=now,
            agent=event.agent,
            task_id=f"{seq}",
            tool="search",
            started_at=now - event.late % HOUR,
        )
    return ExecutionRecorded(
        seq=seq,
        recorded_at=now,
        agent=event.agent,
        tool="search",
        execution_id=f"{seq}",
        task_id=f"{seq - event.amount}",
        finished_at=now - event.late,
        duration=microseconds(event.duration),
        success=True,
        cost=0,
        estimate=0,
        tokens=0,
        effort="MEDIUM",
        browser=False,
        error_type=None,
    )


class Asked:
    """A projection that is looked at all the time."""

    def __init__(self) -> None:
        self.projection = Capacity(SETTINGS)
        self._kept: dict[tuple[str, str | int], Any] = {}

    def look(self, then: str, now: float, most: int) -> None:
        if then == "ask":
            self.projection.answer(now)
        elif then == "prepare":
            self.projection.prepare(now, most)
        elif then == "restart":
            self._kept |= {(each.part, each.key): each for each in self.projection.changes()}
            self.projection = Capacity(SETTINGS)
            self.projection.restore(self._kept.values())


@examples(150)
@given(events=EVENTS, most=st.sampled_from((1, 10, PLENTY)), end=st.sampled_from((0.0, 1.0, HOUR)))
def test_who_is_asked_all_the_time_answers_as_who_is_asked_once(
    events: list[Event], most: int, end: float
) -> None:
    asked, quiet, now = Asked(), Capacity(SETTINGS), BEGIN
    for seq, event in enumerate([*events, *PRESENT], 1):
        now += event.pause
        for projection in (asked.projection, quiet):
            projection.advance(now)
            for segment in segments([entry(seq, event, now)], 500):
                projection.fold(segment)
        asked.look(event.then, now, most)
        asked.projection.advance(now)
    answers = [projection.answer(now + end) for projection in (asked.projection, quiet)]
    assert answers[0] == answers[1]


Action = tuple[str, int, int]
"""What happens, how many windows ago or how many steps along, and how much of it there is."""
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(("work", "work", "turn", "ask", "ask", "prepare", "prepare next", "back")),
        st.sampled_from((0, 1, 1, 2, 4, 9, 40)),
        st.integers(1, 3),
    ),
    min_size=20,
    max_size=60,
)


@examples(150)
@given(actions=ACTIONS, length=st.sampled_from((4, 9, LENGTH)))
def test_what_is_kept_makes_no_difference(actions: list[Action], length: int) -> None:
    made, current = series([]), 100
    made.length = length
    outlooks = Outlooks(made)
    for kind, number, amount in actions:
        match kind:
            case "work":
                work(made, current - number, 12 * amount)
            case "turn":
                current += amount
            case "back":
                current -= 1
            case "prepare":
                outlooks.prepare("ann", amount, current, number)
            case "prepare next":
                outlooks.prepare_next("ann", amount, current, number)
            case "ask":
                found = outlooks.get("ann", amount, current)
                assert found == Outlooks(deepcopy(made)).get("ann", amount, current)
        made.move(current - length)
        outlooks.forget()


def test_a_clock_that_is_put_back_finds_the_outlook_of_then() -> None:
    days = [(day, day % 3) for day in range(12)]
    asked, once = series(days), series(days)
    outlooks = Outlooks(asked)
    for current in (11, 12, 10, 11):
        assert outlooks.get("ann", 1, current) == Outlooks(once).get("ann", 1, current)


# What it costs


def series(days: list[tuple[int, int]]) -> BusySeries:
    """A series with so many busy hours in each of these windows."""
    made = BusySeries(86_400)
    for day, hours in days:
        work(made, day, hours)
    return made


def work(made: BusySeries, day: int, hours: float) -> None:
    begin = microseconds(day * DAY)
    made.add("ann", [(begin, begin + microseconds(hours * HOUR))])


class Steps:
    """How many steps all walks took since it was asked last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._taken = 0
        observe = Backcaster.observe

        def counted(caster: Backcaster, value: float, hour: int, next_hour: int) -> None:
            self._taken += 1
            observe(caster, value, hour, next_hour)

        monkeypatch.setattr(Backcaster, "observe", counted)

    def __call__(self) -> int:
        taken, self._taken = self._taken, 0
        return taken


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def test_a_window_that_closes_costs_two_steps(steps: Steps) -> None:
    made = series([(day, 1) for day in range(20)])
    outlooks = Outlooks(made)
    outlooks.get("ann", 1, 20)
    assert steps() == 20
    outlooks.get("ann", 1, 20)
    assert steps() == 0
    outlooks.get("ann", 1, 21)
    assert steps() == 2


def test_what_comes_late_costs_a_step_where_it_is_for_the_window_that_closed_last(
    steps: Steps,
) -> None:
    made = series([(day, 1) for day in range(20)])
    outlooks = Outlooks(made)
    outlooks.get("ann", 1, 20)
    steps()
    for day, expected in ((20, 0), (19, 1), (18, 20), (19, 1)):
        work(made, day, 0.5)
        outlooks.get("ann", 1, 20)
        assert steps() == expected, day


def test_what_can_run_at_once_has_the_agent_walk_anew_where_it_cut_off_a_value(
    steps: Steps,
) -> None:
    for hours, expected in ((12, 1), (36, 20)):
        outlooks = Outlooks(series([(day, hours) for day in range(20)]))
        outlooks.get("ann", 1, 20)
        steps()
        outlooks.get("ann", 2, 20)
        assert steps() == expected


def test_a_series_that_loses_a_window_can_be_walked_along_ahead(steps: Steps) -> None:
    made = series([(0, 1), *((day, 1) for day in range(4, LENGTH + 1))])
    outlooks = Outlooks(made)
    made.move(0)
    outlooks.get("ann", 1, LENGTH)
    steps()
    while outlooks.prepare_next("ann", 1, LENGTH, 7):
        assert steps() <= 7
    outlooks.get("ann", 1, LENGTH)
    assert steps() == 0
    made.move(1)
    found = outlooks.get("ann", 1, LENGTH + 1)
    assert steps() == 1
    assert found == Outlooks(made).get("ann", 1, LENGTH + 1)


def test_a_series_that_loses_nothing_is_walked_along_by_a_step(steps: Steps) -> None:
    made = series([(day, 1) for day in range(1, LENGTH)])
    outlooks = Outlooks(made)
    outlooks.get("ann", 1, LENGTH)
    steps()
    assert outlooks.prepare_next("ann", 1, LENGTH, PLENTY) == 1 + STEPS_OF_A_WALK
    assert outlooks.prepare_next("ann", 1, LENGTH, PLENTY) == 0
    assert steps() == 1
    outlooks.get("ann", 1, LENGTH + 1)
    assert steps() == 1


def test_who_has_walked_ahead_can_still_tell_the_outlook_of_now(steps: Steps) -> None:
    outlooks = Outlooks(series([(day, 1) for day in range(1, LENGTH)]))
    outlooks.get("ann", 1, LENGTH)
    while outlooks.prepare_next("ann", 1, LENGTH, PLENTY):
        pass
    steps()
    outlooks.get("ann", 2, LENGTH)
    assert steps() == 0


def test_who_walks_ahead_waits_for_the_outlook_of_now(steps: Steps) -> None:
    outlooks = Outlooks(series([(day, 1) for day in range(20)]))
    assert outlooks.prepare_next("ann", 1, 20, PLENTY) == 0
    assert steps() == 0


def test_what_is_prepared_in_parts_is_what_a_query_finds(steps: Steps) -> None:
    made = series([(day, day % 5) for day in range(1, 25)])
    outlooks, parts = Outlooks(made), []
    while part := outlooks.prepare("ann", 1, 25, 6):
        parts.append(part - STEPS_OF_A_WALK)
        assert steps() == parts[-1]
    assert parts == [6, 6, 6, 6]
    found = outlooks.get("ann", 1, 25)
    assert steps() == 0
    assert found == Outlooks(made).get("ann", 1, 25)


def test_late_records_do_not_keep_a_walk_from_its_end(steps: Steps) -> None:
    made = series([(day, 1) for day in range(25)])
    outlooks = Outlooks(made)
    work(made, 3, 1)
    while outlooks.prepare("ann", 1, 25, 6):
        pass
    assert steps() == 25


def test_nothing_is_kept_of_an_agent_without_a_series() -> None:
    made = series([(day, 1) for day in range(5)])
    outlooks = Outlooks(made)
    outlooks.get("ann", 1, 5)
    made.move(9)
    outlooks.forget()
    assert not outlooks._known
    assert not outlooks._walks
