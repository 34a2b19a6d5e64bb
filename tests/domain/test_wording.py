"""Numbers as sentences have them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.fallbacks import Fallback
from buddyd.domain.findings import Case
from buddyd.domain.recommendations import Trouble, recommend
from buddyd.domain.reporting import describe
from buddyd.domain.settings import DomainSettings
from buddyd.domain.wording import dollars, significant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (2.0, "2"),
        (0.5, "0.5"),
        (1.2345, "1.23"),
        (999.4, "999"),
        (999.96, "1,000"),
        (9.996, "10"),
        (1234.0, "1,230"),
        (45_678_900.0, "45,700,000"),
        (0.000_012_34, "0.0000123"),
        (-1234.5, "-1,230"),
    ],
)
def test_a_number_has_three_digits_that_tell_something(value: float, text: str) -> None:
    assert significant(value) == text


def test_there_may_be_more_of_them_or_fewer() -> None:
    assert [significant(45_678.0, digits) for digits in (1, 2, 4, 6)] == [
        "50,000",
        "46,000",
        "45,680",
        "45,678",
    ]


@given(st.floats(-1e300, 1e300), st.integers(1, 12))
def test_no_number_has_an_exponent_and_every_one_its_digits(value: float, digits: int) -> None:
    text = significant(value, digits)
    assert "e" not in text.lower()
    assert math.isclose(
        float(text.replace(",", "")), value, rel_tol=0.5001 * 10 ** (1 - digits), abs_tol=1e-323
    )
    assert len(text.replace(",", "").replace(".", "").strip("-0")) <= digits
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "$0.00"),
        (0.5, "$0.50"),
        (0.125, "$0.125"),
        (0.000_01, "$0.00001"),
        (0.9999, "$1.00"),
        (1.0, "$1.00"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money_is_told_in_cents_or_with_three_digits(value: float, text: str) -> None:
    assert dollars(value) == text


def test_a_slow_tool_and_a_dear_fallback_are_told_without_an_exponent() -> None:
    case = Case("slow_down", "warning", 1, 1.8e9, 1.8e9, tool="train")
    case.value, case.usual = 1234e6, 600e6
    assert describe(case, 1.8e9).summary.startswith("train takes 1,230 s on average, 2.1 times")
    fallback = Fallback("human", 5, 5, 5, 10_000, 6_000_000_000)
    trouble = Trouble("t", 10, 9, (10, 10, 10_000_000), {"x": 9}, {"a": 9}, [], fallback)
    told = recommend(trouble, DomainSettings()).recommendation
    assert "at 2,000 times the cost and 1,200 times the duration" in told
