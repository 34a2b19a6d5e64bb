"""Alarms, and which of them somebody was told of: each once, whatever made it.

Most findings become alarming with an entry of the journal, some as time passes and nothing comes.
So what was told is remembered by the finding, for as long as that lasts. It is put away with the
projection, though it is the one part of it that does not follow from the journal.
"""

from collections.abc import Iterable

from msgspec import Struct

from buddyd.domain.findings import Case
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
