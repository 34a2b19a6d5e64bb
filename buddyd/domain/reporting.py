"""Findings in words and in the units of the answers, and those of two actors together."""

from datetime import datetime

from msgspec.structs import replace

from buddyd.domain import budgets
from buddyd.domain.answers import (
    Evidence,
    FindingKind,
    Findings,
    RiskFinding,
    RiskHistory,
    RiskPatterns,
)
from buddyd.domain.findings import RANKS, BudgetFacts, Case
from buddyd.domain.journal import MICROSECONDS, NANODOLLARS
from buddyd.domain.windows import rfc3339
from buddyd.domain.wording import dollars, significant

FINDINGS_SHOWN = 50
"""Of those that last."""
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
        service=case.budget.name if case.budget and case.budget.scope == "service" else None,
        began=rfc3339(case.began),
        ended=None if ended is None else rfc3339(ended),
        summary=_summary(case),
        evidence=_evidence(case),
    )


def with_budgets(patterns: RiskPatterns, of_budgets: Findings) -> RiskPatterns:
    """The answer with the findings about budgets among those that last."""
    if not of_budgets.findings:
        return patterns
    both = sorted([*of_budgets.findings, *patterns.findings], key=_worst_and_newest)
    total = patterns.total_findings + of_budgets.total_findings
    return replace(patterns, findings=both[:FINDINGS_SHOWN], total_findings=total)


def history_with_budgets(history: RiskHistory, of_budgets: Findings, limit: int) -> RiskHistory:
    """The answer with the findings about budgets among those of 30 days."""
    if not of_budgets.findings:
        return history
    both = sorted([*of_budgets.findings, *history.findings], key=_newest)
    total = history.total_findings + of_budgets.total_findings
    return replace(history, findings=both[:limit], total_findings=total)


def _newest(found: RiskFinding) -> float:
    # Their texts are in no order: a whole second has no fraction.
    return -datetime.fromisoformat(found.began).timestamp()


def _worst_and_newest(found: RiskFinding) -> tuple[int, float]:
    return RANKS[found.severity], _newest(found)


def _summary(case: Case) -> str:
    if case.budget is not None:
        return _of_budget(case, case.budget)
    value = _told(case, case.value) or 0.0
    return _SENTENCES[case.kind].format(
        tool=case.tool,
        agent=case.agent,
        task=case.task,
        executions=case.executions,
        failed=case.failed or 0,
        error=case.error_type,
        tasks="1 task" if case.waiting == 1 else f"{case.waiting:,} tasks" if case.waiting else "",
        dollars=dollars(value),
        seconds=significant(value),
        ratio=_ratio(case) or 0.0,
    )


def _of_budget(case: Case, facts: BudgetFacts) -> str:
    budget = budgets.named(facts.scope, facts.name, facts.period, case.usual or 0.0)
    end = case.last + case.lasts
    return budgets.expected(budget, case.value or 0.0, facts.rate, facts.lasts_until, end)


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
