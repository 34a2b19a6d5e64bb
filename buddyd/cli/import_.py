"""buddyctl import."""

import math
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
from msgspec import UNSET

from buddyd.cli import lines
from buddyd.cli.app import App, complain, examples, global_options, pass_app
from buddyd.cli.batches import Batches, Tally
from buddyd.cli.lines import Record, Refusal
from buddyd.cli.progress import Bar, bar
from buddyd.cli.render import cells
from buddyd.cli.render.view import Facts, View
from buddyd.domain.execution import Execution

# Long enough to outlast a restart of the daemon's parts, or a disk that was full for a moment.
_PATIENCE_SECONDS = 60.0

_STOPPED = (
    "Stopped at a refused record; those before it are recorded. Correct it and import the file "
    "again, or skip refused records with --continue."
)

_Shift = Callable[[Execution], Execution]


class _Stop(Exception):
    """A record was refused, and the user wants it mended first."""


@click.command(
    epilog=examples(
        "buddyctl import --shift-to-now traces.jsonl",
        "zcat old.jsonl.gz | buddyctl import -",
    )
)
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option(
    "--shift-to-now",
    is_flag=True,
    help="Move all times by the same span, so that the newest record finished now.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="How many records are sent at once.",
)
@click.option("--continue", "go_on", is_flag=True, help="Skip refused records.")
@global_options
@pass_app
def command(
    app: App,
    *,
    file: Path,
    shift_to_now: bool,
    batch: int,
    go_on: bool,
) -> None:
    """Record the executions in FILE, one JSON object per line.

    FILE may be - for standard input.

    A refused record is reported on standard error with its line, the path of the wrong field
    and the reason. It ends the import with exit code 1 (what stood before it is recorded), unless
    there is --continue.

    A record with an execution_id counts once, however often it is imported: correct the file and
    import it again. One without is given a fresh id each time, and counts each time.
    """
    tally = Tally()
    try:
        with _opened(file, rewindable=shift_to_now) as source:
            shift = _shift_to_now(source) if shift_to_now else _unshifted
            stopped = _import(app, source, shift, tally, batch=batch, go_on=go_on)
    except BaseException:
        # What was recorded before it broke off stays recorded, and is told.
        if tally != Tally():
            _report(app, tally)
        raise
    _report(app, tally)
    if stopped:
        complain(_STOPPED)
        raise click.exceptions.Exit(1)


def _import(
    app: App, source: BinaryIO, shift: _Shift, tally: Tally, *, batch: int, go_on: bool
) -> bool:
    """Whether a refusal ended it."""
    with (
        app.client(_PATIENCE_SECONDS) as client,
        bar("Importing", _size(source), color=not app.no_color) as progress,
    ):

        def refuse(refusal: Refusal) -> None:
            progress.say(cells.printable(str(refusal)))
            if not go_on:
                raise _Stop

        batches = Batches(client.record_executions, refuse, batch, tally)
        try:
            _feed(batches, source, shift, progress, in_order=not go_on)
        except _Stop:
            return True
    return False


def _feed(
    batches: Batches, source: BinaryIO, shift: _Shift, progress: Bar, *, in_order: bool
) -> None:
    """Hand every line on. With `in_order`, what stands before a refusal is sent before it."""
    for number, line in enumerate(lines.read(source), start=1):
        match lines.parse(number, line):
            case Record(execution=execution, size_bytes=size_bytes):
                batches.add(Record(number, shift(execution), size_bytes))
            case Refusal() as refusal:
                if in_order:
                    batches.flush()
                batches.refuse(refusal)
        progress.advance(len(line))
    batches.flush()


def _shift_to_now(source: BinaryIO) -> _Shift:
    """Moves an execution so that the newest of `source` finished now; `source` is rewound."""
    start = source.tell()
    records = (lines.parse(0, line) for line in lines.read(source))
    newest = max((_finished_at(record) for record in records), default=-math.inf)
    source.seek(start)
    by_seconds = time.time() - newest

    def shift(execution: Execution) -> Execution:
        if not isinstance(execution.finished_at, float):
            return execution
        return msgspec.structs.replace(execution, finished_at=execution.finished_at + by_seconds)

    return shift


def _finished_at(record: Record | Refusal | None) -> float:
    """Unix seconds; before all times where `record` tells none."""
    finished_at = record.execution.finished_at if isinstance(record, Record) else UNSET
    return finished_at if isinstance(finished_at, float) else -math.inf


def _unshifted(execution: Execution) -> Execution:
    return execution


@contextmanager
def _opened(file: Path, *, rewindable: bool) -> Iterator[BinaryIO]:
    """`file` for reading; where it must be rewindable, a pipe is copied to a file first."""
    if str(file) == "-":
        source: BinaryIO = sys.stdin.buffer
    else:
        source = file.open("rb")
    with source:
        if not rewindable or source.seekable():
            yield source
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(source, copy)
            copy.seek(0)
            yield copy


def _size(source: BinaryIO) -> int | None:
    """Bytes to be read, where that can be known."""
    status = os.fstat(source.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _report(app: App, tally: Tally) -> None:
    if app.json:
        app.write(tally)
    else:
        app.draw(_summary(tally))


def _summary(tally: Tally) -> View:
    return [
        Facts(
            "Imported",
            {
                "Accepted": cells.count(tally.accepted, "good"),
                "Duplicates": cells.count(tally.duplicates),
                "Expired": cells.count(tally.expired, "warning"),
                "Refused": cells.count(tally.refused, "bad"),
            },
        )
    ]
