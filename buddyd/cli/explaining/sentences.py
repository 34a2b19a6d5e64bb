"""What the explanations of tools and agents have in common."""

from collections import Counter
from collections.abc import Iterable, Sequence

from buddyd.cli.render import cells
from buddyd.cli.render.cells import printable
from buddyd.domain.answers import RiskFinding
from buddyd.domain.findings import RANKS
from buddyd.domain.wording import significant

Explanation = dict[str, list[str]]
"""Sentences by what they are about. They are safe to print."""


def rate(share: float, landmarks: Iterable[float] = ()) -> str:
    """A share in percent, with as many places as it takes not to seem at or over a landmark."""
    sides = [(mark, share < mark) for mark in landmarks]
    for places in range(1, 13):
        text = cells.percent(share) if places == 1 else f"{share * 100:.{places}f} %"
        shown = float(text.removesuffix(" %")) / 100
        if all((shown < mark - 1e-15) == below for mark, below in sides):
            return text
    return f"{share * 100!r} %"


def landmark(share: float) -> str:
    """A share that others are compared with, whole."""
    return f"{significant(share * 100, 12)} %"


def failures_among(records: int, failed: int) -> str:
    """How many of the newest records are failures."""
    if not failed:
        return f"There is no failure among its newest {counted(records, 'record')}."
    return f"Of its newest {counted(records, 'record')}, {failed:,} failed."


def lasting(findings: Iterable[RiskFinding], now: str) -> list[str]:
    """Those of the findings that last, as an answer at `now` tells them, the worst first."""
    found = [each for each in findings if each.ended is None]
    return [_told(each, now) for each in sorted(found, key=lambda each: RANKS[each.severity])]


def _told(finding: RiskFinding, now: str) -> str:
    summary = printable(finding.summary.removesuffix("."))
    return f"{summary} ({finding.severity}, {_for_how_long(finding, now)})."


def _for_how_long(finding: RiskFinding, now: str) -> str:
    ago = cells.ago(finding.began, now).text
    return "just now" if ago == "now" else f"for {ago.removesuffix(' ago')}"


def counted(number: int, what: str) -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    shown = [printable(name) for name in names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def most_frequent(names: Iterable[str]) -> tuple[str, int] | None:
    """The name that comes most often (the first by name where several do), and how often."""
    counts = Counter(names)
    if not counts:
        return None
    name = min(counts, key=lambda each: (-counts[each], each))
    return name, counts[name]
