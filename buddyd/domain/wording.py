"""Numbers as sentences have them."""

from decimal import Decimal


def significant(value: float, digits: int = 3) -> str:
    """`value` rounded to so many digits that tell something, never in scientific notation.

    Thousands are set apart, and zeros at the end of a fraction are left out: `1,230`, `0.5`.
    """
    text = format(Decimal(f"{value:.{digits - 1}e}"), ",f")
    return text.rstrip("0").rstrip(".") if "." in text else text
