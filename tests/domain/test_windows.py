"""A window's totals are the sums of what lies in it, whatever came, left, and was put away."""

from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.names import join
from buddyd.domain.windows import (
    Buckets,
    PairWindow,
    Window,
    day_floor,
    hour_of,
    midnight_minute,
    minute_of,
    month_floor,
    rfc3339,
)
from tests.support.workloads import MOMENTS, ZONES, examples

GRACE = 5

KEYS = st.sampled_from(("a", "b", ""))
VALUES = st.tuples(st.just(1), st.sampled_from((0, 7, 10**30)) | st.integers(-(10**9), 10**9))
DEEDS = st.lists(
    st.tuples(st.just("add"), st.tuples(st.integers(0, 40), KEYS, VALUES))
    | st.tuples(st.just("move"), st.integers(-GRACE, 20))
    | st.tuples(st.just("put away"), st.none())
    | st.tuples(st.just("restart"), st.none()),
    max_size=40,
)
Added = tuple[int, str, tuple[int, int]]


def sums(added: list[Added], floor: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, key, (count, value) in added:
        if number >= floor:
            cell = found.setdefault(key, [0, 0])
            cell[0] += count
            cell[1] += value
    return found


def restored(kept: dict[str | int, bytes], floor: int) -> Window:
    window = Window(GRACE)
    for key, state in kept.items():
        window.restore(key, state)
    window.move(floor)
    return window


@examples(200)
@given(deeds=DEEDS)
def test_totals_are_the_sums_of_what_lies_in_the_window(
    deeds: list[tuple[Literal["add", "move", "put away", "restart"], object]],
) -> None:
    window, floor, latest = Window(GRACE), 0, 0
    window.move(0)
    added: list[Added] = []
    kept: dict[str | int, bytes] = {}
    since: list[Added] = []
    for deed, what in deeds:
        match deed, what:
            case "add", (int(number), str(key), (int(count), int(value))):
                # Nothing comes that is further back than the grace.
                entry = (max(number, latest - GRACE), key, (count, value))
                added.append(entry)
                since.append(entry)
                window.add(*entry)
            case "move", int(by):
                floor = max(latest - GRACE, floor + by)
                latest = max(latest, floor)
                window.move(floor)
            case "put away", _:
                for name, state in window.changes():
                    kept.pop(name, None) if state is None else kept.update({name: state})
                since.clear()
            case "restart", _:
                window = restored(kept, floor)
                for entry in since:
                    window.add(*entry)
        assert window.totals == sums(added, floor)
        assert set(window) >= {number for number, _, _ in added if number >= floor}
        assert all(number >= latest - 2 * GRACE for number in kept if number in set(window))


def test_a_bucket_that_has_left_the_grace_is_forgotten_and_its_row_goes() -> None:
    window = Window(GRACE)
    window.add(1, "a", (1,))
    assert dict(window.changes()).keys() == {1}
    window.move(1 + GRACE)
    assert list(window) == [1]
    window.move(2 + GRACE)
    assert list(window) == []
    assert dict(window.changes()) == {1: None}
    assert dict(window.changes()) == {}


def test_what_comes_too_late_is_passed_over() -> None:
    window = Window(GRACE)
    window.move(10)
    window.add(10 - GRACE - 1, "a", (1,))
    window.add(10 - GRACE, "a", (1,))
    assert list(window) == [10 - GRACE]
    assert window.totals == {}


def test_a_key_whose_count_is_gone_is_gone() -> None:
    window = Window(GRACE)
    window.add(1, "a", (1, 5))
    window.move(2)
    assert window.totals == {}


PAIRS = st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")).map(lambda pair: join(*pair))


@examples(100)
@given(
    batches=st.lists(st.tuples(st.integers(0, 20), st.lists(st.tuples(PAIRS, VALUES))), max_size=9),
    floors=st.lists(st.integers(0, 20), max_size=9),
)
def test_a_window_of_pairs_finds_what_is_under_the_first_name(
    batches: list[tuple[int, list[tuple[str, tuple[int, int]]]]], floors: list[int]
) -> None:
    window, added = PairWindow(100), list[Added]()
    for number, batch in batches:
        added += [(number, pair, values) for pair, values in batch]
        if len(batch) == 1:
            window.add(number, *batch[0])
        else:
            window.add_all(number, batch)
        if floors and number % 3:
            window.move(floors.pop())
        found = {
            join(first, second): c for first in "ab" for second, c in window.under(first).items()
        }
        assert found == window.totals == sums(added, window.floor)


def test_sums_beyond_64_bits_are_kept() -> None:
    buckets, again = Buckets(), Buckets()
    buckets.add(1, "a", (2**64, -(2**70), 0))
    buckets.add(1, "b", (1, 2, 3))
    for key, state in buckets.changes():
        again.restore(key, state or b"")
    assert again.get(1) == {"a": [2**64, -(2**70), 0], "b": [1, 2, 3]}


def test_the_24_hour_window_is_this_minute_and_the_1439_before_it() -> None:
    now = datetime(2026, 3, 1, 12, 0, 59, tzinfo=UTC).timestamp()
    assert day_floor(now) == minute_of(datetime(2026, 2, 28, 12, 1, tzinfo=UTC).timestamp())
    assert day_floor(now + 1) == day_floor(now) + 1


def test_the_30_day_window_is_this_hour_and_the_719_before_it() -> None:
    now = datetime(2026, 3, 31, 12, 59, tzinfo=UTC).timestamp()
    assert month_floor(now) == hour_of(datetime(2026, 3, 1, 13, tzinfo=UTC).timestamp())
    assert month_floor(now + 60) == month_floor(now) + 1


@pytest.mark.parametrize(
    ("zone", "now", "midnight"),
    [
        ("UTC", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("UTC", "2026-02-28T23:59:59.999Z", "2026-02-28T00:00:00Z"),
        # The days on which summer time begins have 23 hours, those on which it ends 25.
        ("Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-28T23:00:00Z"),
        ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z"),
        # There is no midnight: the day begins at 1.
        ("Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z"),
        ("Africa/Cairo", "2026-04-23T21:59:59Z", "2026-04-22T22:00:00Z"),
        # The hour before midnight comes twice, or that after it does.
        ("Africa/Cairo", "2026-10-29T21:30:00Z", "2026-10-28T21:00:00Z"),
        ("America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z"),
        ("Asia/Kolkata", "2026-03-01T18:29:59Z", "2026-02-28T18:30:00Z"),
    ],
)
def test_today_begins_at_midnight_where_the_daemon_is(zone: str, now: str, midnight: str) -> None:
    time = datetime.fromisoformat(now).timestamp()
    begin = midnight_minute(time, ZoneInfo(zone)) * 60
    assert rfc3339(begin) == midnight


@examples(100)
@given(
    zone=st.sampled_from(ZONES),
    moment=st.sampled_from(MOMENTS),
    ago=st.integers(-90_000_000, 90_000_000),
)
def test_a_day_begins_in_its_first_minute(zone: str, moment: float, ago: int) -> None:
    now, there = moment + ago / 1000, ZoneInfo(zone)
    begin = midnight_minute(now, there) * 60
    today = datetime.fromtimestamp(now, there).date()
    assert datetime.fromtimestamp(begin, there).date() == today
    assert datetime.fromtimestamp(begin - 1, there).date() != today


def test_times_are_told_in_utc_and_end_in_z() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1774746000.25) == "2026-03-29T01:00:00.250000Z"
