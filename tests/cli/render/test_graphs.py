"""Bars, sparklines and columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli.render.graphs import (
    UNICODE,
    ascii_glyphs,
    column_chart,
    glyphs_for,
    interval_bar,
    sparkline,
)
from buddyd.cli.render.view import Interval

ASCII = ascii_glyphs("ascii")
shares = st.floats(0, 1)


def test_a_bar_shows_what_is_sure_what_is_likely_and_what_is_possible() -> None:
    assert interval_bar(Interval(0.4, 0.6, 0.8), 10, UNICODE) == "████▓▓░░··"
    assert interval_bar(Interval(0.4, 0.6, 0.8), 10, ASCII) == "####==--.."


@given(bounds=st.lists(shares, min_size=3, max_size=3).map(sorted), width=st.integers(1, 200))
def test_a_bar_claims_no_more_than_the_interval(bounds: list[float], width: int) -> None:
    bar = interval_bar(Interval(*bounds), width, ASCII)
    assert len(bar) == width
    if bounds[0] == bounds[2]:
        assert abs(bar.count("#") - bounds[0] * width) <= 1
        return
    assert bar.count("#") <= bounds[0] * width
    assert bar.count(".") <= (1 - bounds[2]) * width + 1e-9
    assert abs(bar.count("#") + bar.count("=") - bounds[1] * width) <= 1


def test_a_share_is_a_solid_bar() -> None:
    assert interval_bar(Interval(0.05, 0.05, 0.05), 10, UNICODE) == "█·········"
    assert interval_bar(Interval(0.0, 0.0, 0.0), 10, UNICODE) == "··········"
    assert interval_bar(Interval(0.77, 0.77, 0.77), 10, UNICODE) == "████████··"


def test_a_sparkline_tells_nothing_from_little() -> None:
    assert sparkline([0, 1, 500, 1000], UNICODE) == "·▁▅█"
    assert sparkline([0, 0], UNICODE) == "··"
    assert sparkline([], UNICODE) == ""


@given(st.lists(st.floats(0, 1e12), max_size=50))
def test_a_sparkline_has_one_character_for_each_value(values: list[float]) -> None:
    assert len(sparkline(values, UNICODE)) == len(values)
    assert sparkline(values, ASCII).isascii()


def test_columns_stand_on_the_ground() -> None:
    assert column_chart([1.0, 2.0, 4.0, None, 0.0], 4.0, 2, UNICODE) == [
        "  █  ",
        "▄██  ",
    ]


@given(
    values=st.lists(st.none() | st.floats(0, 100), max_size=40),
    height=st.integers(1, 20),
)
def test_columns_are_as_high_as_their_values(values: list[float | None], height: int) -> None:
    lines = column_chart(values, 100.0, height, UNICODE)
    assert [len(line) for line in lines] == [len(values)] * height
    for index, value in enumerate(values):
        column = [line[index] for line in lines]
        filled = sum(UNICODE.steps.find(char) + 1 for char in column) / len(UNICODE.steps)
        assert abs(filled - (value or 0) / 100 * height) <= 1 / len(UNICODE.steps)
        assert bool(filled) == bool(value)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", True), ("UTF8", True), ("ascii", False), ("latin-1", False)],
)
def test_only_utf8_has_all_the_characters(encoding: str, expected: bool) -> None:
    assert (glyphs_for(encoding) is UNICODE) == expected


@given(st.text(), st.sampled_from(["ascii", "latin-1", "iso8859-15"]))
def test_what_a_terminal_lacks_is_shown_by_its_escape(text: str, encoding: str) -> None:
    shown = glyphs_for(encoding).plain(text)
    assert shown.encode(encoding).decode(encoding) == shown
