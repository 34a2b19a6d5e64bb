"""Numbers as sentences have them."""

from decimal import Decimal


def significant(value: float, digits: int = 3) -> str:
    """`value` rounded to so many digits that tell something, never in scientific notation.

    Thousands are set apart, and zeros at the end of a fraction are left out: `1,230`, `0.5`.
    """
    text = format(Decimal(f"{value:.{digits - 1}e}"), ",f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def dollars(value: float) -> str:
    """A sum of money: in cents from a dollar on, with three digits that tell something below."""
    text = significant(value)
    if value >= 1.0 or not value or "." not in text:
        return f"${value:,.2f}"
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents:0<2}"
