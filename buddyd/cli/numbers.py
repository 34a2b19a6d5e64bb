"""Numbers on the command line."""

import math

import click

from buddyd.cli.render.cells import printable


class Number(click.FloatRange):
    """A finite number within bounds; click lets NaN through, which is within any."""

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """`value` as a number."""
        number = super().convert(value, param, ctx)  # type: ignore[arg-type]  # it takes a text
        if not math.isfinite(number):
            self.fail(f"'{printable(str(value))}' is no finite number.", param, ctx)
        return number
