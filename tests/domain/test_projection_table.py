"""The rows of a table: which one gives way to a new one."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from buddyd.domain.projection import Table
from tests.support.workloads import examples


class Row(Struct):
    seq: int


KEYS = st.lists(st.sampled_from("abcdefg"), max_size=40)


def use(table: Table[Row], keys: list[str], first_seq: int) -> None:
    for seq, key in enumerate(keys, first_seq):
        row = table.touch(key) or table.put(key, Row(seq))
        row.seq = seq


@examples(100)
@given(before=KEYS, after=KEYS, capacity=st.integers(1, 6))
def test_the_row_that_was_touched_longest_ago_gives_way(
    before: list[str], after: list[str], capacity: int
) -> None:
    table = Table(Row, capacity)
    use(table, before, 1)
    restored = Table(Row, capacity)
    for key, state in sorted(table.changes()):
        if state is not None:
            restored.restore(key, state)
    use(restored, after, len(before) + 1)
    newest = list(dict.fromkeys(reversed(before + after)))
    assert set(restored.rows) == set(newest[:capacity])
