"""The first names count under themselves, and those beyond the limit together."""

from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.names import IDLE_DAYS, OTHER, NameBook, join, split
from tests.support.workloads import examples

NAMES = st.sampled_from(("a", "b", "c", "é", "e\u0301", OTHER))


@examples(100)
@given(transactions=st.lists(st.lists(NAMES), max_size=6), limit=st.integers(1, 4))
def test_names_are_counted_first_come_first_served(
    transactions: list[list[str]], limit: int
) -> None:
    book, seq = NameBook(limit), 1
    first_seen: list[str] = []
    for names in transactions:
        draft = book.draft(seq, 1)
        for name in names:
            if name not in first_seen and name != OTHER and len(first_seen) < limit:
                first_seen.append(name)
            assert draft.counted([name]) == [name if name in first_seen else OTHER]
        assert draft.counted(names) == [name if name in first_seen else OTHER for name in names]
        book.accept(draft)
        seq += len(names)
    assert list(book.names) == first_seen


def test_what_is_not_committed_changes_nothing() -> None:
    book = NameBook(1)
    assert book.draft(1, 1).counted(["a"]) == ["a"]
    assert book.draft(1, 1).counted(["b"]) == ["b"]
    assert book.names == {}


def test_a_name_remembers_from_which_entry_on_it_counts() -> None:
    book = NameBook(2)
    for seq, today in ((7, 1), (9, 2)):
        draft = book.draft(seq, today)
        draft.counted(["a"])
        book.accept(draft)
    assert book.names == {"a": (7, 2)}


def test_a_name_that_was_used_today_already_is_not_written_again() -> None:
    book = NameBook(2, {"a": (7, 2)})
    draft = book.draft(9, 2)
    draft.counted(["a"])
    assert draft.changed == {}


def test_a_name_that_has_left_every_window_makes_room() -> None:
    book = NameBook(1, {"a": (1, 10)})
    assert book.idle(10 + IDLE_DAYS) == []
    idle = book.idle(10 + IDLE_DAYS + 1)
    assert idle == ["a"]
    book.release(idle)
    assert book.draft(2, 50).counted(["b"]) == ["b"]


def test_a_full_book_keeps_the_place_of_its_names() -> None:
    book = NameBook(1, {"a": (1, 1)})
    assert book.draft(5, 1).counted(["b", "a", "b"]) == [OTHER, "a", OTHER]


@given(first=NAMES, second=NAMES)
def test_two_names_make_one_key_and_come_back(first: str, second: str) -> None:
    assert split(join(first, second)) == (first, second)
