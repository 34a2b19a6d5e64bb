"""The watch: everything that finds, and what was found."""

from collections.abc import Iterable

from buddyd.domain import findings
from buddyd.domain.answers import RiskFinding
from buddyd.domain.failures import Failures
from buddyd.domain.findings import Case, Casebook, Wanted
from buddyd.domain.loops import Loops
from buddyd.domain.reporting import describe
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.silence import Silence
from buddyd.domain.slowness import SlowTools
from buddyd.domain.windows import Part, hour_of

KNOWN_BETTER = frozenset({"degrading", "cost_spike", "cost_rise"})
"""Of these kinds, what was usual is known from before the journal begins, without the cases."""


class Watch:
    """Finds what goes wrong, and keeps it for 30 days."""

    def __init__(self, settings: DomainSettings, book: Casebook, failures: Failures) -> None:
        self._book = book
        self._failures = failures
        self._slow = SlowTools(book)
        self._loops = Loops(settings, book)
        self._silence = Silence(settings, book)
        self._hour = 0
        # What was told of the cases that last, for as long as they are the same.
        self._told: dict[str, tuple[Case, RiskFinding]] = {}
        self.parts: dict[str, Part] = {
            "cases": book.table,
            "paces": self._slow.paces,
            "runners": self._loops.runners,
            "listened": self._silence.agents,
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next. Failures have taken them in already."""
        self._slow.fold(segment)
        self._loops.fold(segment)
        self._silence.fold(segment)

    def adopt(self, rebuilt: "Watch") -> None:
        """Take what leads to findings, and those that were found."""
        self._slow.paces.adopt(rebuilt._slow.paces)  # noqa: SLF001 - one of its own kind
        self._loops.runners.adopt(rebuilt._loops.runners)  # noqa: SLF001 - the same
        self._silence.agents.adopt(rebuilt._silence.agents)  # noqa: SLF001 - the same
        for case in rebuilt._book.cases():  # noqa: SLF001 - the same
            if case.kind not in KNOWN_BETTER:
                self._book.table.put(case.finding_id, case)

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        if self._hour != (hour := hour_of(now)):
            self._hour = hour
            self._slow.forget()
            self._loops.forget()
            self._silence.forget()
            self._book.forget(now)

    def lasting(self, now: float) -> list[Case]:
        """What lasts at `now`, the worst first, and of those the one that began last."""
        return findings.lasting(self._as_they_are(self._book.open_cases(), now), now)

    def of_30_days(self, now: float, wanted: Wanted) -> list[Case]:
        """What lasts or has ended in the 30-day window and fits, the one that began last first."""
        return findings.of_30_days(self._as_they_are(self._book.cases(), now), now, wanted)

    def next_silence(self, now: float, heard_from: float) -> float:
        """The earliest time after `now` at which an agent may have fallen silent."""
        return self._silence.next_moment(now, heard_from)

    def describe(self, case: Case, now: float) -> RiskFinding:
        """A case that lasts, as the answer tells it; told again where nothing has changed."""
        for key in self._book.changed:
            self._told.pop(key, None)
        self._book.changed.clear()
        key = case.finding_id
        of_case, told = self._told.get(key, (None, None))
        # What time alone has made of a case is another one each time.
        if told is None or of_case is not case:
            told = describe(case, now)
            self._told[key] = (case, told)
        return told

    def _as_they_are(self, kept: Iterable[Case], now: float) -> Iterable[Case]:
        """What is kept, and what time alone has made of it up to `now`."""
        cases = {case.finding_id: case for case in kept}
        cases.update((case.finding_id, case) for case in self._failures.ahead(now))
        cases.update((case.finding_id, case) for case in self._silence.cases(now))
        return cases.values()
