"""The test oracle's findings: worked out anew from the list of all that was sent.

Written from the reference of the protocol, kind by kind and plainly: for each subject the list of
its entries is walked once, and what it says is noted as spans of time.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from buddyd.config import Settings
from buddyd.domain.journal import AgentReported, ExecutionRecorded, ExecutionStarted, JournalEntry

MINUTE, HOUR, DAY = 60, 3600, 86_400
Executions = Sequence[ExecutionRecorded]


class Span(Struct):
    """A finding."""

    kind: str
    severity: str
    seq: int
    """The entry at which it was found."""
    began: float
    last: float
    """When it was confirmed last, and for how long that is enough."""
    patience: float
    subject: dict[str, str]
    evidence: dict[str, Any]
    ended: float | None = None
    key: str = ""
    """Of a budget: which one, and of which period."""

    def end(self, at: float) -> None:
        self.ended = min(max(self.last, at), self.last + self.patience)

    def ended_by(self, now: float) -> float | None:
        over = self.ended if self.ended is not None else self.last + self.patience
        return over if self.ended is not None or over <= now else None


class Walk:
    """The spans of one kind about one subject, while its entries are walked."""

    def __init__(self, kind: str, patience: float = math.inf, **subject: str) -> None:
        self.spans: list[Span] = []
        self._kind, self._patience, self._subject = kind, patience, subject

    def lasting(self, at: float) -> Span | None:
        """The span that is not over; one that nothing confirmed for too long is."""
        span = self.spans[-1] if self.spans and self.spans[-1].ended is None else None
        if span and at > span.last + span.patience:
            span.end(at)
            return None
        return span

    def open(self, seq: int, began: float, severity: str = "warning") -> Span:
        span = Span(self._kind, severity, seq, began, began, self._patience, self._subject, {})
        self.spans.append(span)
        return span


def ids(executions: Executions) -> list[str]:
    return [e.execution_id for e in executions[-10:]]


def is_timely(e: ExecutionRecorded) -> bool:
    """Whether it ended in the minute of its recording or the 1,439 before it."""
    return e.finished_at // 60 >= e.recorded_at // 60 - 1439


def streaks(tool: str, own: Executions) -> list[Span]:
    """Three or more failures in a row; ten are an alarm."""
    walk = Walk("streak", DAY, tool_name=tool)
    row: list[ExecutionRecorded] = []
    for e in filter(is_timely, own):
        if e.success:
            span = walk.lasting(e.finished_at)
            if span:
                span.end(e.finished_at)
            row = []
            continue
        row.append(e)
        if len(row) < 3:
            continue
        first = row[0].finished_at if len(row) == 3 else e.finished_at
        span = walk.lasting(e.finished_at) or walk.open(e.seq, first)
        span.last = max(span.last, e.finished_at)
        if len(row) >= 10:
            span.severity = "alarm"
        span.evidence = {"executions": len(row), "failed": len(row), "execution_ids": ids(row)}
    return walk.spans


class Day:
    """The executions of a tool that ended in an hour and the 23 before it."""

    def __init__(self, own: Executions, hour: float) -> None:
        self.own = [e for e in own if e.finished_at >= hour - 23 * HOUR]
        self.failures = [e for e in self.own if not e.success]

    def is_high(self, settings: Settings, *, lasts: bool) -> bool:
        n, failed = len(self.own), len(self.failures)
        rate = settings.learning.medium_success_rate
        rate = round((3 * rate + 1) / 4, 9) if lasts else rate
        return n >= settings.risk.min_executions and (n - failed) / n < rate

    @property
    def is_alarming(self) -> bool:
        return len(self.own) >= 20 and 2 * len(self.failures) >= len(self.own)

    @property
    def dominant(self) -> str | None:
        classes = Counter(e.error_type or "unknown" for e in self.failures)
        found = [c for c, n in classes.items() if 2 * n > len(self.failures) and c != "unknown"]
        return found[0] if found and len(self.failures) >= 3 else None


def of_the_window(tool: str, own: Executions, now: float, settings: Settings) -> list[Span]:
    """High failure rates and dominant errors, as executions come and as hours turn."""
    rates = Walk("high_failure_rate", tool_name=tool)
    errors = Walk("dominant_error", tool_name=tool)
    known: list[ExecutionRecorded] = []
    hour = own[0].recorded_at // HOUR * HOUR

    def look(at: float, seq: int) -> None:
        day = Day(known, hour)
        latest = [e for e in known if not e.success][-10:]
        span = rates.lasting(at)
        if not day.is_high(settings, lasts=span is not None):
            if span:
                span.end(at)
        else:
            span = span or rates.open(seq, at)
            if day.is_alarming:
                span.severity = "alarm"
            span.evidence = {
                "executions": len(day.own),
                "failed": len(day.failures),
                "execution_ids": ids(latest),
            }
        kind, span = day.dominant, errors.lasting(at)
        if span and span.evidence["error_type"] != kind:
            span.end(at)
            span = None
        if kind:
            span = span or errors.open(seq, at, "info")
            of_kind = [e for e in latest if (e.error_type or "unknown") == kind]
            span.evidence = {
                "executions": len(day.failures),
                "failed": sum(e.error_type == kind for e in day.failures),
                "error_type": kind,
                "execution_ids": ids(of_kind),
            }

    for e in [*own, None]:
        until = (now if e is None else e.recorded_at) // HOUR * HOUR
        while hour < until:
            hour += HOUR
            look(hour, known[-1].seq)
        if e is not None:
            known.append(e)
            look(e.recorded_at, e.seq)
    return rates.spans + errors.spans


def worsenings(tool: str, own: Executions, trend: Callable[[list[bool]], str]) -> list[Span]:
    """While the trend is `degrading`."""
    walk = Walk("degrading", DAY, tool_name=tool)
    found: list[ExecutionRecorded] = []
    for i, e in enumerate(own):
        worse = trend([not each.success for each in own[: i + 1]]) == "degrading"
        span = walk.lasting(e.finished_at)
        if span and not worse:
            span.end(e.finished_at)
        if not worse:
            continue
        if span is None:
            span, found = walk.open(e.seq, e.finished_at), []
        found.append(e)
        span.last = max(span.last, e.finished_at)
        failed = [each for each in found if not each.success]
        span.evidence = {
            "executions": len(found),
            "failed": len(failed),
            "execution_ids": ids(failed),
        }
    return walk.spans


def slow_downs(tool: str, own: Executions) -> list[Span]:
    """A CUSUM of the logarithm of the durations of what succeeded."""
    walk = Walk("slow_down", DAY, tool_name=tool)
    mean, variance, total, alarm_at = 0.0, 0.25, 0.0, 0
    run: list[ExecutionRecorded] = []
    before = 0.0
    told = [e for e in own if e.success and e.duration]
    for n, e in enumerate(told):
        x = math.log(e.duration)
        mean = mean if n else x
        sigma = max(math.sqrt(variance), 0.1)
        z = min(3.0, max(-3.0, (x - mean) / sigma))
        if n >= 30:
            if total == 0.0:
                run, before = [], mean
            total = max(0.0, total + (z - 0.5))
            run = [*run, e] if total else run
        if n:
            gain = max(0.02, 1 / (n + 1))
            step = z * sigma
            mean += gain * step
            variance = (1 - gain) * (variance + gain * step * step)
        alarm = False
        if total > 12.0:
            total = 0.0
            recent = math.exp(sum(math.log(each.duration) for each in run) / len(run))
            alarm = recent >= 1.25 * math.exp(before)
        alarm_at = n + 1 if alarm else alarm_at
        span = walk.lasting(e.finished_at)
        if span and n + 1 - alarm_at >= 100:
            span.end(e.finished_at)
            continue
        if span is None and alarm:
            span = walk.open(e.seq, run[0].finished_at)
            span.last = e.finished_at
            span.evidence = {"usual": math.exp(before) / 1e6}
        if span is not None:
            span.last = max(span.last, e.finished_at)
            if alarm:
                span.evidence |= {
                    "value": recent / 1e6,
                    "ratio": recent / 1e6 / span.evidence["usual"],
                    "executions": len(run),
                    "execution_ids": ids(run),
                }
    return walk.spans


class Repeats(Struct):
    """What an agent does on one task."""

    walk: Walk
    row: list[ExecutionRecorded]

    def is_over(self, e: ExecutionRecorded, patience: float) -> bool:
        return self.row[-1].tool != e.tool or e.finished_at > self.last + patience

    @property
    def last(self) -> float:
        return max(e.finished_at for e in self.row)


def loops(agent: str, own: Executions, patience: float) -> list[Span]:
    """The same tool on the same task, five times or more; twenty are an alarm."""
    tasks: dict[str, Repeats] = {}
    spans: list[Span] = []

    def leave(task: str, at: float) -> None:
        repeats = tasks.pop(task)
        span = repeats.walk.lasting(at)
        if span:
            span.end(at)
        spans.extend(repeats.walk.spans)

    for e in own:
        at = e.finished_at
        if e.task_id in tasks and tasks[e.task_id].is_over(e, patience):
            leave(e.task_id, at)
        if e.task_id not in tasks and len(tasks) == 8:
            leave(next(iter(tasks)), at)
        subject = {"agent_id": agent, "task_id": e.task_id, "tool_name": e.tool}
        fresh = Repeats(Walk("loop", patience, **subject), [])
        repeats = tasks[e.task_id] = tasks.pop(e.task_id, fresh)
        repeats.row.append(e)
        n = len(repeats.row)
        if n >= 5 and e.tool != "~other":
            span = repeats.walk.lasting(at) or repeats.walk.open(e.seq, repeats.row[0].finished_at)
            span.last = repeats.last
            if n >= 20:
                span.severity = "alarm"
            span.evidence = {
                "executions": n,
                "failed": sum(not each.success for each in repeats.row),
                "execution_ids": ids(repeats.row),
            }
    return spans + [span for repeats in tasks.values() for span in repeats.walk.spans]


def silences(
    agent: str, entries: Sequence[JournalEntry], now: float, settings: Settings
) -> Iterator[Span]:
    """From when a reporting agent with work became offline until it was heard again.

    It is listened to from its first start or report on.
    """
    rules = settings.agents
    heard, reported, queue = -math.inf, False, 0
    tasks: dict[str, float] = {}
    seq = 0
    events = [i for i, entry in enumerate(entries) if not isinstance(entry, ExecutionRecorded)]
    for entry in [*entries[events[0] if events else len(entries) :], None]:
        at = now if entry is None else entry.recorded_at
        began = heard + rules.offline_after_seconds
        over = {t: s + rules.execution_timeout_seconds for t, s in tasks.items()}
        open_ = [end for end in over.values() if end > began]
        if reported and at >= began and (queue or open_):
            end = heard + DAY if queue else min(heard + DAY, max(open_))
            ended = end if end <= at else (None if entry is None else at)
            evidence = {"executions": 0, "waiting": queue + len(open_), "execution_ids": []}
            subject = {"agent_id": agent}
            yield Span("silent", "alarm", seq, began, began, math.inf, subject, evidence, ended)
        if entry is None:
            return
        heard, seq = max(heard, entry.recorded_at), entry.seq
        match entry:
            case ExecutionRecorded():
                tasks.pop(entry.task_id, None)
            case ExecutionStarted():
                since = entry.recorded_at - rules.execution_timeout_seconds
                tasks = {t: s for t, s in tasks.items() if s > since and t != entry.task_id}
                tasks[entry.task_id] = entry.started_at
            case AgentReported():
                reported = True
                queue = queue if entry.queue_depth is None else entry.queue_depth


def spike(e: ExecutionRecorded, usual: float) -> Span:
    """An execution that cost too much."""
    severity = "warning" if e.cost >= 10 * usual else "info"
    at = e.finished_at
    evidence = _cost(e, usual) | {"execution_ids": [e.execution_id]}
    subject = {"agent_id": e.agent, "tool_name": e.tool}
    return Span("cost_spike", severity, e.seq, at, at, math.inf, subject, evidence, at)


class Rise(Protocol):
    """What was usual before costs rose, and what they were since."""

    @property
    def usual(self) -> float: ...
    @property
    def since(self) -> Sequence[float]: ...


def rises(agent: str, tool: str, own: Executions, risen: Mapping[int, Rise]) -> list[Span]:
    """Costs that rose: until a hundred executions, or a day, came without another rise."""
    walk = Walk("cost_rise", DAY, agent_id=agent, tool_name=tool)
    without = 0
    for e in own:
        span = walk.lasting(e.finished_at)
        if e.seq in risen:
            without = 0
            span = span or walk.open(e.seq, e.finished_at)
            usual = span.evidence.get("usual", risen[e.seq].usual / 1e9)
            before = span.evidence.get("execution_ids", [])
            since = risen[e.seq].since
            value = math.exp(math.fsum(map(math.log, since)) / len(since)) / 1e9
            span.evidence = {
                "executions": len(since),
                "value": value,
                "usual": usual,
                "ratio": value / usual,
                "execution_ids": [*before, e.execution_id][-10:],
            }
        elif span:
            without += 1
            if without == 100:
                span.end(e.finished_at)
                continue
        if span:
            span.last = max(span.last, e.finished_at)
    return walk.spans


def _cost(e: ExecutionRecorded, usual: float) -> dict[str, Any]:
    ratio = e.cost / usual
    return {"executions": 1, "value": e.cost / 1e9, "usual": usual / 1e9, "ratio": ratio}
