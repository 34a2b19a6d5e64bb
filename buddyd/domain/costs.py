"""What the agents used, what it cost, and what keeping the records costs."""

from collections.abc import Iterable, Mapping, Sequence

from buddyd.domain import findings
from buddyd.domain.alarms import BudgetWarnings
from buddyd.domain.answers import (
    ApiUsage,
    Costing,
    Findings,
    Reconciliation,
    StorageUsage,
    UsageAndCosting,
)
from buddyd.domain.findings import Case, Wanted
from buddyd.domain.journal import (
    LARGEST_INTEGER,
    NANODOLLARS,
    CostsReported,
    ratio,
)
from buddyd.domain.overspending import Overspending
from buddyd.domain.projection import Change, Projection
from buddyd.domain.reconciliation import Sources
from buddyd.domain.reporting import FINDINGS_SHOWN, describe
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import (
    GRACE_HOURS,
    GRACE_MINUTES,
    HOUR_MINUTES,
    Buckets,
    Cell,
    Window,
    day_floor,
    hour_of,
    minute_of,
    rfc3339,
)

TIER1_BYTES = 500
TIER2_BYTES = 200
"""The rule of thumb for the size of a record and of a summary."""
MIB = 1_048_576
MIB_PER_GIB = 1024
DAYS_PER_MONTH = 30
_ALL = ""


class Costs(Projection):
    """The answer to `get_api_usage_and_costing`, and the findings about budgets."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        # Executions, billionths of a dollar, estimated ones, tokens.
        self._by_tool = Window(GRACE_MINUTES)
        # Executions, billionths of a dollar.
        self._by_agent = Window(GRACE_MINUTES)
        # Executions that Tier 1 keeps, and the hours that Tier 2 keeps.
        self._tier1 = Window(GRACE_MINUTES)
        self._tier2 = Buckets()
        self._sources = Sources()
        self._overspending = Overspending(settings)
        self._warnings = BudgetWarnings()
        # Executions, costs and estimates of all tools by minute, as far as they were asked for.
        self._minutes: dict[int, Cell] = {}
        self.parts = {
            "by_tool": self._by_tool,
            "by_agent": self._by_agent,
            "tier1": self._tier1,
            "tier2": self._tier2,
            "sources": self._sources.table,
            "warned": self._warnings.warned,
            **self._overspending.parts,
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        for tool in segment.tool_sums:
            values = (tool.executions, tool.cost, tool.estimate, tool.tokens)
            self._by_tool.add(tool.minute, tool.name, values)
            self._tier1.add(tool.minute, _ALL, (tool.executions,))
            self._tier2.add(tool.minute // HOUR_MINUTES, _ALL, (tool.executions,))
            self._minutes.pop(tool.minute, None)
        for agent in segment.agent_sums:
            self._by_agent.add(agent.minute, agent.name, (agent.executions, agent.cost))
        self._overspending.fold(segment)
        if segment.has_events:
            for entry in segment.entries:
                if isinstance(entry, CostsReported):
                    self._sources.take(entry)

    def restore(self, changes: Iterable[Change]) -> None:
        """Take up what was put away, and begin to count for budgets that are new."""
        changes = list(changes)
        super().restore(changes)
        if changes:
            kept = {str(change.key) for change in changes if change.part == "scopes"}
            last_hour = max(self._tier2, default=None)
            self._overspending.restored(kept, self._by_tool, self._by_agent, last_hour)

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        floor = day_floor(now)
        self._by_tool.move(floor)
        self._by_agent.move(floor)
        self._tier1.move(minute_of(now) - self._settings.tier1_hours * 60 + 1)
        self._tier2.drop_before(self._first_hour(now) - GRACE_HOURS)
        self._overspending.advance(now)

    def answer(self, now: float, database_bytes: int) -> UsageAndCosting:
        """Usage and costs at `now`; `database_bytes` is what the database takes on disk."""
        self.advance(now)
        tools = self._by_tool.totals
        count, cost, estimate, tokens = (
            sum(cell[column] for cell in tools.values()) for column in range(4)
        )
        storage = self._storage(now, database_bytes)
        storage_daily = self._storage_costs_daily(storage.estimated_size_mb)
        return UsageAndCosting(
            timestamp=rfc3339(now),
            api_usage=ApiUsage(
                total_tasks_24h=count,
                total_tokens_24h=min(tokens, LARGEST_INTEGER),
                avg_tokens_per_task=ratio(tokens, count),
            ),
            costing=Costing(
                execution_costs_24h=cost / NANODOLLARS,
                estimated_costs_24h=estimate / NANODOLLARS,
                storage_costs_daily=storage_daily,
                total_daily_cost=cost / NANODOLLARS + storage_daily,
                by_tool=_dollars(self._by_tool),
                by_agent=_dollars(self._by_agent),
            ),
            storage=storage,
            budgets=[use.answer(now) for use in self._overspending.uses(now)],
            reconciliation=self._reconciliation(now),
        )

    def lasting_findings(self, now: float) -> Findings:
        """Those about budgets that last at `now`, the worst first."""
        return _told(findings.lasting(self._overspending.cases(now), now), now, FINDINGS_SHOWN)

    def past_findings(self, now: float, limit: int, wanted: Wanted) -> Findings:
        """Those that last at `now` or have ended in the 30-day window and fit, the newest first."""
        self.advance(now)
        found = findings.of_30_days(self._overspending.cases(now), now, wanted)
        return _told(found, now, limit)

    def take_warnings(self, now: float) -> list[Case]:
        """The budgets of which there is worse to tell at `now` than this gave in their period."""
        return self._warnings.take(findings.lasting(self._overspending.cases(now), now), now)

    @property
    def records(self) -> int:
        """The executions that Tier 1 keeps, as of the last time that the windows were moved."""
        return self._tier1.totals.get(_ALL, (0,))[0]

    def _reconciliation(self, now: float) -> list[Reconciliation]:
        if not self._sources.table.rows:
            return []
        floor = day_floor(now)
        return self._sources.answer(floor, self._by_minute(floor))

    def _by_minute(self, floor: int) -> dict[int, Cell]:
        """Executions, costs and estimates by minute, from minute `floor` on."""
        known, self._minutes = self._minutes, {}
        for minute in self._by_tool:
            if minute >= floor:
                self._minutes[minute] = known.get(minute) or _summed(self._by_tool.get(minute))
        return self._minutes

    def _storage(self, now: float, database_bytes: int) -> StorageUsage:
        records = self.records
        first = self._first_hour(now)
        summaries = sum(hour >= first for hour in self._tier2)
        return StorageUsage(
            tier1_raw_records=records,
            tier2_hourly_summaries=summaries,
            estimated_size_mb=(records * TIER1_BYTES + summaries * TIER2_BYTES) / MIB,
            database_size_mb=database_bytes / MIB,
        )

    def _storage_costs_daily(self, size_mb: float) -> float:
        price = self._settings.storage_price_per_gib_month
        return size_mb / MIB_PER_GIB * price / DAYS_PER_MONTH

    def _first_hour(self, now: float) -> int:
        return hour_of(now) - self._settings.tier2_hours + 1


def _told(cases: Sequence[Case], now: float, limit: int) -> Findings:
    return Findings(
        total_findings=len(cases), findings=[describe(case, now) for case in cases[:limit]]
    )


def _dollars(window: Window) -> dict[str, float]:
    return {name: cell[1] / NANODOLLARS for name, cell in sorted(window.totals.items())}


def _summed(by_tool: Mapping[str, Cell]) -> Cell:
    cells = list(by_tool.values())
    return [sum(cell[column] for cell in cells) for column in range(3)]
