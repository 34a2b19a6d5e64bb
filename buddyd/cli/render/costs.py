"""What the agents used, and what it cost."""

from buddyd.cli.render import budgets, cells
from buddyd.cli.render.view import Cell, Column, Facts, Table, View
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
                "Tokens per execution": Cell(
                    f"{usage.avg_tokens_per_task:,.1f}", usage.avg_tokens_per_task
                ),
                "Cost": cells.money(costing.execution_costs_24h),
                "Estimated": cells.money(costing.estimated_costs_24h),
                "Storage per day": cells.money(costing.storage_costs_daily),
                "Total per day": cells.money(costing.total_daily_cost),
            },
            "sums",
        ),
        *budgets.tables(answer),
        _spending("tool", "tool_name", costing.by_tool, costing),
        _spending("agent", "agent_id", costing.by_agent, costing),
        Facts(
            "Stored",
            {
                "Executions": cells.count(storage.tier1_raw_records),
                "Hourly summaries": cells.count(storage.tier2_hourly_summaries),
                "Estimated size": _mebibytes(storage.estimated_size_mb),
                "Database on disk": _mebibytes(storage.database_size_mb),
            },
            "stored",
        ),
    ]


def _spending(what: str, key: str, dollars: dict[str, float], whole: Costing) -> Table:
    total = whole.execution_costs_24h
    return Table(
        f"By {what}",
        [
            Column(what.capitalize(), "name", (key,)),
            Column("Cost", "number", ("cost",)),
            Column("Share", "number", ("share",)),
            Column("", "graph", spare=1),
        ],
        [
            [
                cells.name(name),
                cells.money(spent),
                Cell(cells.percent(spent / total), spent / total) if total else cells.NOTHING,
                cells.interval(*(spent / total,) * 3) if total else Cell(""),
            ]
            for name, spent in sorted(dollars.items(), key=lambda item: (-item[1], item[0]))
        ],
        "Nothing was spent.",
        f"{what}s",
    )


def _mebibytes(size: float) -> Cell:
    return Cell(f"{size:,.2f} MiB", size)
