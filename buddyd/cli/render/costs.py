"""What the agents used, and what it cost."""

from buddyd.cli.render import budgets, cells
from buddyd.cli.render.view import Facts, Table, View, columns
from buddyd.domain.answers import Costing, UsageAndCosting


def view(answer: UsageAndCosting) -> View:
    """The sums, the budgets, and who and what spent most."""
    usage, storage, costing = answer.api_usage, answer.storage, answer.costing
    return [
        Facts(
            "The last 24 hours",
            {
                "Executions": cells.count(usage.total_tasks_24h),
                "Tokens": cells.count(usage.total_tokens_24h),
                "Tokens per execution": cells.said(f"{usage.avg_tokens_per_task:,.1f}"),
                "Cost": cells.money(costing.execution_costs_24h),
                "Estimated": cells.money(costing.estimated_costs_24h),
                "Storage per day": cells.money(costing.storage_costs_daily),
                "Total per day": cells.money(costing.total_daily_cost),
            },
        ),
        *budgets.tables(answer),
        _spending("tool", costing.by_tool, costing),
        _spending("agent", costing.by_agent, costing),
        Facts(
            "Stored",
            {
                "Executions": cells.count(storage.tier1_raw_records),
                "Hourly summaries": cells.count(storage.tier2_hourly_summaries),
                "Estimated size": cells.said(f"{storage.estimated_size_mb:,.2f} MiB"),
                "Database on disk": cells.said(f"{storage.database_size_mb:,.2f} MiB"),
            },
        ),
    ]


def _spending(what: str, dollars: dict[str, float], whole: Costing) -> Table:
    total = whole.execution_costs_24h
    return Table(
        f"By {what}",
        columns((what.capitalize(), "name"), ("Cost", "number"), ("Share", "number")),
        [
            [
                cells.name(name),
                cells.money(spent),
                cells.said(cells.percent(spent / total), spent / total) if total else cells.NOTHING,
            ]
            for name, spent in sorted(dollars.items(), key=lambda item: (-item[1], item[0]))
        ],
        "Nothing was spent.",
    )
