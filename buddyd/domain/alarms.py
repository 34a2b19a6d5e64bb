"""Alarms, and which of them somebody was told of: each once, whatever made it.

Most findings become alarming with an entry of the journal, some as time passes and nothing comes.
So what was told is remembered by the finding, for as long as that lasts. It is put away with the
projection, though it is the one part of it that does not follow from the journal.

Of a budget, the warning is told as well as the alarm, and each once in its period, however often
spending slows down and grows again: it is remembered by the budget.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from buddyd.domain.findings import RANKS, Case
from buddyd.domain.projection import Table


class Told(Struct):
    """That somebody was told of a finding."""

    at: float
    """Unix seconds."""


class Alarms:
    """Which alarms were told."""

    def __init__(self) -> None:
        self.told: Table[Told] = Table(Told)

    def untold(self, lasting: Iterable[Case]) -> list[Case]:
        """Those that nobody was told of, in the order in which they became alarming."""
        alarms = [case for case in lasting if case.severity == "alarm"]
        news = [case for case in alarms if case.finding_id not in self.told.rows]
        return sorted(news, key=lambda case: (case.alarm_seq, case.began, case.place))

    def tell(self, lasting: Iterable[Case], news: Iterable[Case], now: float) -> None:
        """Remember that these were told, and none that are over."""
        lasting_ids = {case.finding_id for case in lasting}
        for finding_id in [each for each in self.told.rows if each not in lasting_ids]:
            self.told.drop(finding_id)
        for case in news:
            self.told.put(case.finding_id, Told(now))


class Warned(Struct, frozen=True):
    """That somebody was told of a budget."""

    rank: int
    """Of the worst that was told."""
    until: float
    """When its period ends, Unix seconds."""


class BudgetWarnings:
    """Which warnings about budgets were told."""

    def __init__(self) -> None:
        self.warned: Table[Warned] = Table(Warned)

    def take(self, lasting: Iterable[Case], now: float) -> list[Case]:
        """Those of which there is worse to tell at `now` than was told in their period."""
        for key in [key for key, row in self.warned.rows.items() if row.until <= now]:
            self.warned.drop(key)
        return [replace(case) for case in lasting if self._is_news(case)]

    def _is_news(self, case: Case) -> bool:
        rank, row = RANKS[case.severity], self.warned.get(case.subject)
        is_news = row is None or rank < row.rank
        told = Warned(rank if row is None else min(rank, row.rank), case.last + case.lasts)
        if told != row:
            self.warned.put(case.subject, told)
        return is_news
