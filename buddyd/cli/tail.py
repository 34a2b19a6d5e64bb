"""buddyctl tail."""

import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import click

from buddyd.cli import params
from buddyd.cli.app import App, complain, examples, global_options, json_line, pass_app
from buddyd.client import (
    Client,
    ConnectionLost,
    Events,
    ExecutionCommitted,
    Missed,
    Unavailable,
    Unreachable,
)
from buddyd.domain.answers import StoredExecution

_MOST_BEFORE = 10_000
_PAGE_RECORDS = 1000
_MOST_HELD = 50_000
"""Ids of executions that were shown, by which none is shown twice after the daemon came back; and
executions that came while it was away, which are shown then."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

Show = Callable[[Iterable[StoredExecution]], None]


@click.command(epilog=examples("buddyctl tail --tool web_search --failed"))
@params.agent_filter()
@params.tool_filter()
@click.option("--task", type=params.NAME, metavar="ID", help="Only for this task.")
@click.option(
    "--succeeded/--failed",
    "success",
    default=None,
    help="Only those that succeeded, or that failed.",
)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, _MOST_BEFORE),
    default=10,
    metavar="NUMBER",
    help="How many past ones to show first (default: 10).",
)
@global_options
@pass_app
def command(
    app: App,
    *,
    agent: str | None,
    tool: str | None,
    task: str | None,
    success: bool | None,
    lines: int,
) -> None:
    """Show executions as they are committed.

    The time is that at which an execution finished. With --json each one is a line of JSON.

    When the daemon restarts, it goes on with what was recorded meanwhile, the newest 50,000 at
    most. Where some of that cannot be shown, or executions come faster than they can be shown, it
    says on standard error how many are missing.
    """
    wanted = {"agent_id": agent, "tool_name": tool, "task_id": task, "success": success}
    show = _show_json if app.json else _shower(app)
    with app.client() as client:
        _Tail(client, wanted, show).run(lines)


class _Tail:
    """What was shown, and how far the journal is known."""

    def __init__(self, client: Client, wanted: dict[str, Any], show: Show) -> None:
        self._client = client
        self._wanted = wanted
        self._show = show
        self._known: dict[str, float] = {}
        """The ids of what was shown, and when."""
        self._sure_since = time.time()
        """What finished then or later and is not known was never shown."""
        self._commit = 0

    def run(self, lines: int) -> None:
        """Show the last `lines` executions and then what comes, until it is interrupted."""
        # Where there is no daemon to begin with, that is an error.
        with self._client.subscribe("execution", **self._wanted) as events:
            self._show_unknown(self._last(lines) if lines else [])
            lost = self._follow(events)
        while True:
            complain(f"{lost} Waiting for it to come back.")
            lost = self._go_on()

    def _go_on(self) -> ConnectionLost:
        """Show what came since the daemon was lost and then what comes, until it hangs up again."""
        while True:
            try:
                with self._subscribed_again() as events:
                    missing = ""
                    if events.subscribed.commits != self._commit:
                        missing = self._show_missed()
                    complain(f"The daemon is back.{missing}")
                    return self._follow(events)
            except (Unreachable, Unavailable):
                # It went before it had told all that came; that is still to be asked for.
                time.sleep(_FIRST_PAUSE)

    def _follow(self, events: Events) -> ConnectionLost:
        """Show what comes until the daemon hangs up."""
        self._commit = events.subscribed.commits
        try:
            while True:
                if not events.ready:
                    sys.stdout.flush()
                    _wait(events)
                event = next(events)
                if isinstance(event, ExecutionCommitted):
                    self._commit = event.commit
                    self._show_unknown([event.execution])
                elif isinstance(event, Missed):
                    self._sure_since = time.time()
                    sys.stdout.flush()
                    complain(f"{event.count:,} executions are missing here: they came too fast.")
        except ConnectionLost as lost:
            sys.stdout.flush()
            return lost

    def _subscribed_again(self) -> Events:
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._client.subscribe("execution", **self._wanted)
            except (Unreachable, Unavailable):
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _show_unknown(self, executions: Iterable[StoredExecution]) -> None:
        """Show those that were not shown before."""
        new = [each for each in executions if each.execution_id not in self._known]
        self._show(new)
        for each in new:
            self._known[each.execution_id] = time.time()
        while len(self._known) > _MOST_HELD:
            self._sure_since = self._known.pop(next(iter(self._known)))

    def _last(self, count: int) -> list[StoredExecution]:
        """The last ones, the oldest first."""
        return self._client.get_executions(limit=count, **self._wanted).executions[::-1]

    def _show_missed(self) -> str:
        """Show what was committed while the daemon was away; a sentence if some may be missing."""
        missed: list[StoredExecution] = []
        since = self._sure_since
        more = False
        for each in self._unseen():
            if more := each.finished_at < since or len(missed) == _MOST_HELD:
                break
            missed.append(each)
        # Starts and heartbeats have commits as well: there may be fewer executions, never more.
        most_missing = self._committed() - self._commit - len(missed)
        self._show_unknown(reversed(missed))
        if not more or most_missing <= 0:
            return ""
        return (
            f" Executions that were recorded meanwhile may be missing, {most_missing:,} at most: "
            f"shown are the newest {_MOST_HELD:,} that finished since {_clock(since)}."
        )

    def _unseen(self) -> Iterator[StoredExecution]:
        """Those that are kept and are not known to have been shown, the newest first."""
        before = None
        while True:
            page = self._client.get_executions(limit=_PAGE_RECORDS, before=before, **self._wanted)
            yield from (each for each in page.executions if each.execution_id not in self._known)
            if (before := page.next) is None:
                return

    def _committed(self) -> int:
        """The number of the last commit."""
        with self._client.subscribe("changed") as events:
            return events.subscribed.commits


def _wait(events: Events) -> None:
    """Wait until something comes; raises BrokenPipeError where nobody reads the output any more."""
    poller = select.poll()
    poller.register(events, select.POLLIN)
    poller.register(sys.stdout, 0)
    # Of the output only its end is told.
    if any(descriptor == sys.stdout.fileno() for descriptor, _ in poller.poll()):
        raise BrokenPipeError


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment).astimezone():%H:%M:%S}"


def _show_json(executions: Iterable[StoredExecution]) -> None:
    sys.stdout.buffer.writelines(json_line(each) for each in executions)


def _shower(app: App) -> Show:
    from buddyd.cli.render import lines  # rich, only where it draws.

    return lines.Lines(color=not app.no_color).show
