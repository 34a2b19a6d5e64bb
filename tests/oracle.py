"""The test oracle: every answer, worked out anew from the list of all that was sent.

It is plain, slow and meant to be obviously right: it filters the list by time and sums it up. It
is written from the contract, and where that is silent from what the daemon documents; it shares
no arithmetic with `buddyd.domain`, only the words (the structs of requests and of the journal).
"""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from statistics import NormalDist, mean, median_high
from typing import Any, NamedTuple, TypeVar

from msgspec import UNSET, Struct, structs

from buddyd import config
from buddyd.config import Settings
from buddyd.domain.execution import Execution
from buddyd.domain.journal import (
    AgentEntry,
    AgentReported,
    BudgetReported,
    CostsReported,
    ExecutionRecorded,
    ExecutionStarted,
    JournalEntry,
)
from buddyd.protocol.messages import (
    GetExecutions,
    RecordExecutions,
    ReportAgent,
    ReportBudget,
    ReportCosts,
    StartExecution,
)
from tests import oracle_budgets, oracle_money
from tests import oracle_findings as findings
from tests.oracle_findings import Span

MINUTE, HOUR, DAY = 60, 3600, 86_400
MONTH = 30 * DAY
NEW_ID = "<new>"
"""Stands for an id that the daemon gives."""

Json = dict[str, Any]
Submission = RecordExecutions | StartExecution | ReportAgent | ReportCosts | ReportBudget
T = TypeVar("T")


# Comparing


class Mentions(Struct, frozen=True):
    """A sentence in the daemon's own words that holds all of these."""

    words: tuple[str, ...]


class Opaque(Struct, frozen=True):
    """An id of sixteen hexadecimal digits."""


class Points(float):
    """Percentage points of a forecast, whose weights make much of the last digits of its inputs."""


class WholePercent(Struct, frozen=True):
    """A share that is answered in whole percent."""

    exact: float


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def differences(found: object, expected: object, path: str = "$") -> list[str]:
    """Where an answer is not what it has to be; floats may be off by the last digits."""
    match expected:
        case dict():
            if not isinstance(found, dict) or found.keys() != expected.keys():
                return [f"{path}: {_keys(found)} instead of {_keys(expected)}"]
            return [d for k, v in expected.items() for d in differences(found[k], v, f"{path}.{k}")]
        case list():
            if not isinstance(found, list) or len(found) != len(expected):
                return [f"{path}: {found} instead of {expected}"]
            pairs = enumerate(zip(found, expected, strict=True))
            return [d for i, (a, b) in pairs for d in differences(a, b, f"{path}[{i}]")]
    return [] if _same(found, expected) else [f"{path}: {found!r} instead of {expected!r}"]


def _keys(value: object) -> object:
    return list(value) if isinstance(value, dict) else value


def _same(found: object, expected: object) -> bool:
    same = type(found) is type(expected) and found == expected
    match expected, found:
        case oracle_money.Moment(time=time), str() if _RFC3339.fullmatch(found):
            same = abs(_seconds(found) - Fraction(time)) <= Fraction(1, 1000)
        case ((Mentions(words=words) | oracle_money.Says(words=words)), str()):
            same = all(word in found for word in words)
        case Opaque(), str():
            same = re.fullmatch("[0-9a-f]{16}", found) is not None
        case WholePercent(exact=exact), int():
            same = abs(found - exact) <= 0.5 + 1e-6
        case Points(), float():
            same = math.isclose(found, expected, abs_tol=1e-4)
        case float(), float():
            same = math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
        case str(), str() if _RFC3339.fullmatch(expected) and _RFC3339.fullmatch(found):
            same = abs(_seconds(found) - _seconds(expected)) <= Fraction(2, 10**6)
        case str(), str() if expected == NEW_ID:
            same = found == NEW_ID or _UUID7.fullmatch(found) is not None
    return same


def _seconds(time: str) -> Fraction:
    whole, _, fraction = time.removesuffix("Z").partition(".")
    seconds = datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
    return Fraction(int(seconds)) + Fraction(f"0.{fraction or 0}")


def rfc3339(time: float) -> str:
    """As times are told."""
    whole = math.floor(time)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = round((time - whole) * 10**6)
    return f"{text}.{min(fraction, 999_999):06}Z" if fraction else f"{text}Z"


# Plain arithmetic


def whole(value: float, digits: int) -> int:
    """A number of millionths or billionths, from what a person would read in the float."""
    return int((Decimal(repr(value)) * 10**digits).to_integral_value())


def dollars(nanodollars: float | Fraction) -> float:
    return float(Fraction(nanodollars) / 10**9)


def seconds(microseconds: float | Fraction) -> float:
    return float(Fraction(microseconds) / 10**6)


def share(part: int, of: int) -> float:
    return float(Fraction(part, of)) if of else 0.0


def floor_to(time: float, unit: int) -> float:
    """The beginning of the minute or the hour that `time` falls into."""
    return time // unit * unit


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The rates p whose distance to the observed one is just what chance explains in 95 %."""
    z = NormalDist().inv_cdf(0.975)
    rate = successes / n

    def beyond(p: float) -> bool:
        return abs(rate - p) > z * math.sqrt(p * (1 - p) / n)

    return _edge(beyond, 0.0, rate), _edge(beyond, 1.0, rate)


def _edge(beyond: Any, outside: float, inside: float) -> float:  # noqa: ANN401 - a predicate
    if not beyond(outside):
        return outside
    for _ in range(200):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if beyond(middle) else (outside, middle)
    return (outside + inside) / 2


def beta_below(x: float, successes: int, failures: int) -> float:
    """P(rate < x) under Beta(successes + 1/2, failures + 1/2): an exact sum from I_x(1/2, 1/2)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    total = [2 / math.pi * math.asin(math.sqrt(x))]
    for i in range(failures):
        b = i + 0.5
        total.append(math.exp(_log_term(x, 0.5, b)) / b)
    for i in range(successes):
        a, b = i + 0.5, failures + 0.5
        total.append(-math.exp(_log_term(x, a, b)) / a)
    return math.fsum(total)


def _log_term(x: float, a: float, b: float) -> float:
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return a * math.log(x) + b * math.log1p(-x) - log_beta


def trend(failures: Iterable[bool]) -> str:
    """The chart of ANALYTICS.md; an alarm is shown for the next 100 executions."""
    lambda_fast, lambda_slow = 1 - 2 ** (-1 / 50), 1 - 2 ** (-1 / 500)
    fast = baseline = 0.05
    alarms: list[tuple[int, str]] = []
    n = 0
    for n, failed in enumerate(failures, 1):
        fast += max(lambda_fast, 1 / (n + 1)) * (failed - fast)
        deviation = math.sqrt(
            max(baseline * (1 - baseline), 0.0099) * lambda_fast / (2 - lambda_fast)
        )
        z = (fast - baseline) / deviation
        if n > 30 and abs(z) > 4.5:
            alarms.append((n, "degrading" if z > 0 else "improving"))
            fast = baseline
        baseline += max(lambda_slow, 1 / (n + 1)) * (failed - baseline)
    return alarms[-1][1] if alarms and n - alarms[-1][0] < 100 else "stable"


class Finding(NamedTuple):
    """A cost that stands out, its place in the list, and what was usual.

    Of a rise, also the costs since it began.
    """

    place: int
    kind: str
    usual: float
    unusual: bool = True
    since: Sequence[float] = ()


def cost_findings(costs: Sequence[float], factor: float, least: int) -> list[Finding]:
    """The anomalies among the costs (all above zero) of one tool for one agent."""
    found: list[Finding] = []
    m, v, rise = 0.0, 0.25, 0.0
    run: list[float] = []
    clipped: list[float] = []
    for n, cost in enumerate(costs):
        x = math.log(cost)
        if n == 0:
            m = x
            clipped.append(x)
            continue
        z = (x - m) / max(math.sqrt(v), 0.1)
        if n >= 30:
            run = run if rise else []
            rise = max(0.0, rise + max(-3.0, min(3.0, z)) - 0.5)
            run = [*run, cost] if rise else []
        lasting, rise = rise > 8, 0.0 if rise > 8 else rise
        # What is exactly at the factor is not above it.
        above = x - m - math.log(factor) - 1e-9
        # Few costs tell how far what is usual reaches; of a single one that is itself.
        reach = 0.0 if n >= 30 or n < 2 else 2 * statistics.stdev(clipped)
        if n >= least and above > 0 and (n < 30 or z > 4):
            found.append(Finding(n, "spike", math.exp(m), above > reach))
        elif lasting:
            found.append(Finding(n, "rise", math.exp(m), since=run))
        gain = max(0.02, 1 / (n + 1))
        bound = 3 * max(math.sqrt(v), 0.1)
        step = max(-bound, min(bound, x - m))
        clipped.append(m + step)
        m, v = m + gain * step, (1 - gain) * (v + gain * step**2)
    return found


class Outlook(NamedTuple):
    """The next value of a series, its 80 % interval, and how good the past ones were."""

    value: float
    low: float
    high: float
    mean_error: float | None
    coverage: float | None


def outlook(values: Sequence[float], hours: Sequence[int], width: float, ceiling: float) -> Outlook:
    """Experts that are weighted apart after idle windows, the first busy one and further ones.

    `hours` has one more than `values`, that of the coming window; each is `width` seconds long.
    """
    profile: dict[int, float] = {}
    visits: Counter[int] = Counter()
    # After an idle window [0], after the first busy one [1], after another [2].
    scored = [0, 0, 0]
    losses = [[0.0] * 4, [0.0] * 9, [0.0] * 9]
    error = [0.0, 0.0, 0.0]
    q = [1.6, 1.6, 1.6]
    level = 0.0
    busy = 0
    experts: list[float] = []
    value = low = high = 0.0
    kind = 0
    cut_errors: list[float] = []
    inside: list[bool] = []
    for t, y in enumerate(values):
        hour, coming = hours[t], hours[t + 1]
        before = values[t - 1] if t else 0.0
        if t:
            cut_errors.append(abs(min(ceiling, value) - min(ceiling, y)))
            inside.append(min(ceiling, low) <= min(ceiling, y) <= min(ceiling, high))
            scored[kind] += 1
            share = max(0.04, 1 / scored[kind])
            losses[kind] = [
                (1 - share) * loss + share * abs(expert - y)
                for loss, expert in zip(losses[kind], experts, strict=True)
            ]
            q[kind] = max(0.05, q[kind] * math.exp(0.1 * ((not low <= y <= high) - 0.2)))
            off = abs(value - y)
            if t == 1:
                error = [off, off, off]
            share = max(0.1, 2 / (scored[kind] + 1))
            error[kind] = (1 - share) * error[kind] + share * off
        if y:
            busy += 1
            share = max(0.05, 1 / busy)
            level = (1 - share) * level + share * y
        gain = max(0.1, 1 / (visits[hour] + 1))
        profile[hour] = profile.get(hour, 0.0) + gain * (y - profile.get(hour, 0.0))
        visits[hour] += 1
        usual, ahead = profile[hour], profile.get(coming, y)
        median = median_high(values[max(0, t - 4) : t + 1])
        experts = _experts(y, before, usual, ahead)
        experts += [median, level] if y else [median]
        kind = (2 if before else 1) if y else 0
        # Without a window of its kind before: zero or the last value, as after the first busy one.
        like = kind if scored[kind] or not y else 1
        weights = _weights(like, losses[like], scored[like], width)
        if not scored[kind] and y:
            value = y if weights[1] > weights[0] else 0.0
        elif weights[0] > 0.8 * sum(weights):
            value = 0.0
        else:
            value = sum(w * e for w, e in zip(weights, experts, strict=True)) / sum(weights)
        reach = q[kind] * max(1e-3, error[kind])
        low, high = max(0.0, value - reach), value + reach
    return Outlook(
        value,
        low,
        high,
        mean(cut_errors) if cut_errors else None,
        float(mean(inside[1:])) if inside[1:] else None,
    )


def _experts(y: float, before: float, usual: float, ahead: float) -> list[float]:
    """What they say after `y`, with what is usual in its hour and in the one ahead."""
    shifted = max(0.0, ahead + 0.9 * (y - usual))
    if not y:
        return [0.0, ahead, shifted]
    grown, trend = y * min(4.0, ahead / usual), max(0.0, y + 0.7 * (y - before))
    return [0.0, y, ahead, shifted, (y + ahead) / 2, grown, trend]


def _weights(kind: int, losses: Sequence[float], scored: int, width: float) -> list[float]:
    """The weights of the experts after a window of a kind."""
    last = 1 if kind else 0
    sharpness = min(30, 1.5 * scored) / max(1e-300, losses[last])
    weights = [math.exp(sharpness * (min(losses) - loss)) for loss in losses]
    if kind:
        weights[0] *= (5, 15)[kind - 1] * (width / 1000) ** (2 / (1 + scored))
    weights[last] *= (300, 5, 15)[kind]
    return weights


# The oracle


About = Callable[[Span], bool]
"""Which findings somebody wants."""


def everything(_: Span) -> bool:
    return True


class Oracle:
    """Everything that was sent to a daemon, in the order of the commits, and what it answers."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings(timezone="UTC")
        self.entries: list[JournalEntry] = []
        self._sent: dict[int, Execution] = {}
        self._ids: set[str] = set()
        self._found: tuple[tuple[int, float], list[Span]] = ((0, 0.0), [])
        self._counted: dict[str, list[str]] = {"agent": [], "tool": []}

    # Recording

    def send(self, at: float, request: Submission) -> Json:
        """Take in what was received at `at`; gives the answer."""
        match request:
            case RecordExecutions(executions=executions):
                fates = Counter(self._record(at, execution) for execution in executions)
                return {fate: fates[fate] for fate in ("accepted", "duplicates", "expired")}
            case StartExecution():
                entry: JournalEntry = ExecutionStarted(
                    seq=self._next_seq,
                    recorded_at=at,
                    agent=self._name("agent", request.agent_id),
                    task_id=request.task_id,
                    tool=request.tool_name,
                    started_at=_given(request.started_at, at),
                )
            case ReportAgent():
                entry = AgentReported(
                    seq=self._next_seq,
                    recorded_at=at,
                    agent=self._name("agent", request.agent_id),
                    queue_depth=_given(request.queue_depth, None),
                    status=_given(request.status, None),
                    concurrency=_given(request.concurrency, None),
                )
            case ReportCosts():
                estimated = _given(request.total_estimated_usd, None)
                entry = CostsReported(
                    seq=self._next_seq,
                    recorded_at=at,
                    source=request.source,
                    mission=_given(request.mission_id, None),
                    actual=whole(request.total_actual_usd, 9),
                    estimate=None if estimated is None else whole(estimated, 9),
                    since=_given(request.since, None),
                    until=_given(request.until, at),
                )
            case ReportBudget():
                entry = BudgetReported(
                    seq=self._next_seq,
                    recorded_at=at,
                    service=request.service,
                    limit=whole(request.limit_usd, 9),
                    period=request.period,
                    spent=whole(request.spent_usd, 9),
                )
        self.entries.append(entry)
        return {}

    def _record(self, at: float, execution: Execution) -> str:
        finished_at = _given(execution.finished_at, at)
        execution_id = _given(execution.execution_id, NEW_ID)
        if execution_id in self._ids:
            return "duplicates"
        if finished_at < self._month(at):
            return "expired"
        if execution_id != NEW_ID:
            self._ids.add(execution_id)
        entry = ExecutionRecorded(
            seq=self._next_seq,
            recorded_at=at,
            agent=self._name("agent", execution.agent_id),
            tool=self._name("tool", execution.tool_name),
            execution_id=execution_id,
            task_id=execution.task_id,
            finished_at=finished_at,
            duration=whole(execution.duration_seconds, 6),
            success=execution.success,
            cost=whole(execution.cost_actual, 9),
            estimate=whole(execution.cost_estimate, 9),
            tokens=execution.tokens_used,
            effort=execution.human_effort_level,
            browser=execution.browser_used,
            error_type=execution.error_type,
        )
        self.entries.append(entry)
        self._sent[entry.seq] = execution
        return "accepted"

    @property
    def _next_seq(self) -> int:
        return len(self.entries) + 1

    def _name(self, kind: str, name: str) -> str:
        """Names beyond the limit, in the order of the commits, are `~other`."""
        names, limits = self._counted[kind], self.settings.limits
        limit = limits.max_agents if kind == "agent" else limits.max_tools
        if name not in names and name != "~other" and len(names) < limit:
            names.append(name)
        return name if name in names else "~other"

    # Windows

    def _executions(self, since: float = -math.inf) -> list[ExecutionRecorded]:
        return [
            entry
            for entry in self.entries
            if isinstance(entry, ExecutionRecorded) and entry.finished_at >= since
        ]

    @staticmethod
    def _day(now: float) -> float:
        return floor_to(now, MINUTE) - 1439 * MINUTE

    @staticmethod
    def _month(now: float) -> float:
        return floor_to(now, HOUR) - 719 * HOUR

    def _midnight(self, now: float) -> float:
        """The first minute that has the same date as now, in the daemon's zone."""
        zone = config.timezone(self.settings)
        today = datetime.fromtimestamp(now, zone).date()
        time = floor_to(now, MINUTE)
        while datetime.fromtimestamp(time - MINUTE, zone).date() == today:
            time -= MINUTE
        return time

    # The queries

    def get_agents_status(self, now: float) -> Json:
        day, midnight = self._executions(self._day(now)), self._executions(self._midnight(now))
        agents = []
        for agent in self._agents(now):
            own = [e for e in day if e.agent == agent.name]
            agents.append(
                {
                    "agent_id": agent.name,
                    "status": agent.status,
                    "current_task_id": agent.running[-1].task_id if agent.running else None,
                    "tasks_completed_today": sum(e.agent == agent.name for e in midnight),
                    "executions_24h": len(own),
                    "avg_response_time": seconds(_mean(e.duration for e in own)),
                    "success_rate": share(sum(e.success for e in own), len(own)),
                    "queue_depth": agent.queue_depth,
                    "last_activity": rfc3339(agent.last_activity),
                }
            )
        return {"timestamp": rfc3339(now), "total_agents": len(agents), "agents": agents}

    def get_task_pipeline(self, now: float) -> Json:
        day = self._executions(self._day(now))
        agents = self._agents(now)
        hours = [floor_to(now, HOUR) - back * HOUR for back in range(23, -1, -1)]
        return {
            "timestamp": rfc3339(now),
            "last_24_hours": {
                "total_tasks": len(day),
                "successful_tasks": sum(e.success for e in day),
                "failed_tasks": sum(not e.success for e in day),
                "success_rate": share(sum(e.success for e in day), len(day)),
                "tool_breakdown": {
                    tool: {
                        "total": len(own),
                        "successful": sum(e.success for e in own),
                        "failed": sum(not e.success for e in own),
                        "success_rate": share(sum(e.success for e in own), len(own)),
                        "avg_duration": seconds(_mean(e.duration for e in own)),
                    }
                    for tool, own in _by_tool(day).items()
                },
                "by_effort_level": {
                    level: sum(e.effort == level for e in day)
                    for level in ("LOW", "MEDIUM", "HIGH")
                },
                "by_browser": {
                    "used": sum(e.browser for e in day),
                    "not_used": sum(not e.browser for e in day),
                },
            },
            "in_flight": sum(len(agent.running) for agent in agents),
            "queued": sum(agent.queue_depth for agent in agents),
            "hourly": [
                {
                    "hour": rfc3339(hour),
                    "total_tasks": len(own := self._in_hour(hour)),
                    "failed_tasks": sum(not e.success for e in own),
                }
                for hour in hours
            ],
        }

    def get_api_usage_and_costing(self, now: float, database_bytes: int = 0) -> Json:
        day = self._executions(self._day(now))
        by_agent = _grouped(day, lambda e: e.agent)
        kept = floor_to(now, MINUTE) - (self.settings.retention.tier1_hours * 60 - 1) * MINUTE
        records, summaries = len(self._executions(kept)), len(self._hours(now))
        megabytes = Fraction(records * 500 + summaries * 200, 1_048_576)
        price = Fraction(str(self.settings.cost.storage_price_per_gib_month))
        storage_daily = megabytes / 1024 * price / 30
        cost, tokens = sum(e.cost for e in day), sum(e.tokens for e in day)
        return {
            "timestamp": rfc3339(now),
            "api_usage": {
                "total_tasks_24h": len(day),
                "total_tokens_24h": tokens,
                "avg_tokens_per_task": share(tokens, len(day)),
            },
            "costing": {
                "execution_costs_24h": dollars(cost),
                "estimated_costs_24h": dollars(sum(e.estimate for e in day)),
                "storage_costs_daily": float(storage_daily),
                "total_daily_cost": float(Fraction(cost, 10**9) + storage_daily),
                "by_tool": {k: dollars(sum(e.cost for e in v)) for k, v in _by_tool(day).items()},
                "by_agent": {k: dollars(sum(e.cost for e in v)) for k, v in by_agent.items()},
            },
            "storage": {
                "tier1_raw_records": records,
                "tier2_hourly_summaries": summaries,
                "estimated_size_mb": float(megabytes),
                "database_size_mb": database_bytes / 1_048_576,
            },
            "budgets": oracle_money.budgets(
                self.settings.budget,
                self._executions(),
                [e for e in self.entries if isinstance(e, BudgetReported)],
                now,
                config.timezone(self.settings),
            ),
            "reconciliation": oracle_money.reconciliation(
                self._executions(), [e for e in self.entries if isinstance(e, CostsReported)], now
            ),
        }

    def get_system_learning(self, now: float) -> Json:
        month = _by_tool(self._executions(self._month(now)))
        profiles = [self._profile(tool, own, now) for tool, own in month.items()]
        profiles.sort(key=lambda profile: (-profile["total_executions"], profile["tool_name"]))
        levels = [profile["confidence_level"] for profile in profiles]
        return {
            "timestamp": rfc3339(now),
            "confidence_distribution": {
                f"{level.lower()}_confidence": levels.count(level)
                for level in ("HIGH", "MEDIUM", "LOW")
            },
            "tool_profiles": profiles,
        }

    def get_risk_patterns(self, now: float, about: About = everything) -> Json:
        day = self._executions(self._day(now))
        lasting = [span for span in self._lasting(now) if about(span)]
        anomalies = [found for found in self._anomalies() if found[0].finished_at >= self._day(now)]
        anomalies.sort(key=lambda found: (-found[0].finished_at, -found[0].seq))
        return {
            "timestamp": rfc3339(now),
            "failure_patterns": {
                tool: self._failure_pattern(tool, own)
                for tool, own in _by_tool(day).items()
                if not all(e.success for e in own)
            },
            "cost_anomalies": [
                {
                    "kind": finding.kind,
                    "execution_id": e.execution_id,
                    "task_id": e.task_id,
                    "agent_id": e.agent,
                    "tool_name": e.tool,
                    "cost": dollars(e.cost),
                    "average_cost": dollars(finding.usual),
                    "ratio": e.cost / finding.usual,
                    "unusual": finding.unusual,
                    "timestamp": rfc3339(e.finished_at),
                }
                for e, finding in anomalies[:100]
            ],
            "total_cost_anomalies": len(anomalies),
            "findings": [self._finding(span, now) for span in lasting[:50]],
            "total_findings": len(lasting),
        }

    def get_risk_history(self, now: float, limit: int = 100, about: About = everything) -> Json:
        month = self._month(now)
        spans = [s for s in self._spans(now) if (s.ended_by(now) or now) >= month and about(s)]
        spans.sort(key=lambda span: (-span.began, *_place(span)))
        return {
            "timestamp": rfc3339(now),
            "total_findings": len(spans),
            "findings": [self._finding(span, now) for span in spans[:limit]],
        }

    def get_tool_recommendations(self, now: float) -> Json:
        month = self._executions(self._month(now))
        tools = sorted(
            _by_tool(month).items(),
            key=lambda tool: Fraction(sum(e.success for e in tool[1]), len(tool[1])),
        )
        low = [(tool, own) for tool, own in tools if self._level(own) == "LOW"]
        degrading = {
            span.subject["tool_name"] for span in self._lasting(now) if span.kind == "degrading"
        }
        worse = [each for each in tools if each not in low and each[0] in degrading]
        return {
            "timestamp": rfc3339(now),
            "total_recommendations": len(low),
            "recommendations": [self._recommendation(tool, own, now) for tool, own in low],
            "watch": [self._recommendation(tool, own, now) for tool, own in worse],
        }

    def get_predictive_capacity(self, now: float) -> Json:
        return {
            "timestamp": rfc3339(now),
            "window_seconds": self.settings.capacity.window_seconds,
            "forecasts": [self._forecast(agent, now) for agent in self._agents(now)],
        }

    def get_all(self, now: float) -> Json:
        return {
            "timestamp": rfc3339(now),
            "agents": self.get_agents_status(now),
            "capacity": self.get_predictive_capacity(now),
            "pipeline": self.get_task_pipeline(now),
            "costs": self.get_api_usage_and_costing(now),
            "learning": self.get_system_learning(now),
            "risks": self.get_risk_patterns(now),
        }

    def get_executions(self, now: float, request: GetExecutions) -> list[Json]:
        """Every record that a walk over all pages gives."""
        kept = floor_to(now, MINUTE) - (self.settings.retention.tier1_hours * 60 - 1) * MINUTE
        newest_first = sorted(
            self._executions(max(kept, _given(request.since, kept))),
            key=lambda e: (-e.finished_at, -e.seq),
        )
        asked = {
            name: value
            for name in ("agent_id", "tool_name", "task_id", "success")
            if (value := _given(getattr(request, name), None)) is not None
        }
        sent = [(e, self._sent[e.seq]) for e in newest_first]
        return [
            _as_stored(e, execution)
            for e, execution in sent
            if all(getattr(execution, name) == value for name, value in asked.items())
        ]

    def get_hourly_summaries(
        self, now: float, since: float = -math.inf, until: float = math.inf
    ) -> Json:
        hours = [hour for hour in self._hours(now) if since <= hour < until]
        return {"summaries": [_summary(hour, self._in_hour(hour)) for hour in hours]}

    # Agents

    def _agents(self, now: float) -> "list[AgentFacts]":
        """Those with an execution or a report in the 24-hour window, or with an open task."""
        names = sorted({entry.agent for entry in self.entries if isinstance(entry, AgentEntry)})
        agents = [AgentFacts(name, self._history(name, now), now, self.settings) for name in names]
        since = self._day(now)
        return [
            agent
            for agent in agents
            if agent.running
            or any(e.finished_at >= since for e in agent.executions)
            or any(e.recorded_at >= since for e in agent.reports)
        ]

    def _history(self, name: str, now: float) -> list[JournalEntry]:
        """What an agent sent since it was last silent for more than 30 days."""
        found: list[JournalEntry] = []
        heard = -math.inf
        for entry in self.entries:
            if isinstance(entry, AgentEntry) and entry.agent == name:
                if entry.recorded_at - heard > MONTH:
                    found = []
                found.append(entry)
                heard = max(heard, entry.recorded_at)
        return [] if now - heard > MONTH else found

    # Tools

    def _lives(self, tool: str) -> list[list[ExecutionRecorded]]:
        """In the order of recording, cut where it was out of the 30-day window and 2 hours."""
        found: list[list[ExecutionRecorded]] = [[]]
        for e in self._executions():
            if e.tool == tool:
                latest = max((o.finished_at for o in found[-1]), default=math.inf)
                if latest < self._month(e.recorded_at) - 7200:
                    found.append([])
                found[-1].append(e)
        return found

    def _remembered(self, tool: str) -> list[ExecutionRecorded]:
        return self._lives(tool)[-1]

    def _last_change(self, tool: str, level: str, now: float) -> Json:
        """When the level became another one: with an execution, or as older ones left."""
        kept: list[ExecutionRecorded] = []
        known: str | None = None
        changed: tuple[float | None, str | None, Any] = (None, None, None)
        last_hour = -math.inf

        def look(at: float) -> None:
            nonlocal known, changed
            if not kept:
                known, changed = None, (None, None, None)
                return
            new = self._level(kept)
            if known is not None and new != known:
                counts = (str(sum(e.success for e in kept)), str(len(kept)))
                changed = (at, known, Mentions(counts))
            known = new

        # The hours turn with every entry, whatever it is of.
        for entry in [*self.entries, None]:
            hour = max(last_hour, floor_to(entry.recorded_at if entry else now, HOUR))
            for old in sorted({floor_to(e.finished_at, HOUR) for e in kept}):
                if old < self._month(hour):
                    kept[:] = [e for e in kept if floor_to(e.finished_at, HOUR) != old]
                    look(old + MONTH)
            last_hour = hour
            is_run = isinstance(entry, ExecutionRecorded) and entry.tool == tool
            if is_run and entry.finished_at >= self._month(hour):
                kept.append(entry)
                look(entry.recorded_at)
        if known != level:
            changed = (None, None, None)
        at, previous, reason = changed
        return {
            "level_changed_at": None if at is None else rfc3339(at),
            "previous_level": previous,
            "level_change_reason": reason,
        }

    def _level(self, own: list[ExecutionRecorded]) -> str:
        rules = self.settings.learning
        rate = Fraction(sum(e.success for e in own), len(own))
        if len(own) < rules.min_executions:
            return "MEDIUM"
        if rate >= Fraction(str(rules.high_success_rate)):
            return "HIGH"
        return "MEDIUM" if rate >= Fraction(str(rules.medium_success_rate)) else "LOW"

    def _profile(self, tool: str, own: list[ExecutionRecorded], now: float) -> Json:
        n, successes = len(own), sum(e.success for e in own)
        low, high = wilson(successes, n)
        level, rules = self._level(own), self.settings.learning
        bands = {
            "HIGH": (rules.high_success_rate, 1.0),
            "MEDIUM": (rules.medium_success_rate, rules.high_success_rate),
            "LOW": (0.0, rules.medium_success_rate),
        }
        below = [beta_below(edge, successes, n - successes) for edge in bands[level]]
        remembered = self._remembered(tool)
        return {
            "tool_name": tool,
            "total_executions": n,
            "successful_executions": successes,
            "failed_executions": n - successes,
            "success_rate": share(successes, n),
            "success_rate_low": low,
            "success_rate_high": high,
            "avg_duration": seconds(_mean(e.duration for e in own)),
            "avg_cost": dollars(_mean(e.cost for e in own)),
            "avg_tokens": float(_mean(e.tokens for e in own)),
            "confidence_level": level,
            "level_probability": below[1] - below[0],
            "trend": trend(not e.success for e in remembered),
            "last_execution": rfc3339(max(e.finished_at for e in remembered)),
            **self._last_change(tool, level, now),
        }

    # Risks

    def _classes(self, tool: str, own: list[ExecutionRecorded]) -> dict[str, int]:
        """Failures by class, the most frequent first; beyond 50 classes of a tool `~other`."""
        failed = [e.error_type or "unknown" for e in self._remembered(tool) if not e.success]
        admitted = list(dict.fromkeys(failed))[:50]
        classes = (e.error_type or "unknown" for e in own if not e.success)
        counts = Counter(name if name in admitted else "~other" for name in classes)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _failure_pattern(self, tool: str, own: list[ExecutionRecorded]) -> Json:
        failures = [e for e in own if not e.success]
        total, failed = len(own), len(failures)
        remembered = self._remembered(tool)
        streak = _failures_at_the_end(remembered)
        classes = self._classes(tool, own)
        named = max((count for name, count in classes.items() if name != "unknown"), default=0)
        medium = Fraction(str(self.settings.learning.medium_success_rate))
        signs = {
            "streak": streak >= 3,
            "high_failure_rate": total >= self.settings.risk.min_executions
            and Fraction(failed, total) > 1 - medium,
            "dominant_error": failed >= 3 and 2 * named > failed,
            "degrading": trend(not e.success for e in remembered) == "degrading",
        }
        newest = sorted(failures, key=lambda e: (-e.finished_at, -e.seq))[:10]
        return {
            "total": total,
            "failed": failed,
            "failure_rate": share(failed, total),
            "consecutive_failures": streak,
            "error_types": classes,
            "patterns": [name for name, shows in signs.items() if shows],
            "recent_failures": [
                {
                    "task_id": e.task_id,
                    "agent_id": e.agent,
                    "timestamp": rfc3339(e.finished_at),
                    "duration": seconds(e.duration),
                    "error_type": e.error_type,
                }
                for e in newest
            ],
        }

    def _anomalies(self) -> Iterator[tuple[ExecutionRecorded, Finding]]:
        rules = self.settings.risk
        costly = [e for e in self._executions() if e.cost]
        for own in _grouped(costly, lambda e: (e.agent, e.tool)).values():
            costs = [e.cost for e in own]
            for found in cost_findings(costs, rules.cost_anomaly_factor, rules.min_executions):
                yield own[found.place], found

    def _spans(self, now: float) -> list[Span]:
        """Every finding that there ever was; told again as long as nothing comes."""
        asked = (len(self.entries), now)
        if self._found[0] != asked:
            self._found = (asked, self._all_spans(now))
        return self._found[1]

    def _all_spans(self, now: float) -> list[Span]:
        rules, executions = self.settings, self._executions()
        spans = []
        for tool in _by_tool(executions):
            for own in self._lives(tool):
                spans += findings.streaks(tool, own)
                spans += findings.of_the_window(tool, own, now, rules)
                spans += findings.worsenings(tool, own, trend)
                spans += findings.slow_downs(tool, own)
        for agent, own in _grouped(executions, lambda e: e.agent).items():
            if agent != "~other":
                spans += findings.loops(agent, own, rules.agents.execution_timeout_seconds)
        heard = [entry for entry in self.entries if isinstance(entry, AgentEntry)]
        for agent in sorted({entry.agent for entry in heard} - {"~other"}):
            entries = [entry for entry in heard if entry.agent == agent]
            spans += findings.silences(agent, entries, now, rules)
        anomalies = list(self._anomalies())
        spans += [
            findings.spike(e, found.usual)
            for e, found in anomalies
            if found.kind == "spike" and found.unusual
        ]
        risen = {e.seq: found for e, found in anomalies if found.kind == "rise"}
        costly = [e for e in executions if e.cost]
        for (agent, tool), own in _grouped(costly, lambda e: (e.agent, e.tool)).items():
            spans += findings.rises(agent, tool, own, risen)
        zone = config.timezone(rules)
        return spans + oracle_budgets.findings(rules.budget, self.entries, zone, now)

    def _lasting(self, now: float) -> list[Span]:
        """The worst first, and of those the one that began last."""
        ranks = ("alarm", "warning", "info")
        lasting = [span for span in self._spans(now) if span.ended_by(now) is None]
        return sorted(lasting, key=lambda s: (ranks.index(s.severity), -s.began, *_place(s)))

    def _finding(self, span: Span, now: float) -> Json:
        subjects = ("agent_id", "tool_name", "task_id", "service")
        subject = {name: span.subject.get(name) for name in subjects}
        evidence = dict.fromkeys(("failed", "error_type", "value", "usual", "ratio", "waiting"))
        evidence |= span.evidence
        failed, executions = evidence["failed"], evidence["executions"]
        ended = span.ended_by(now)
        return subject | {
            "finding_id": Opaque(),
            "kind": span.kind,
            "severity": span.severity,
            "began": rfc3339(span.began),
            "ended": None if ended is None else rfc3339(ended),
            "summary": Mentions(tuple(name for name in subject.values() if name)[:1]),
            "evidence": evidence | {"rate": None if failed is None else failed / executions},
        }

    def _recommendation(self, tool: str, own: list[ExecutionRecorded], now: float) -> Json:
        failures = [e for e in own if not e.success]
        named = [name for name in self._classes(tool, own) if name != "unknown"]
        fallback, first_tries, succeeded = self._fallback(tool, now)
        tried = len(first_tries)
        figures = (str(tried), str(succeeded), fallback) if fallback else ()
        began = [
            span.began
            for span in self._lasting(now)
            if span.subject.get("tool_name") == tool
            and span.kind in {"streak", "high_failure_rate", "degrading"}
        ]
        agents = Counter(e.agent for e in failures)
        most = sorted(agents, key=lambda agent: (-agents[agent], agent))[:5]

        def compared(what: str) -> float | None:
            usual = _mean(getattr(e, what) for e in own)
            here = _mean(getattr(e, what) for e in first_tries)
            return float(here / usual) if fallback and usual else None

        supported = (
            fallback is not None
            and tried >= 3
            and (Fraction(succeeded, tried) > 1 - Fraction(len(failures), len(own)))
        )
        missing = (not named, not began, not supported, fallback and compared("cost") is None)
        return {
            "tool": tool,
            "confidence_level": self._level(own),
            "reason": Mentions((str(len(failures)), str(len(own)))),
            "executions": len(own),
            "failed": len(failures),
            "recommendation": Mentions((*named[:1], *figures)),
            "fallback_tool": fallback,
            "fallback_success_rate": share(succeeded, tried) if fallback else None,
            "since": rfc3339(min(began)) if began else None,
            "agents": {agent: agents[agent] for agent in most},
            "fallback_tried": tried if fallback else None,
            "fallback_cost_ratio": compared("cost"),
            "fallback_duration_ratio": compared("duration"),
            "missing": [Mentions(())] * sum(map(bool, missing)),
        }

    def _fallback(
        self, failed_tool: str, now: float
    ) -> tuple[str | None, list[ExecutionRecorded], int]:
        """What most often succeeded on the tasks that the tool had failed on; each counts once."""
        tried: dict[str, list[ExecutionRecorded]] = defaultdict(list)
        succeeded: Counter[str] = Counter()
        for task in _grouped(self._executions(), lambda e: e.task_id).values():
            failures = [i for i, e in enumerate(task) if e.tool == failed_tool and not e.success]
            after = task[failures[0] + 1 :] if failures else []
            for tool, own in _by_tool(after).items():
                # It counts where it was tried first, so that try and success go together.
                if tool != failed_tool and own[0].finished_at >= self._month(now):
                    tried[tool].append(own[0])
                    succeeded[tool] += any(e.success for e in own)
        helpful = [tool for tool in sorted(tried) if succeeded[tool]]
        best = min(helpful, key=lambda tool: (-succeeded[tool], len(tried[tool])), default=None)
        return (best, tried[best], succeeded[best]) if best else (None, [], 0)

    # Capacity

    def _forecast(self, agent: "AgentFacts", now: float) -> Json:
        parallel = agent.concurrency or self._most_at_once(agent.name)
        outlook = self._outlook(agent.name, parallel, now)
        recent = [
            e for e in self._executions(floor_to(now, MINUTE) - 9 * MINUTE) if e.agent == agent.name
        ]
        in_system = round(sum(min(seconds(e.duration), 600) for e in recent) / 600)
        waiting = agent.queue_depth if agent.reports else max(0, in_system - parallel)
        running = [(e.tool, e.started_at) for e in agent.running]
        if not agent.starts:
            running = [("", now)] * min(parallel, in_system)
        day = self._executions(floor_to(now, HOUR) - 23 * HOUR)
        tools = _by_tool(e for e in day if e.agent == agent.name)
        offline = agent.status == "OFFLINE"
        # What was done in the open window is no longer free, whatever was forecast of it.
        done_so_far = self._done_so_far(agent.name, now)
        low, likely, high = (
            WholePercent(
                0.0 if offline else 100 * (1 - min(1.0, max(busy, done_so_far) / parallel))
            )
            for busy in (outlook.high, outlook.value, outlook.low)
        )
        done = _completion(now, waiting, running, tools, parallel)
        error = outlook.mean_error
        return {
            "agent_id": agent.name,
            "estimated_available_capacity": likely,
            "capacity_low": low,
            "capacity_high": high,
            "current_queue_depth": waiting,
            "queue_source": "reported"
            if agent.reports
            else ("started" if agent.starts else "estimated"),
            "predicted_completion_time": None if done is None else rfc3339(done),
            "bottleneck_tools": _bottlenecks(tools, floor_to(now, HOUR) - HOUR),
            "forecast_error": None if error is None else Points(100 * error / parallel),
            "interval_coverage": outlook.coverage,
        }

    def _outlook(self, agent: str, parallel: int, now: float) -> Outlook:
        width = self.settings.capacity.window_seconds
        current = int(now // width)
        busy = self._busy(agent, current - MONTH // width)
        closed = [window for window in busy if window < current]
        if not closed:
            # Before a window has closed: what it has done in this one.
            so_far = busy.get(current, 0) / 10**6 / max(60.0, now - current * width)
            return Outlook(so_far, 0.0, float(parallel), None, None)
        windows = range(min(closed), current)
        values = [busy.get(window, 0) / (width * 10**6) for window in windows]
        hours = [window * width // HOUR % 24 for window in (*windows, current)]
        found = outlook(values, hours, width, parallel)
        # Nothing is known of how far off a forecast may be until one could be compared.
        return (
            found if found.mean_error is not None else Outlook(found[0], 0.0, parallel, None, None)
        )

    def _done_so_far(self, agent: str, now: float) -> float:
        width = self.settings.capacity.window_seconds
        current = int(now // width)
        return self._busy(agent, current).get(current, 0) / (width * 10**6)

    def _busy(self, agent: str, first: int) -> dict[int, int]:
        """Microseconds of work that fall into each window from number `first` on."""
        width = self.settings.capacity.window_seconds * 10**6
        busy: Counter[int] = Counter()
        for e in self._executions():
            if e.agent == agent and e.duration:
                end = round(Fraction(e.finished_at) * 10**6)
                start = end - e.duration
                for window in range(max(first, start // width), end // width + 1):
                    busy[window] += max(
                        0, min(end, (window + 1) * width) - max(start, window * width)
                    )
        return {window: amount for window, amount in busy.items() if amount}

    def _most_at_once(self, agent: str) -> int:
        """Two executions run at once where they overlap by more than 10 ms."""
        times = []
        for e in self._executions():
            if e.agent == agent and e.duration > 10_000:
                end = round(Fraction(e.finished_at) * 10**6)
                times.append((end - e.duration + 10_000, end))
        depths = [sum(start <= begin < end for start, end in times) for begin, _ in times]
        return max(depths, default=1)

    # Tier 2

    def _hours(self, now: float) -> list[float]:
        first = floor_to(now, HOUR) - (self.settings.retention.tier2_days * 24 - 1) * HOUR
        return sorted({floor_to(e.finished_at, HOUR) for e in self._executions(first)})

    def _in_hour(self, hour: float) -> list[ExecutionRecorded]:
        return [e for e in self._executions(hour) if e.finished_at < hour + HOUR]


class AgentFacts:
    """One agent at one time, from all that it sent."""

    def __init__(
        self, name: str, history: list[JournalEntry], now: float, settings: Settings
    ) -> None:
        self.name = name
        self._history = history
        self._now = now
        self._rules = settings.agents
        self.executions = [e for e in history if isinstance(e, ExecutionRecorded)]
        self.starts = [e for e in history if isinstance(e, ExecutionStarted)]
        self.reports = [e for e in history if isinstance(e, AgentReported)]

    @property
    def running(self) -> list[ExecutionStarted]:
        """Its open tasks, in the order of opening; when it opens one, timed out ones are over."""
        timeout = self._rules.execution_timeout_seconds
        tasks: list[ExecutionStarted] = []
        for entry in self._history:
            if isinstance(entry, ExecutionRecorded):
                tasks = [task for task in tasks if task.task_id != entry.task_id]
            elif isinstance(entry, ExecutionStarted):
                tasks = [
                    task
                    for task in tasks
                    if task.task_id != entry.task_id
                    and task.started_at > entry.recorded_at - timeout
                ]
                tasks.append(entry)
        return [task for task in tasks if task.started_at > self._now - timeout]

    @property
    def status(self) -> str:
        silence = self._now - max(entry.recorded_at for entry in self._history)
        if self.reports and silence >= self._rules.offline_after_seconds:
            return "OFFLINE"
        if self.reports and self.reports[-1].status:
            return self.reports[-1].status
        if self.running or self.queue_depth > 0:
            return "BUSY"
        return "ERROR" if _failures_at_the_end(self.executions) >= 3 else "IDLE"

    @property
    def queue_depth(self) -> int:
        """What it last said of it; a report without it changes nothing."""
        said = [e.queue_depth for e in self.reports if e.queue_depth is not None]
        return said[-1] if said else 0

    @property
    def concurrency(self) -> int | None:
        said = [e.concurrency for e in self.reports if e.concurrency is not None]
        return said[-1] if said else None

    @property
    def last_activity(self) -> float:
        times = [e.finished_at for e in self.executions]
        times += [e.started_at for e in self.starts]
        return max(times + [e.recorded_at for e in self.reports])


def _place(span: Span) -> tuple[str, str, str, str, int, str]:
    """Among findings that began at the same time."""
    of = span.subject.get
    return span.kind, of("agent_id", ""), of("tool_name", ""), of("task_id", ""), span.seq, span.key


def _given(value: Any, otherwise: T) -> Any | T:  # noqa: ANN401 - any field of a request
    return otherwise if value is UNSET else value


def _mean(values: Iterable[int]) -> Fraction:
    numbers = list(values)
    return Fraction(sum(numbers), len(numbers)) if numbers else Fraction(0)


def _grouped(
    executions: Iterable[ExecutionRecorded],
    key: Any,  # noqa: ANN401 - gives a sortable key
) -> dict[Any, list[ExecutionRecorded]]:
    groups: dict[Any, list[ExecutionRecorded]] = defaultdict(list)
    for execution in executions:
        groups[key(execution)].append(execution)
    return dict(sorted(groups.items()))


def _by_tool(executions: Iterable[ExecutionRecorded]) -> dict[str, list[ExecutionRecorded]]:
    return _grouped(executions, lambda e: e.tool)


def _failures_at_the_end(executions: Sequence[ExecutionRecorded]) -> int:
    """Of those that were recorded within the 24-hour window of their end."""
    timely = [e for e in executions if findings.is_timely(e)]
    successes = [i for i, e in enumerate(timely) if e.success]
    return len(timely) - (successes[-1] + 1 if successes else 0)


def _summary(hour: float, own: list[ExecutionRecorded]) -> Json:
    return {
        "hour": rfc3339(hour),
        "total_tasks": len(own),
        "successful_tasks": sum(e.success for e in own),
        "failed_tasks": sum(not e.success for e in own),
        "total_cost": dollars(sum(e.cost for e in own)),
        "total_tokens": sum(e.tokens for e in own),
        "avg_task_duration": seconds(_mean(e.duration for e in own)),
        "avg_cost_per_task": dollars(_mean(e.cost for e in own)),
        "tool_execution_counts": {tool: len(each) for tool, each in _by_tool(own).items()},
    }


def _as_stored(entry: ExecutionRecorded, sent: Execution) -> Json:
    return structs.asdict(sent) | {
        "execution_id": entry.execution_id,
        "finished_at": entry.finished_at,
    }


def _completion(
    now: float,
    waiting: int,
    running: list[tuple[str, float]],
    tools: dict[str, list[ExecutionRecorded]],
    parallel: int,
) -> float | None:
    """When what waits and runs should be done, at the mean durations of the last 24 hours."""
    if not tools or not (waiting or running):
        return None
    usual = seconds(_mean(e.duration for own in tools.values() for e in own))
    usual_of = {tool: seconds(_mean(e.duration for e in own)) for tool, own in tools.items()}
    left = [max(0.0, usual_of.get(tool, usual) - (now - since)) for tool, since in running]
    done = now + max([*left, (sum(left) + waiting * usual) / parallel])
    return min(done, 253_402_300_799.0)


def _bottlenecks(tools: dict[str, list[ExecutionRecorded]], late: float) -> list[str]:
    """Up to three tools by their share of the busy time, growing and failing ones first.

    One that always fails counts twice, and so does one whose share since `late` is twice that of
    the day or more. Equal ones go by name.
    """
    busy = {tool: sum(e.duration for e in own) for tool, own in tools.items()}
    lately = {
        tool: sum(e.duration for e in own if e.finished_at >= late) for tool, own in tools.items()
    }
    scores = {}
    for tool, own in tools.items():
        if busy[tool]:
            share_of_day = Fraction(busy[tool], sum(busy.values()))
            now = Fraction(lately[tool], sum(lately.values()) or 1)
            growth = min(2, max(1, now / share_of_day))
            failed = Fraction(sum(not e.success for e in own), len(own))
            scores[tool] = share_of_day * growth * (1 + failed)
    worst_first = sorted(scores, key=lambda tool: (-scores[tool], tool))
    return [tool for tool in worst_first if scores[tool] >= Fraction(3, 10)][:3]
