"""Fetches what a plot is drawn from.

Of all executions together the hourly summaries tell (Tier 2, 30 days); they do not tell tools and
agents apart, and not the minutes of an hour, so those come from the records (Tier 1, a day).
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from msgspec import Struct

from buddyd.cli.plotting.buckets import Buckets, step_for
from buddyd.cli.render.cells import printable
from buddyd.client import Client
from buddyd.domain.answers import DaemonStatus, StoredExecution
from buddyd.domain.windows import DAY, HOUR
from buddyd.errors import BuddydError

_PAGE_RECORDS = 10_000
_SHORT_SECONDS = 6 * HOUR
"""Of a span as short as that, the records are few enough to fetch, and hours are too coarse."""
_DEFAULT_TIER1_HOURS, _DEFAULT_TIER2_DAYS = 24, 30


class TooFarBack(BuddydError):
    """Neither the records nor the summaries go back that far."""


class Wanted(Struct, frozen=True):
    """Which part of the past is plotted; `most` is how many points there may be."""

    span: float
    """Seconds."""
    most: int
    tool: str | None = None
    agent: str | None = None

    @property
    def of(self) -> str:
        """Whose it is, to be put behind a title."""
        tool = f" of {printable(self.tool)}" if self.tool else ""
        agent = f" {'by' if tool else 'of'} agent {printable(self.agent)}" if self.agent else ""
        return tool + agent

    @property
    def from_records(self) -> bool:
        """Whether the hourly summaries cannot tell."""
        return bool(self.tool or self.agent) or self.span <= _SHORT_SECONDS


def fetched(client: Client, wanted: Wanted, advance: Callable[[int], None]) -> Buckets:
    """The past up to now, added up. Raises TooFarBack."""
    status = client.get_daemon_status()
    _refuse_too_long(wanted, status)
    now = datetime.fromisoformat(status.timestamp).timestamp()
    least = 60 if wanted.from_records else HOUR
    step = step_for(wanted.span, wanted.most, least)
    buckets = Buckets(now - wanted.span, now, step)
    if not wanted.from_records:
        summaries = client.get_hourly_summaries(since=float(buckets.begin(0))).summaries
        buckets.add_hours(summaries)
        return buckets
    for page in _pages(client, wanted, float(buckets.begin(0))):
        buckets.add_executions(page)
        advance(len(page))
    return buckets


def _pages(client: Client, wanted: Wanted, since: float) -> Iterator[list[StoredExecution]]:
    before = None
    while True:
        page = client.get_executions(
            limit=_PAGE_RECORDS,
            tool_name=wanted.tool,
            agent_id=wanted.agent,
            since=since,
            before=before,
        )
        yield page.executions
        if page.next is None:
            return
        before = page.next


def _refuse_too_long(wanted: Wanted, status: DaemonStatus) -> None:
    hours = _kept(status, "tier1_hours", _DEFAULT_TIER1_HOURS)
    days = _kept(status, "tier2_days", _DEFAULT_TIER2_DAYS)
    if wanted.from_records and wanted.span > hours * HOUR:
        raise TooFarBack(
            f"For one tool or agent the daemon has records of the last {hours} h: "
            f"give --since {hours}h or less, or plot all of them together."
        )
    if wanted.span > days * DAY:
        raise TooFarBack(
            f"The daemon has summaries of the last {days} d: give --since {days}d or less."
        )


def _kept(status: DaemonStatus, key: str, default: int) -> int:
    """How long it keeps what a plot is drawn from; `default` where another version tells not."""
    retention = status.settings.get("retention")
    kept = retention.get(key) if isinstance(retention, dict) else None
    return kept if isinstance(kept, int) else default
