"""Findings in words and in the units of the answers."""

import math

from buddyd.domain.answers import Evidence, FindingKind, RiskFinding
from buddyd.domain.findings import Case
from buddyd.domain.journal import MICROSECONDS, NANODOLLARS
from buddyd.domain.windows import rfc3339
from buddyd.domain.wording import significant

_SENTENCES: dict[FindingKind, str] = {
    "streak": "{tool} failed {executions:,} times in a row.",
    "high_failure_rate": "{failed:,} of {executions:,} executions of {tool} failed within a day.",
    "dominant_error": "`{error}` is behind {failed:,} of {executions:,} failures of {tool}.",
    "degrading": "{tool} fails more often than it used to: {failed:,} of {executions:,} since.",
    "cost_spike": "{tool} cost {agent} {dollars} once, {ratio:.1f} times the usual.",
    "cost_rise": "{tool} now costs {agent} {dollars} on average, {ratio:.1f} times the usual.",
    "slow_down": "{tool} takes {seconds} s on average, {ratio:.1f} times the usual.",
    "loop": "{agent} ran {tool} {executions:,} times on {task}, and no other tool.",
    "silent": "{agent} fell silent with {tasks} waiting or open.",
}


def describe(case: Case, now: float) -> RiskFinding:
    """As an answer tells it at `now`."""
    ended = case.ended_by(now)
    return RiskFinding(
        finding_id=case.finding_id,
        kind=case.kind,
        severity=case.severity,
        agent_id=case.agent,
        tool_name=case.tool,
        task_id=case.task,
        began=rfc3339(case.began),
        ended=None if ended is None else rfc3339(ended),
        summary=_summary(case),
        evidence=_evidence(case),
    )


def _summary(case: Case) -> str:
    value = _told(case, case.value) or 0.0
    return _SENTENCES[case.kind].format(
        tool=case.tool,
        agent=case.agent,
        task=case.task,
        executions=case.executions,
        failed=case.failed or 0,
        error=case.error_type,
        tasks="1 task" if case.waiting == 1 else f"{case.waiting:,} tasks" if case.waiting else "",
        dollars=_dollars(value),
        seconds=significant(value),
        ratio=_ratio(case) or 0.0,
    )


def _dollars(value: float) -> str:
    """With three digits that say something, however little it is."""
    if value >= 1.0 or not value:
        return f"${value:,.2f}"
    return f"${value:.{2 - math.floor(math.log10(value))}f}"


def _evidence(case: Case) -> Evidence:
    failed, executions = case.failed, case.executions
    return Evidence(
        executions=executions,
        failed=failed,
        rate=failed / executions if failed is not None and executions else None,
        error_type=case.error_type,
        value=_told(case, case.value),
        usual=_told(case, case.usual),
        ratio=_ratio(case),
        waiting=case.waiting,
        execution_ids=case.ids,
    )


def _told(case: Case, value: float | None) -> float | None:
    if value is None:
        return None
    return value / (MICROSECONDS if case.kind == "slow_down" else NANODOLLARS)


def _ratio(case: Case) -> float | None:
    return case.value / case.usual if case.value is not None and case.usual else None
