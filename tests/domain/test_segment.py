"""Segments add up what they hold, and cutting the journal elsewhere changes no sum."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.journal import AgentReported, ExecutionRecorded, JournalEntry
from buddyd.domain.segment import Segment, Sum, failures_in_a_row, segments
from buddyd.domain.windows import hour_of, minute_of

HOUR = 3600.0


def recorded(  # noqa: PLR0917 - what the strategy draws
    agent: str, tool: str, age: float, duration: int, success: bool, cost: int
) -> ExecutionRecorded:
    return ExecutionRecorded(
        seq=0,
        recorded_at=1_780_000_000.0,
        agent=agent,
        tool=tool,
        execution_id="x",
        task_id="t",
        finished_at=1_780_000_000.0 - age,
        duration=duration,
        success=success,
        cost=cost,
        estimate=2 * cost,
        tokens=3,
        effort="MEDIUM",
        browser=False,
        error_type=None,
    )


def reported(agent: str) -> AgentReported:
    return AgentReported(
        seq=0,
        recorded_at=1_780_000_000.0,
        agent=agent,
        queue_depth=1,
        status=None,
        concurrency=None,
    )


def numbered(entries: list[JournalEntry], gaps: list[float]) -> list[JournalEntry]:
    """The entries in the order in which they were recorded, each a while after the one before."""
    at, result = 1_780_000_000.0, []
    for seq, (entry, gap) in enumerate(zip(entries, gaps, strict=False), 1):
        at += gap
        result.append(type(entry)(**{**_fields(entry), "seq": seq, "recorded_at": at}))
    return result


def _fields(entry: JournalEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


names = st.sampled_from("ab")
entries = st.one_of(
    st.builds(
        recorded,
        names,
        names,
        st.floats(0.0, 200.0),
        st.integers(0, 10**9),
        st.booleans(),
        st.integers(0, 10**15),
    ),
    st.builds(reported, names),
)
journals = st.builds(
    numbered,
    st.lists(entries, min_size=1, max_size=30),
    st.lists(st.sampled_from([0.0, 1.0, 2 * HOUR]), min_size=30, max_size=30),
)


def total(cut: list[Segment], name: str) -> Counter[tuple[int, str, str]]:
    """All sums of one kind, by minute, name and column."""
    found: Counter[tuple[int, str, str]] = Counter()
    for segment in cut:
        for each in getattr(segment, name):
            for column in Sum.__struct_fields__[2:]:
                found[each.minute, each.name, column] += getattr(each, column)
    return found


@given(journal=journals, most=st.integers(1, 7))
def test_however_it_is_cut_it_adds_up_to_the_same(journal: list[JournalEntry], most: int) -> None:
    naive: dict[str, Counter[tuple[int, str, str]]] = {
        "tool_sums": Counter(),
        "agent_sums": Counter(),
    }
    for entry in journal:
        if not isinstance(entry, ExecutionRecorded):
            continue
        columns = {
            "executions": 1,
            "successes": int(entry.success),
            "duration": entry.duration,
            "cost": entry.cost,
            "estimate": entry.estimate,
            "tokens": entry.tokens,
        }
        for column, value in columns.items():
            minute = minute_of(entry.finished_at)
            naive["tool_sums"][minute, entry.tool, column] += value
            naive["agent_sums"][minute, entry.agent, column] += value
    for name, expected in naive.items():
        assert total(list(segments(journal, most)), name) == expected


@given(journal=journals, most=st.integers(1, 7))
def test_a_segment_is_of_one_hour_and_none_is_left_out(
    journal: list[JournalEntry], most: int
) -> None:
    cut = list(segments(journal, most))
    assert [entry for segment in cut for entry in segment.entries] == journal
    for segment in cut:
        assert len(segment.entries) <= most
        assert {hour_of(entry.recorded_at) for entry in segment.entries} == {segment.hour}


@given(journal=journals, seq=st.integers(0, 31))
def test_what_follows_an_entry_begins_after_it(journal: list[JournalEntry], seq: int) -> None:
    rest = [segment.after(seq) for segment in segments(journal, 5)]
    kept = [entry.seq for segment in rest if segment is not None for entry in segment.entries]
    assert kept == [entry.seq for entry in journal if entry.seq > seq]


@pytest.mark.parametrize(
    ("before", "outcomes", "after"),
    [(2, "ffs", 0), (2, "ff", 4), (2, "sff", 2), (0, "s", 0), (1, "fsf", 1)],
)
def test_failures_in_a_row_go_on_from_those_before(before: int, outcomes: str, after: int) -> None:
    executions = [recorded("a", "b", 0.0, 1, outcome == "s", 0) for outcome in outcomes]
    assert failures_in_a_row(before, executions) == after
