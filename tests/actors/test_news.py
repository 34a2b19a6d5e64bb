"""The news: a reader is given all that follows what it knows, or is told to look elsewhere."""

from collections.abc import Sequence
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.actors import news as module
from buddyd.actors.news import SEGMENT_ENTRIES, News
from buddyd.domain.journal import AgentReported
from buddyd.domain.segment import Segment
from buddyd.storage.appending import Appended
from tests.support.workloads import examples

READERS = ("ann", "bob")
HOUR = 3600.0


def committed(first: int, count: int, at: float = 0.0) -> Appended:
    """Some entries that follow each other."""
    last = first + count - 1
    return Appended(
        first_seq=first,
        last_seq=last,
        recorded_at=at,
        receipts=[],
        seqs=[],
        executions=[],
        agents=[],
        tools=[],
        events=[
            AgentReported(seq, at, "agent", queue_depth=None, status=None, concurrency=None)
            for seq in range(first, last + 1)
        ],
    )


def seqs(segments: Sequence[Segment] | None) -> list[int] | None:
    """The numbers of the entries that a reader was given."""
    return segments and [entry.seq for segment in segments for entry in segment.entries]


@examples(200)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("commit"), st.integers(1, 5)),
            st.tuples(st.just("commit untold"), st.integers(1, 5)),
            st.tuples(st.sampled_from(READERS), st.integers(0, 9)),
        ),
        max_size=40,
    ),
    most=st.integers(0, 12),
)
def test_a_reader_is_given_all_that_follows_or_nothing(
    steps: list[tuple[str, int]], most: int
) -> None:
    news, known = News(READERS, most), dict.fromkeys(READERS, 0)
    last = told = gap = shared = 0
    for who, number in steps:
        if who == "commit":
            gap = last if told < last else gap
            news.add(committed(last + 1, number))
            last = told = last + number
        elif who == "commit untold":
            last += number
        else:
            # It may have read on elsewhere; and it knows less than before where it began anew.
            known[who] = max(0, last - number)
            shared = max(shared, min(known.values()))
            with patch.object(module, "SEGMENT_ENTRIES", 3):
                known[who], was_given = read_on(news, who, known[who])
            assert known[who] >= told or known[who] < max(gap, shared, told - most)
            assert not was_given or known[who] == told
            shared = max(shared, min(known.values()))


def read_on(news: News, reader: str, seq: int) -> tuple[int, bool]:
    """What a reader knows when it has read all there is after `seq`; whether there was any."""
    was_given = False
    while given := seqs(news.after(reader, seq)):
        was_given = True
        assert [each for each in given if each > seq] == list(range(seq + 1, given[-1] + 1))
        assert given[-1] > seq
        seq = given[-1]
    return seq, was_given


def test_what_everybody_has_read_is_forgotten() -> None:
    news = News(READERS)
    news.add(committed(1, 3))
    assert seqs(news.after("ann", 0)) == [1, 2, 3]
    assert seqs(news.after("bob", 0)) == [1, 2, 3]
    assert news.after("ann", 3) is None
    assert seqs(news.after("bob", 0)) == [1, 2, 3]
    assert news.after("bob", 3) is None
    assert news.after("bob", 0) is None


def test_readers_share_what_they_read() -> None:
    news = News(READERS)
    for seq in (1, 2):
        news.add(committed(seq, 1))
    (first,), (second,) = news.after("ann", 0) or (), news.after("bob", 0) or ()
    assert first is second


def test_who_falls_too_far_behind_is_told_so() -> None:
    news = News(READERS, most=2 * SEGMENT_ENTRIES)
    for number in range(3):
        news.add(committed(number * SEGMENT_ENTRIES + 1, SEGMENT_ENTRIES))
    assert news.after("ann", 0) is None
    assert read_on(news, "bob", SEGMENT_ENTRIES) == (3 * SEGMENT_ENTRIES, True)


@pytest.mark.parametrize("untold", [1, 7])
def test_nobody_is_given_news_with_a_gap(untold: int) -> None:
    news = News(READERS)
    news.add(committed(1, 2))
    news.add(committed(3 + untold, 1))
    assert news.after("ann", 0) is None
    assert seqs(news.after("ann", 2 + untold)) == [3 + untold]


def test_what_came_in_different_hours_is_not_one() -> None:
    news = News(READERS)
    news.add(committed(1, 1))
    news.add(committed(2, 1, at=HOUR))
    assert [segment.hour for segment in news.after("ann", 0) or ()] == [0, 1]


def test_it_is_read_in_pieces() -> None:
    news = News(READERS)
    news.add(committed(1, SEGMENT_ENTRIES + 1))
    (piece,) = news.after("ann", 0) or ()
    assert len(piece.entries) == SEGMENT_ENTRIES
