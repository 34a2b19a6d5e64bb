"""How the daemon itself does, in short."""

import pytest

from buddyd.health import _short


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 records"),
        (1, "1 record"),
        (999, "999 records"),
        (1_000, "1.0 k records"),
        (999_949, "999.9 k records"),
        (999_950, "1.0 M records"),
        (12_345_678, "12.3 M records"),
    ],
)
def test_a_count_is_short_in_the_unit_that_suits_it(number: int, text: str) -> None:
    assert _short(number, "record") == text
