"""The journal: what was committed, in the order of its commits.

Every answer of the daemon is a fold over these entries. An entry carries all that a fold needs,
its time of receipt included, so that folding it again after a restart gives the same state.
Money is whole billionths of a dollar and time whole millionths of a second: integers add up to
the same sum in whatever order they come and go.
"""

import math

from msgspec import Struct

from buddyd.domain.answers import ReportedPeriod, ReportedState
from buddyd.domain.execution import EffortLevel

NANODOLLARS = 1_000_000_000
MICROSECONDS = 1_000_000


LARGEST_INTEGER = 2**63 - 1
"""What both encodings and SQLite can hold; a larger sum is told as this."""


class Entry(Struct, frozen=True, gc=False):
    """One thing that was committed."""

    seq: int
    """Its number; the numbers of committed entries follow each other without a gap."""
    recorded_at: float
    """Unix seconds, by the daemon's clock."""


class AgentEntry(Entry, frozen=True, gc=False):
    """What an agent did or said. `agent` is the name it is counted under."""

    agent: str


class ExecutionRecorded(AgentEntry, frozen=True, gc=False):
    """An execution was accepted. `tool` is the name it is counted under."""

    tool: str
    execution_id: str
    task_id: str
    finished_at: float
    duration: int
    """Microseconds."""
    success: bool
    cost: int
    """Billionths of a dollar, as is `estimate`."""
    estimate: int
    tokens: int
    effort: EffortLevel
    browser: bool
    error_type: str | None


class ExecutionStarted(AgentEntry, frozen=True, kw_only=True, gc=False):
    """An agent began a task."""

    task_id: str
    tool: str
    started_at: float


class AgentReported(AgentEntry, frozen=True, kw_only=True, gc=False):
    """An agent's heartbeat; None is what it left out."""

    queue_depth: int | None
    status: ReportedState | None
    concurrency: int | None


class CostsReported(Entry, frozen=True, kw_only=True, gc=False, tag="costs"):
    """A cost tracker told what it has counted itself; billionths of a dollar."""

    source: str
    mission: str | None
    """None where the totals are those of all that the source counts."""
    actual: int
    estimate: int | None
    since: float | None
    """When it began to count (Unix seconds); None where that was not said."""
    until: float


class BudgetReported(Entry, frozen=True, kw_only=True, gc=False, tag="budget"):
    """A budget tracker told a limit and what was spent of it; billionths of a dollar."""

    service: str
    limit: int
    period: ReportedPeriod
    spent: int


MoneyReported = CostsReported | BudgetReported
JournalEntry = ExecutionRecorded | ExecutionStarted | AgentReported | MoneyReported


def nanodollars(dollars: float) -> int:
    """A sum of money as an integer."""
    return round(dollars * NANODOLLARS)


def microseconds(seconds: float) -> int:
    """A duration, or a time, as an integer; to the microsecond nearest to what the float holds."""
    # A time of day in one product would be rounded twice, and one in ten would come out wrong.
    whole = math.floor(seconds)
    return whole * MICROSECONDS + round((seconds - whole) * MICROSECONDS)


def ratio(part: float, whole: float) -> float:
    """A share or a mean; 0.0 where there is nothing to divide by."""
    return part / whole if whole else 0.0
