"""What an administrator's command did."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Facts, View
from buddyd.domain.answers import Aggregation, BackupDone, Cleanup


def aggregation(answer: Aggregation) -> View:
    """What was summarized."""
    return [
        Facts(
            "The hourly summaries are up to date",
            {
                "Hours written": cells.count(answer.hours_written),
                "Up to commit": cells.count(answer.commits),
            },
        )
    ]


def cleanup(answer: Cleanup) -> View:
    """What was removed."""
    return [
        Facts(
            "Removed",
            {
                "Executions": cells.count(answer.tier1_deleted),
                "Hourly summaries": cells.count(answer.tier2_deleted),
                "Tool profiles": cells.count(answer.tier3_deleted),
                "Execution ids": cells.count(answer.execution_ids_deleted),
                "Disk space": cells.size(answer.bytes_freed),
            },
        )
    ]


def backup(answer: BackupDone) -> View:
    """Where the copy is."""
    return [
        Facts(
            "The copy is complete",
            {"File": cells.said(answer.path), "Size": cells.size(answer.size_bytes)},
        )
    ]
