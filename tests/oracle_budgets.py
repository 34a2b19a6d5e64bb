"""The test oracle's findings about budgets: at each moment that counts, what all entries say.

Written from the reference of the protocol: the moments are listed, and at each of them every
budget is worked out anew from the list of what was recorded before.
"""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import NamedTuple

from buddyd.config import Budget
from buddyd.domain.journal import BudgetReported, ExecutionRecorded, JournalEntry
from tests.oracle_findings import Span
from tests.oracle_money import DAY, HOUR, MINUTE, QUARTER, Json, budgets, span

SUBJECTS = {"agent": "agent_id", "tool": "tool_name", "service": "service"}


class Moment(NamedTuple):
    """When budgets are looked at."""

    at: float
    known: Sequence[JournalEntry]
    seq: int
    """The first entry of the last minute of recording."""


class Outlook(NamedTuple):
    """How a budget is used at a moment."""

    key: str
    subject: dict[str, str]
    at: float
    end: float
    left: float
    rate: float
    evidence: Json

    def expected(self, share: float) -> bool:
        """Whether `share` of what is left is likely to be spent before the end."""
        return self.rate > 0 and self.at + share * self.left / self.rate * HOUR < self.end


def findings(
    configured: Sequence[Budget], entries: Sequence[JournalEntry], zone: tzinfo, now: float
) -> list[Span]:
    """Every finding about a budget that there ever was."""
    open_: dict[str, Span] = {}
    over: list[Span] = []
    concerned = [
        i for i, entry in enumerate(entries) if configured or isinstance(entry, BudgetReported)
    ]
    for moment in _moments(entries, concerned[0] if concerned else len(entries), now):
        found = {each.key: each for each in _outlooks(configured, moment, zone)}
        for key, case in list(open_.items()):
            if key not in found or moment.at >= case.last + case.patience:
                case.end(moment.at)
                over.append(open_.pop(key))
        for key, outlook in found.items():
            _look(open_, over, key, outlook, moment)
    return over + list(open_.values())


def _look(
    open_: dict[str, Span], over: list[Span], key: str, outlook: Outlook, moment: Moment
) -> None:
    case = open_.get(key)
    used_up = outlook.left <= 0 and moment.at < outlook.end
    if not used_up and (outlook.left <= 0 or not outlook.expected(0.75 if case else 1.0)):
        if case is not None:
            case.end(moment.at)
            over.append(open_.pop(key))
        return
    if case is None:
        case = Span(
            "budget", "warning", moment.seq, moment.at, moment.at, 0.0, outlook.subject, {}, key=key
        )
        open_[key] = case
    case.patience = outlook.end - moment.at + (moment.at - case.began)
    case.evidence = outlook.evidence
    if used_up:
        case.severity = "alarm"


def _moments(entries: Sequence[JournalEntry], first: int, now: float) -> Iterator[Moment]:
    """The beginning of every minute with entries, and every quarter of an hour up to the next.

    A day and a quarter after the last spending, nothing is left that time could change.
    """
    minute, begins = 0.0, []
    for i in range(first, len(entries)):
        recorded = entries[i].recorded_at // MINUTE * MINUTE
        if not begins or recorded > minute:
            minute = recorded
            begins.append((i, minute))
    ends = [*begins[1:], (len(entries), now)]
    for (i, at), (end, until) in zip(begins, ends, strict=False):
        known, seq = entries[:end], entries[i].seq
        yield Moment(at, known, seq)
        for n in range(1, 98):
            if (quarter := at // QUARTER * QUARTER + n * QUARTER) <= until:
                yield Moment(quarter, known, seq)


def _outlooks(configured: Sequence[Budget], moment: Moment, zone: tzinfo) -> Iterator[Outlook]:
    executions = [e for e in moment.known if isinstance(e, ExecutionRecorded)]
    reports = [e for e in moment.known if isinstance(e, BudgetReported)]
    for use in budgets(configured, executions, reports, moment.at, zone):
        if use["used"] is None:
            continue
        start = use["period_start"] and use["period_start"].time
        at = use["reported_at"].time if use["scope"] == "service" else moment.at
        key = (use["scope"], use["name"] or "", use["period"], start or "")
        yield Outlook(
            "\x1f".join(map(str, (*key, round(use["limit"] * 1e9)))),
            {SUBJECTS[use["scope"]]: use["name"]} if use["name"] else {},
            at,
            at + 30 * DAY if start is None else use["period_end"].time,
            use["limit"] - use["used"],
            use["rate"],
            {
                "value": use["used"],
                "usual": use["limit"],
                "ratio": use["share_used"],
                **_executions(use, executions, moment.at, zone),
            },
        )


def _executions(
    use: Json, executions: Sequence[ExecutionRecorded], at: float, zone: tzinfo
) -> Json:
    if use["scope"] == "service":
        return {"executions": 0, "execution_ids": []}
    start, end = span(use["period"], at, zone)
    of = {"agent": lambda e: e.agent, "tool": lambda e: e.tool, "all": lambda _: None}
    own = [e for e in executions if of[use["scope"]](e) == use["name"] and e.finished_at >= start]
    costly = [e for e in own if e.cost and e.finished_at < end]
    dearest = sorted(costly, key=lambda e: (-e.cost, e.seq))[:10]
    return {"executions": len(own), "execution_ids": [e.execution_id for e in dearest]}
