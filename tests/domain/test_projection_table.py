"""The rows of a table: which one gives way to a new one."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from buddyd.domain.projection import Table
from tests.support.workloads import examples

RESTART = ""


class Row(Struct):
    seq: int


@examples(60)
@given(random=st.randoms(use_true_random=False), capacity=st.integers(2, 5))
def test_the_row_that_was_touched_longest_ago_gives_way(random: Random, capacity: int) -> None:
    table, kept, newest = Table(Row, capacity), dict[str, bytes | None](), list[str]()
    for seq, key in enumerate(random.choices(["a", "b", "c", "d", "e", "f", RESTART], k=30)):
        if key == RESTART:
            kept |= {str(key): state for key, state in table.changes()}
            table = Table(Row, capacity)
            for each, state in sorted(kept.items()):
                if state is not None:
                    table.restore(each, state)
            continue
        row = table.touch(key) or table.put(key, Row(seq))
        row.seq = seq
        newest = [key, *(other for other in newest if other != key)][:capacity]
        assert set(table.rows) == set(newest)
