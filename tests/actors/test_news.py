"""The news: a reader is given all that follows what it knows, or is told to look elsewhere."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.actors.news import SEGMENT_ENTRIES, News
from buddyd.domain.journal import AgentReported, JournalEntry
from buddyd.domain.segment import Segment
from tests.support.workloads import examples

READERS = ("ann", "bob")
HOUR = 3600.0


def entries(first: int, count: int, at: float = 0.0) -> list[JournalEntry]:
    """Some that follow each other."""
    return [
        AgentReported(seq, at, "agent", queue_depth=None, status=None, concurrency=None)
        for seq in range(first, first + count)
    ]


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
    committed = told = gap = shared = 0
    for who, number in steps:
        if who == "commit":
            gap = committed if told < committed else gap
            news.add(entries(committed + 1, number))
            committed = told = committed + number
        elif who == "commit untold":
            committed += number
        else:
            # It may have read on elsewhere; and it knows less than before where it began anew.
            known[who] = seq = max(0, committed - number)
            shared = max(shared, min(known.values()))
            given = seqs(news.after(who, seq))
            if given is not None:
                assert [each for each in given if each > seq] == list(range(seq + 1, told + 1))
            elif seq < told:
                assert seq < max(gap, shared, told - most)


def test_what_everybody_has_read_is_forgotten() -> None:
    news = News(READERS)
    news.add(entries(1, 3))
    assert seqs(news.after("ann", 0)) == [1, 2, 3]
    assert seqs(news.after("bob", 0)) == [1, 2, 3]
    assert news.after("ann", 3) is None
    assert seqs(news.after("bob", 0)) == [1, 2, 3]
    assert news.after("bob", 3) is None
    assert news.after("bob", 0) is None


def test_readers_share_what_they_read() -> None:
    news = News(READERS)
    for seq in (1, 2):
        news.add(entries(seq, 1))
    (first,), (second,) = news.after("ann", 0) or (), news.after("bob", 0) or ()
    assert first is second


def test_who_falls_too_far_behind_is_told_so() -> None:
    news = News(READERS, most=2 * SEGMENT_ENTRIES)
    news.add(entries(1, 3 * SEGMENT_ENTRIES))
    assert news.after("ann", 0) is None
    found = seqs(news.after("bob", SEGMENT_ENTRIES))
    assert found == list(range(SEGMENT_ENTRIES + 1, 3 * SEGMENT_ENTRIES + 1))


@pytest.mark.parametrize("untold", [1, 7])
def test_nobody_is_given_news_with_a_gap(untold: int) -> None:
    news = News(READERS)
    news.add(entries(1, 2))
    news.add(entries(3 + untold, 1))
    assert news.after("ann", 0) is None
    assert seqs(news.after("ann", 2 + untold)) == [3 + untold]


def test_what_came_in_different_hours_is_not_one() -> None:
    news = News(READERS)
    news.add(entries(1, 1))
    news.add(entries(2, 1, at=HOUR))
    assert [segment.hour for segment in news.after("ann", 0) or ()] == [0, 1]
