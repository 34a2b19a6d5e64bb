"""Risk patterns: failing tools and costs that stand out; and what to do about the former."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import attrgetter

from msgspec import Struct

from buddyd.domain.alarms import Alarms
from buddyd.domain.anomalies import Baseline, Finding
from buddyd.domain.answers import (
    AnomalyKind,
    CostAnomaly,
    RiskFinding,
    RiskHistory,
    RiskPatterns,
    ToolRecommendations,
)
from buddyd.domain.confidence import level
from buddyd.domain.failures import Failures
from buddyd.domain.fallbacks import Fallbacks
from buddyd.domain.findings import Case, Casebook, Wanted
from buddyd.domain.journal import NANODOLLARS, ExecutionRecorded
from buddyd.domain.names import join
from buddyd.domain.prices import Prices
from buddyd.domain.projection import Change, Projection, Table
from buddyd.domain.recommendations import Trouble, recommend
from buddyd.domain.reporting import FINDINGS_SHOWN, describe
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.watch import Watch
from buddyd.domain.windows import (
    GRACE_MINUTES,
    HOUR,
    Window,
    day_floor,
    hour_of,
    minute_of,
    rfc3339,
)

MOST_BASELINES = 20_000
ANOMALIES_SHOWN = 100
FAILING = frozenset({"streak", "high_failure_rate", "degrading"})
"""The kinds of findings that tell since when a tool has been failing."""
_time_and_seq = attrgetter("finished_at", "seq")


class Anomaly(Struct, frozen=True):
    """A cost that stood out."""

    seq: int
    kind: AnomalyKind
    execution_id: str
    task_id: str
    agent: str
    tool: str
    cost: int
    usual: float
    """Billionths of a dollar, as is the cost."""
    finished_at: float
    unusual: bool = True

    def describe(self) -> CostAnomaly:
        """As the answer tells it."""
        return CostAnomaly(
            kind=self.kind,
            execution_id=self.execution_id,
            task_id=self.task_id,
            agent_id=self.agent,
            tool_name=self.tool,
            cost=self.cost / NANODOLLARS,
            average_cost=self.usual / NANODOLLARS,
            ratio=self.cost / self.usual,
            unusual=self.unusual,
            timestamp=rfc3339(self.finished_at),
        )


@lru_cache(maxsize=2 * ANOMALIES_SHOWN)
def _described(anomaly: Anomaly) -> CostAnomaly:
    return anomaly.describe()


class Risks(Projection):
    """The answers to `get_risk_patterns` and `get_tool_recommendations`."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        self._book = Casebook()
        self._failures = Failures(settings, self._book)
        self._watch = Watch(settings, self._book, self._failures)
        self._fallbacks = Fallbacks()
        self._baselines: Table[Baseline] = Table(Baseline, MOST_BASELINES)
        self._anomalies: Table[Anomaly] = Table(Anomaly)
        self._anomaly_counts = Window(GRACE_MINUTES)
        self._prices = Prices(self._book)
        self._alarms = Alarms()
        self.parts = {
            "day": self._failures.day,
            "day_errors": self._failures.day_errors,
            "month": self._failures.month,
            "month_errors": self._failures.month_errors,
            "month_agents": self._failures.month_agents,
            "month_means": self._failures.month_means,
            "tools": self._failures.tools,
            "fallbacks": self._fallbacks.month,
            "fallback_means": self._fallbacks.means,
            "tasks": self._fallbacks.tasks,
            "baselines": self._baselines,
            "anomalies": self._anomalies,
            "anomaly_counts": self._anomaly_counts,
            "risen": self._prices.risen,
            "told": self._alarms.told,
            **self._watch.parts,
        }

    def restore(self, changes: Iterable[Change]) -> None:
        """Take up what was put away, in an empty projection."""
        super().restore(changes)
        self._book.restored()

    @property
    def lacks_findings(self) -> bool:
        """Whether a version that did not look for findings put it away."""
        return any(not tool.watched.seq for tool in self._failures.tools.rows.values())

    def adopt(self, rebuilt: "Risks", seq: int) -> None:
        """Take what leads to findings from one that was `rebuilt` from the journal.

        This one has folded it up to entry number `seq`, and keeps what goes back further.
        """
        self._failures.adopt(rebuilt._failures, seq)  # noqa: SLF001 - one of its own kind
        self._fallbacks.means.adopt(rebuilt._fallbacks.means)  # noqa: SLF001 - the same
        self._watch.adopt(rebuilt._watch)  # noqa: SLF001 - the same
        self._book.restored()

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        self._failures.fold(segment)
        self._fallbacks.fold(segment)
        self._watch.fold(segment)
        self._compare_costs(segment.executions)
        self._forget_anomalies()

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        self._failures.advance(now)
        self._fallbacks.advance(now)
        self._watch.advance(now)
        self._anomaly_counts.move(day_floor(now))
        floor = day_floor(now) - GRACE_MINUTES
        for key in [
            key
            for key, anomaly in self._anomalies.rows.items()
            if minute_of(anomaly.finished_at) < floor
        ]:
            self._anomalies.drop(key)

    def answer(self, now: float) -> RiskPatterns:
        """The patterns at `now`."""
        self.advance(now)
        floor = day_floor(now)
        newest_first = sorted(self._anomalies.rows.values(), key=_time_and_seq, reverse=True)
        shown = [a for a in newest_first if minute_of(a.finished_at) >= floor]
        lasting = self._watch.lasting(now)
        return RiskPatterns(
            timestamp=rfc3339(now),
            failure_patterns=self._failures.patterns(now),
            cost_anomalies=[_described(anomaly) for anomaly in shown],
            total_cost_anomalies=sum(cell[0] for cell in self._anomaly_counts.totals.values()),
            findings=[self._watch.describe(case, now) for case in lasting[:FINDINGS_SHOWN]],
            total_findings=len(lasting),
        )

    def history(self, now: float, limit: int, wanted: Wanted) -> RiskHistory:
        """What lasts at `now` or has ended in the 30-day window and fits, the newest first."""
        self.advance(now)
        found = self._watch.of_30_days(now, wanted)
        return RiskHistory(
            timestamp=rfc3339(now),
            total_findings=len(found),
            findings=[describe(case, now) for case in found[:limit]],
        )

    def has_untold_alarms(self, now: float, heard_from: float) -> bool:
        """Whether there are alarms at `now` that `take_alarms` has not given."""
        return bool(self._untold(self._watch.lasting(now), now, heard_from))

    def take_alarms(self, now: float, heard_from: float) -> list[RiskFinding]:
        """What is alarming at `now`, each once, in the order in which it became so.

        Whoever could not be heard before `heard_from` may not have been silent till then.
        """
        lasting = self._watch.lasting(now)
        news = self._untold(lasting, now, heard_from)
        self._alarms.tell(lasting, news, now)
        return [describe(case, now) for case in news]

    def next_alarm(self, now: float, heard_from: float) -> float:
        """The earliest time after `now` at which there may be one, though nothing is recorded."""
        next_hour = float((hour_of(now) + 1) * HOUR)
        return min(next_hour, self._watch.next_silence(now, heard_from))

    def _untold(self, lasting: Iterable[Case], now: float, heard_from: float) -> list[Case]:
        can_be_silent = now >= heard_from + self._settings.offline_after_seconds
        return [
            case for case in self._alarms.untold(lasting) if can_be_silent or case.kind != "silent"
        ]

    def anomalies_after(self, seq: int) -> list[CostAnomaly]:
        """The costs of entries after number `seq` that stand out, in the order of recording."""
        rows = [row for row in self._anomalies.rows.values() if row.seq > seq]
        return [row.describe() for row in sorted(rows, key=lambda a: a.seq)]

    def recommend(self, now: float) -> ToolRecommendations:
        """What to do at `now`, the worst tool first."""
        self.advance(now)
        tools = self._failures.month.totals
        worst_first = sorted(tools, key=lambda name: (-tools[name][1] / tools[name][0], name))
        cases = self._failing(now)
        low, watch = [], []
        for name in worst_first:
            executions, failed = tools[name]
            if level(executions - failed, executions, self._settings) == "LOW":
                low.append(recommend(self._trouble(name, cases), self._settings))
            elif any(case.kind == "degrading" for case in cases.get(name, ())):
                watch.append(recommend(self._trouble(name, cases), self._settings))
        return ToolRecommendations(
            timestamp=rfc3339(now),
            total_recommendations=len(low),
            recommendations=low,
            watch=watch,
        )

    def _failing(self, now: float) -> dict[str, list[Case]]:
        """By tool, the findings that tell since when it has been failing."""
        found: dict[str, list[Case]] = {}
        for case in self._watch.lasting(now):
            if case.kind in FAILING and case.tool is not None:
                found.setdefault(case.tool, []).append(case)
        return found

    def _trouble(self, name: str, cases: dict[str, list[Case]]) -> Trouble:
        executions, failed = self._failures.month.totals[name]
        count, cost, duration = self._failures.month_means.totals.get(name, (0, 0, 0))
        return Trouble(
            tool=name,
            executions=executions,
            failed=failed,
            means=(count, cost, duration),
            errors=self._failures.errors_of_the_month(name),
            agents=self._failures.agents_of_the_month(name),
            cases=cases.get(name, []),
            fallback=self._fallbacks.best(name),
        )

    def _compare_costs(self, executions: Sequence[ExecutionRecorded]) -> None:
        baselines, risen = self._baselines, self._prices.risen.rows
        factor, least = self._settings.cost_anomaly_factor, self._settings.risk_min_executions
        for each in executions:
            # What cost nothing says nothing of what the rest costs.
            if not each.cost:
                continue
            key = join(each.agent, each.tool)
            baseline = baselines.touch(key) or baselines.put(key, Baseline(each.seq))
            baseline.seq = each.seq
            finding = baseline.add(each.cost, factor, least)
            if finding is not None:
                self._remember(each, finding)
            if finding is not None or key in risen:
                self._prices.follow(key, each, finding)

    def _remember(self, entry: ExecutionRecorded, finding: Finding) -> None:
        self._anomaly_counts.add(minute_of(entry.finished_at), finding.kind, (1,))
        anomaly = Anomaly(
            seq=entry.seq,
            kind=finding.kind,
            execution_id=entry.execution_id,
            task_id=entry.task_id,
            agent=entry.agent,
            tool=entry.tool,
            cost=entry.cost,
            usual=finding.usual,
            finished_at=entry.finished_at,
            unusual=finding.unusual,
        )
        self._anomalies.put(str(entry.seq), anomaly)

    def _forget_anomalies(self) -> None:
        """Drop all but the newest."""
        rows = self._anomalies.rows
        if len(rows) > ANOMALIES_SHOWN:
            for old in sorted(rows.values(), key=_time_and_seq)[:-ANOMALIES_SHOWN]:
                self._anomalies.drop(str(old.seq))
