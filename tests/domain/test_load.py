"""Busy time falls where an execution ran, and counts for each window that it touches."""

import sys
from collections.abc import Callable
from random import Random
from types import FrameType

from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.load import REMEMBERED_DAYS, UNTOUCHED, BusySeries, Concurrency
from tests.support.workloads import examples

WIDTH = 300
SECOND = 1_000_000
DAY = 86_400 * SECOND

# Start and end, in seconds; the ends of windows are among them.
RUNS = st.lists(
    st.tuples(st.sampled_from(("a", "b")), st.integers(0, 6000), st.sampled_from((0, 1, 300, 2000)))
    .map(lambda run: (run[0], run[1] * SECOND, (run[1] + run[2]) * SECOND)),
    max_size=20,
)  # fmt: skip


def utilisation(
    runs: list[tuple[str, int, int]], agent: str, first: int, current: int
) -> list[float]:
    busy = [
        sum(
            max(0, min(end, (window + 1) * WIDTH * SECOND) - max(start, window * WIDTH * SECOND))
            for name, start, end in runs
            if name == agent
        )
        / (WIDTH * SECOND)
        for window in range(first, current)
    ]
    while busy and not busy[0]:
        del busy[0]
    return busy


@examples(150)
@given(
    runs=RUNS,
    current=st.integers(0, 30),
    floor=st.integers(0, 12),
    together=st.booleans(),
    restart=st.booleans(),
)
def test_busy_time_counts_where_the_execution_ran(
    runs: list[tuple[str, int, int]], current: int, floor: int, *, together: bool, restart: bool
) -> None:
    series = BusySeries(WIDTH)
    if together:
        for agent in ("a", "b"):
            series.add(agent, [run[1:] for run in runs if run[0] == agent])
    else:
        for run in runs:
            series.add(run[0], [run[1:]])
    if restart:
        again = BusySeries(WIDTH)
        for key, state in series.changes():
            if state is not None:
                again.restore(key, state)
        series = again
    series.move(floor)
    for agent in ("a", "b"):
        assert series.utilisation(agent, current) == utilisation(runs, agent, floor, current)


def test_a_window_that_left_is_gone_from_what_is_put_away() -> None:
    series = BusySeries(WIDTH)
    series.add("a", [(0, 2 * WIDTH * SECOND)])
    assert {key for key, state in series.changes() if state} == {0, 1}
    series.move(1)
    assert dict(series.changes()) == {0: None}
    series.move(2)
    assert dict(series.changes()) == {1: None}
    assert series.rows == {}


def test_executions_of_a_month_cost_little_more_than_those_of_a_second() -> None:
    """A client can send thousands of them, and everybody else waits while they are counted."""
    month = 30 * DAY // SECOND
    short, long = (
        calls(lambda length=length: BusySeries(WIDTH).add("a", runs_of(length)))  # type: ignore[misc]
        for length in (1, month)
    )
    assert long < 10 * short


def runs_of(seconds: int) -> list[tuple[int, int]]:
    return [(end - seconds * SECOND, end) for end in range(40 * DAY, 40 * DAY + 1000)]


def calls(work: Callable[[], None]) -> int:
    """How many functions are called meanwhile."""
    count = 0

    def note(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_an_execution_that_took_no_time_makes_no_series() -> None:
    series = BusySeries(WIDTH)
    series.add("a", [(WIDTH * SECOND, WIDTH * SECOND)])
    series.add("a", [(WIDTH * SECOND + 1, WIDTH * SECOND + 1)])
    assert series.utilisation("a", 9) == []


def test_a_series_tells_the_earliest_window_that_was_touched() -> None:
    series = BusySeries(WIDTH)
    series.add("a", [(5 * WIDTH * SECOND, 6 * WIDTH * SECOND + 1)])
    assert series.rows["a"].touched == 5
    series.rows["a"].touched = UNTOUCHED
    series.add("a", [(6 * WIDTH * SECOND, 6 * WIDTH * SECOND + 1)])
    assert series.rows["a"].touched == 6


def test_windows_know_their_hour_of_the_day() -> None:
    series = BusySeries(5400)
    assert [series.hour_of_day(window) for window in (0, 1, 15, 16)] == [0, 1, 22, 0]


# How much ran at once


def most(*runs: tuple[float, float]) -> int:
    concurrency = Concurrency()
    for start, end in runs:
        concurrency.add([(round(start * SECOND), round(end * SECOND))])
    return concurrency.most


def test_at_least_one_runs_at_once() -> None:
    assert most() == 1
    assert most((0, 5)) == 1


def test_those_that_follow_each_other_do_not_run_at_once() -> None:
    assert most((0, 5), (5, 9), (9, 12)) == 1


def test_clocks_that_are_off_by_ten_milliseconds_do_not_make_it_two() -> None:
    assert most((0, 5), (4.99, 9)) == 1
    assert most((0, 5), (4.9899, 9)) == 2


def test_three_that_overlap_only_in_pairs_are_two_at_once() -> None:
    assert most((0, 5), (4, 9), (8, 12)) == 2
    assert most((0, 5), (8, 12), (4, 9)) == 2


def test_what_took_less_than_the_tolerance_does_not_count() -> None:
    assert most((0, 5), (3, 3.01), (3, 3)) == 1


@examples(100)
@given(
    runs=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=40),
    seed=st.integers(0, 99),
)
def test_the_order_of_arrival_makes_no_difference(runs: list[tuple[int, int]], seed: int) -> None:
    times = [(start, start + length) for start, length in runs]
    shuffled = Random(seed).sample(times, len(times))
    depths = [sum(a + 0.01 <= begin + 0.01 < b for a, b in times if b > a) for begin, _ in times]
    assert most(*times) == most(*shuffled) == max([1, *depths])


def test_what_was_seen_more_than_thirty_days_ago_is_forgotten() -> None:
    concurrency = Concurrency()
    for _ in range(3):
        concurrency.add([(0, SECOND)])
    assert concurrency.most == 3
    end = REMEMBERED_DAYS * DAY
    concurrency.add([(end, end + SECOND)])
    assert concurrency.most == 3
    concurrency.add([(end + DAY, end + DAY + SECOND)])
    assert concurrency.most == 1
