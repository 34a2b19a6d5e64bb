"""Risk patterns: failing tools and costs that stand out; and what to do about the former."""

from functools import lru_cache
from operator import attrgetter

from msgspec import Struct

from buddyd.domain.anomalies import Baseline, Finding
from buddyd.domain.answers import (
    AnomalyKind,
    CostAnomaly,
    Recommendation,
    RiskPatterns,
    ToolRecommendations,
)
from buddyd.domain.confidence import level
from buddyd.domain.failures import UNKNOWN, Failures, Fallback, Fallbacks
from buddyd.domain.journal import NANODOLLARS, ExecutionRecorded, ratio
from buddyd.domain.names import join
from buddyd.domain.projection import Projection, Table
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import GRACE_MINUTES, Window, day_floor, minute_of, rfc3339

MOST_BASELINES = 20_000
ANOMALIES_SHOWN = 100
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
            timestamp=rfc3339(self.finished_at),
        )


@lru_cache(maxsize=2 * ANOMALIES_SHOWN)
def _described(anomaly: Anomaly) -> CostAnomaly:
    return anomaly.describe()


class Risks(Projection):
    """The answers to `get_risk_patterns` and `get_tool_recommendations`."""

    def __init__(self, settings: DomainSettings) -> None:
        self._settings = settings
        self._failures = Failures(settings)
        self._fallbacks = Fallbacks()
        self._baselines: Table[Baseline] = Table(Baseline, MOST_BASELINES)
        self._anomalies: Table[Anomaly] = Table(Anomaly)
        self._anomaly_counts = Window(GRACE_MINUTES)
        self.parts = {
            "day": self._failures.day,
            "day_errors": self._failures.day_errors,
            "month": self._failures.month,
            "month_errors": self._failures.month_errors,
            "tools": self._failures.tools,
            "fallbacks": self._fallbacks.month,
            "tasks": self._fallbacks.tasks,
            "baselines": self._baselines,
            "anomalies": self._anomalies,
            "anomaly_counts": self._anomaly_counts,
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        self._failures.fold(segment)
        self._fallbacks.fold(segment)
        for execution in segment.executions:
            # What cost nothing says nothing of what the rest costs.
            if execution.cost:
                self._compare_cost(execution)

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        self._failures.advance(now)
        self._fallbacks.advance(now)
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
        return RiskPatterns(
            timestamp=rfc3339(now),
            failure_patterns=self._failures.patterns(now),
            cost_anomalies=[_described(anomaly) for anomaly in shown],
            total_cost_anomalies=sum(cell[0] for cell in self._anomaly_counts.totals.values()),
        )

    def anomalies_after(self, seq: int) -> list[CostAnomaly]:
        """The costs of entries after number `seq` that stand out, in the order of recording."""
        rows = [row for row in self._anomalies.rows.values() if row.seq > seq]
        return [row.describe() for row in sorted(rows, key=lambda a: a.seq)]

    def recommend(self, now: float) -> ToolRecommendations:
        """What to do at `now`, the worst tool first."""
        self.advance(now)
        low = [
            (name, executions, failed)
            for name, (executions, failed) in self._failures.month.totals.items()
            if level(executions - failed, executions, self._settings) == "LOW"
        ]
        low.sort(key=lambda tool: (-tool[2] / tool[1], tool[0]))
        found = [
            _recommendation(
                *tool, self._failures.errors_of_the_month(tool[0]), self._fallbacks.best(tool[0])
            )
            for tool in low
        ]
        return ToolRecommendations(
            timestamp=rfc3339(now), total_recommendations=len(found), recommendations=found
        )

    def _compare_cost(self, entry: ExecutionRecorded) -> None:
        key = join(entry.agent, entry.tool)
        baseline = self._baselines.touch(key) or self._baselines.put(key, Baseline(entry.seq))
        baseline.seq = entry.seq
        finding = baseline.add(
            entry.cost, self._settings.cost_anomaly_factor, self._settings.risk_min_executions
        )
        if finding is not None:
            self._remember(entry, finding)

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
        )
        self._anomalies.put(str(entry.seq), anomaly)
        rows = self._anomalies.rows
        while len(rows) > ANOMALIES_SHOWN:
            self._anomalies.drop(str(min(rows.values(), key=_time_and_seq).seq))


def _recommendation(
    tool: str, executions: int, failed: int, errors: dict[str, int], fallback: Fallback | None
) -> Recommendation:
    rate = (executions - failed) / executions
    return Recommendation(
        tool=tool,
        confidence_level="LOW",
        reason=f"{failed} of {executions} executions failed in the last 30 days: "
        f"a success rate of {rate:.1%}.",
        executions=executions,
        failed=failed,
        recommendation=f"{_what_fails(failed, errors)} {_what_helps(tool, fallback)}",
        fallback_tool=fallback.tool if fallback else None,
        fallback_success_rate=ratio(fallback.succeeded, fallback.tried) if fallback else None,
    )


def _what_fails(failed: int, errors: dict[str, int]) -> str:
    known = [(name, count) for name, count in errors.items() if name != UNKNOWN]
    if not known:
        return "Its failures carry no error type: record one to see what fails."
    name, count = known[0]
    return f"Look at `{name}` first: it is behind {count} of its {failed} failures."


def _what_helps(tool: str, fallback: Fallback | None) -> str:
    if fallback is None:
        return f"No other tool has succeeded on a task after {tool} failed on it."
    tasks = "1 task" if fallback.tried == 1 else f"{fallback.tried} tasks"
    return (
        f"Fall back on {fallback.tool}: it was tried on {tasks} on which {tool} had failed, "
        f"and succeeded on {fallback.succeeded}."
    )
