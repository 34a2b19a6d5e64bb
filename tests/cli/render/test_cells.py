"""How values are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli.render import cells


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0005, "0.5 ms"),
        (0.84, "840 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (2e-9, "0.000002 ms"),
        (1.234, "1.23 s"),
        (59.4, "59.4 s"),
        (75.0, "1.2 min"),
        (1500.0, "25 min"),
        (3599.0, "1 h"),
        (3600.0, "1 h"),
        (11_100.0, "3 h 5 min"),
        (187_200.0, "2 d 4 h"),
    ],
)
def test_a_span_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert cells.span(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.00001, "0.1 %"),
        (0.5, "50.0 %"),
        (0.99999, "99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_only_the_whole_is_100_percent(share: float, text: str) -> None:
    assert cells.percent(share) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (0.0, "$0.00"),
        (0.00001, "<$0.0001"),
        (0.0042, "$0.0042"),
        (0.5, "$0.5000"),
        (1234.5, "$1,234.50"),
    ],
)
def test_small_money_keeps_the_places_that_tell_something(dollars: float, text: str) -> None:
    assert cells.money(dollars).text == text


@pytest.mark.parametrize(
    ("then", "text"),
    [
        ("2026-03-01T12:00:00Z", "now"),
        ("2026-03-01T12:04:00Z", "now"),
        ("2026-03-01T11:59:57Z", "3 s ago"),
        ("2026-03-01T11:00:30Z", "59 min ago"),
        ("2026-02-28T13:00:00Z", "23 h ago"),
        ("2026-02-01T12:00:00Z", "28 d ago"),
    ],
)
def test_a_time_is_told_as_how_long_ago_it_was(then: str, text: str) -> None:
    assert cells.ago(then, "2026-03-01T12:00:00Z").text == text


def test_a_time_to_come_is_told_as_how_long_it_takes() -> None:
    assert cells.due("2026-03-01T12:12:30Z", "2026-03-01T12:00:00Z").text == "in 12 min"
    assert cells.due(None, "2026-03-01T12:00:00Z") == cells.NOTHING


@pytest.mark.parametrize(
    ("bytes_", "text"), [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (1_310_720, "1.2 MiB")]
)
def test_a_size_has_the_unit_that_suits_it(bytes_: int, text: str) -> None:
    assert cells.size(bytes_).text == text


@given(st.text())
def test_what_is_printable_cannot_drive_a_terminal(text: str) -> None:
    shown = cells.printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert shown == text or not text.isprintable()


def test_a_cell_keeps_the_value_beside_its_text() -> None:
    assert cells.rate(0.98135, of=10).value == 0.98135
    assert cells.money(0.00001).value == 0.00001
    assert cells.name("a\x1bb").value == "a\x1bb"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (48, 75, "48\N{EN DASH}75 %"),
        (98.8, 99.4, "98.8\N{EN DASH}99.4 %"),
        (0, 0, "0\N{EN DASH}0 %"),
    ],
)
def test_the_bounds_of_an_interval_can_be_told_apart(low: float, high: float, text: str) -> None:
    assert cells.between(low, high).text == text
    assert cells.between(low, high).value == (low, high)
