"""buddyctl export."""

import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import click

from buddyd.cli import params
from buddyd.cli.app import App, examples, global_options, json_line, pass_app
from buddyd.cli.progress import Bar, bar
from buddyd.client import Client

_PAGE_RECORDS = 1000


@click.command(
    epilog=examples(
        "buddyctl export > day.jsonl",
        "buddyctl export --tool web_search --since 2h | jq .duration_seconds",
    )
)
@params.agent_filter()
@params.tool_filter()
@click.option(
    "--since",
    type=params.MOMENT,
    metavar="TIME",
    help="Only those that finished at or after this time: Unix seconds, 2026-01-31T12:00:00Z, or a "
    "time ago (15m, 2h).",
)
@click.option(
    "--newest-first", is_flag=True, help="Newest first, printed as they arrive from the daemon."
)
@global_options
@pass_app
def command(
    app: App,
    *,
    agent: str | None,
    tool: str | None,
    since: float | None,
    newest_first: bool,
) -> None:
    """Print the raw records of the last day as JSON lines.

    `buddyctl import` reads them.

    The oldest come first, as import needs them to detect failures in a row; they are kept in a
    temporary file until the last one has arrived.
    """
    with (
        app.client() as client,
        bar("Exporting", None, color=not app.no_color, prints=True) as progress,
    ):
        pages = _told(_pages(client, agent, tool, since), progress)
        if newest_first:
            for page in pages:
                sys.stdout.buffer.writelines(page)
        else:
            _write_reversed(pages)


def _pages(
    client: Client, agent: str | None, tool: str | None, since: float | None
) -> Iterator[list[bytes]]:
    """Pages of lines, the newest first."""
    before = None
    while True:
        page = client.get_executions(
            limit=_PAGE_RECORDS, agent_id=agent, tool_name=tool, since=since, before=before
        )
        yield [json_line(execution) for execution in page.executions]
        if page.next is None:
            return
        before = page.next


def _told(pages: Iterator[list[bytes]], progress: Bar) -> Iterator[list[bytes]]:
    for page in pages:
        progress.advance(len(page))
        yield page


def _write_reversed(pages: Iterator[list[bytes]]) -> None:
    with tempfile.TemporaryFile() as kept:
        sizes = [_keep(kept, page) for page in pages]
        end = kept.tell()
        for size in reversed(sizes):
            end -= size
            kept.seek(end)
            sys.stdout.buffer.write(kept.read(size))


def _keep(kept: BinaryIO, page: list[bytes]) -> int:
    """How many bytes `page` takes, turned round at the end of `kept`."""
    lines = b"".join(reversed(page))
    kept.write(lines)
    return len(lines)
