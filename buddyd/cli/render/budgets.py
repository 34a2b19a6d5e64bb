"""How much of the budgets is used, and what trackers count beside what was recorded."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Table, Tone, columns
from buddyd.domain.answers import BudgetUse, Reconciliation, Severity, UsageAndCosting

_TONES: dict[Severity, Tone] = {"info": "warning", "warning": "warning", "alarm": "bad"}


def tables(answer: UsageAndCosting) -> list[Table]:
    """The budgets and the sources of reported costs, where there are any."""
    found = []
    if answer.budgets:
        found.append(_budgets(answer.budgets, answer.timestamp))
    if answer.reconciliation:
        found.append(_sources(answer.reconciliation, answer.timestamp))
    return found


def _budgets(uses: list[BudgetUse], now: str) -> Table:
    return Table(
        "Budgets",
        columns(
            ("Budget", "name"),
            ("Per", "word"),
            ("Limit", "number"),
            ("Used", "number"),
            ("Share", "number"),
            ("An hour", "number"),
            ("Used up", "number"),
            ("Earliest", "number"),
        ),
        [_budget(use, now) for use in uses],
        "There is no budget.",
        "budgets",
    )


def _budget(use: BudgetUse, now: str) -> list[Cell]:
    tone = _TONES[use.warning.severity] if use.warning else None
    share = use.share_used
    return [
        cells.name(use.scope if use.name is None else f"{use.scope} {use.name}"),
        cells.word(use.period),
        cells.money(use.limit),
        cells.NOTHING if use.used is None else cells.money(use.used),
        cells.NOTHING if share is None else Cell(cells.percent(share), share, tone),
        cells.money(use.rate),
        Cell("is", None, tone) if use.exhausted else cells.due(use.exhausted_at, now),
        cells.due(use.exhausted_low, now),
    ]


def _sources(sources: list[Reconciliation], now: str) -> Table:
    return Table(
        "Reported and recorded",
        columns(
            ("Source", "name"),
            ("Last report", "number"),
            ("In all", "number"),
            ("Compared", "word"),
            ("Reported", "number"),
            ("Recorded", "number"),
            ("Difference", "number"),
        ),
        [_source(source, now) for source in sources],
        "Nothing was reported.",
        "reconciliation",
    )


def _source(source: Reconciliation, now: str) -> list[Cell]:
    found = source.compared
    begun = [
        cells.name(source.source),
        cells.ago(source.last_report, now),
        cells.money(source.reported_actual),
    ]
    if found is None:
        why = "too old" if source.not_compared.too_old else "no beginning"
        return [*begun, cells.said(why, tone="quiet"), *[cells.NOTHING] * 3]
    compared = f"{found.missions:,} of {source.missions:,}"
    return [
        *begun,
        cells.said(compared, found.missions),
        cells.money(found.reported_actual),
        cells.money(found.recorded_actual),
        _signed(found.difference_actual),
    ]


def _signed(dollars: float) -> Cell:
    amount = cells.money(abs(dollars)).text
    sign = "+" if dollars > 0 else "\N{MINUS SIGN}" if dollars < 0 else ""
    return Cell(f"{sign}{amount}", dollars, "warning" if dollars else "quiet")
