"""What a terminal sends, cut into keys."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli.live.keys import Keys

SENT = {
    b"q": "q",
    "é".encode(): "é",
    b"\r": "enter",
    b"\t": "tab",
    b"\x7f": "backspace",
    b"\x1b[A": "up",
    b"\x1bOB": "down",
    b"\x1b[1;2C": "right",
    b"\x1b[5~": "page-up",
    b"\x1b[6;5~": "page-down",
    b"\x1b[Z": "back-tab",
    b"\x1b[H": "home",
    b"\x1b[4~": "end",
}


@pytest.mark.parametrize("sent", SENT)
def test_a_key_has_a_name(sent: bytes) -> None:
    keys = Keys()
    assert keys.feed(sent) == [SENT[sent]]
    assert not keys.waiting


@given(st.lists(st.sampled_from(sorted(SENT))), st.lists(st.integers(0, 60)))
def test_keys_are_told_in_whatever_pieces_they_come(sent: list[bytes], cuts: list[int]) -> None:
    keys, stream = Keys(), b"".join(sent)
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found = [key for a, b in pairwise(bounds) for key in keys.feed(stream[a:b])]
    assert found == [SENT[each] for each in sent]


def test_an_escape_that_nothing_follows_is_the_escape_key() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.waiting
    assert keys.flush() == ["escape"]
    assert not keys.waiting


@given(st.binary(max_size=40))
def test_no_bytes_do_any_harm(data: bytes) -> None:
    keys = Keys()
    found = keys.feed(data) + keys.flush()
    assert all(key and (len(key) > 1 or key.isprintable()) for key in found)


def test_a_key_without_a_name_is_passed_over() -> None:
    assert Keys().feed(b"\x1b[15~\x01\xffx") == ["x"]
