"""Warnings about budgets, and which of them somebody was told of: each once in its period."""

import math
from collections.abc import Iterable

from msgspec import Struct

from buddyd.domain.answers import BudgetUse
from buddyd.domain.budgets import Use
from buddyd.domain.findings import RANKS
from buddyd.domain.projection import Table


class Warned(Struct):
    """That somebody was told of a budget."""

    rank: int
    """Of the worst that was told."""
    until: float
    """When its period ends, Unix seconds."""


class BudgetWarnings:
    """Which warnings were told."""

    def __init__(self) -> None:
        self.warned: Table[Warned] = Table(Warned)

    def take(self, uses: Iterable[Use], now: float) -> list[BudgetUse]:
        """The budgets of which there is worse to tell at `now` than was told in their period.

        Those that may be used up at the earliest, but are not likely to be, are none of them.
        """
        for key in [key for key, row in self.warned.rows.items() if row.until <= now]:
            self.warned.drop(key)
        told = ((use, use.answer(now)) for use in uses)
        return [answer for use, answer in told if self._is_news(use, answer)]

    def _is_news(self, use: Use, answer: BudgetUse) -> bool:
        if answer.warning is None or answer.warning.severity == "info":
            return False
        rank, row = RANKS[answer.warning.severity], self.warned.get(_key(use))
        if row is not None and row.rank <= rank:
            return False
        until = math.inf if use.span is None else use.span.end
        self.warned.put(_key(use), Warned(rank, until))
        return True


def _key(use: Use) -> str:
    """One budget in one of its periods; with another limit it is another one."""
    start = "" if use.span is None else use.span.start
    return "\x1f".join(map(str, (use.scope, use.name or "", use.period, start, use.limit)))
