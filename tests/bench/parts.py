"""What becomes of a record inside of the daemon, and what each part of it costs."""

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

import anyio

from buddyd.actors.news import SEGMENT_ENTRIES
from buddyd.domain.capacity import Capacity
from buddyd.domain.costs import Costs
from buddyd.domain.journal import JournalEntry
from buddyd.domain.names import NameBook
from buddyd.domain.pipeline import Pipeline
from buddyd.domain.projection import Projection
from buddyd.domain.registry import Registry
from buddyd.domain.risk import Risks
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from buddyd.protocol.framing import HEADER_BYTES, Encoding, decode_params, decode_request
from buddyd.protocol.messages import RecordExecutions
from buddyd.runtime.channels import Mailbox, ask
from buddyd.storage.appending import Appended, Batch, Submitted
from buddyd.storage.schema import migrate
from tests.bench import load
from tests.bench.measuring import Line, Plan, Table

RECORDS = 40_000
BATCH = 500
TOGETHER = 4
"""Batches that are committed together, as with eight in flight."""
MESSAGES = 10_000
PROJECTIONS: dict[str, Callable[[DomainSettings], Projection]] = {
    kind.__name__: kind for kind in (Pipeline, Registry, Capacity, Costs, Risks)
}


def measure(plan: Plan) -> Table:
    """Each part alone, in the order in which a record comes to them."""
    found: dict[str, list[float]] = {}
    for _ in range(plan.rounds):
        for part, seconds in _round():
            found.setdefault(part, []).append(seconds / RECORDS)
    found["a message to an actor, and its answer"] = [_message() for _ in range(plan.rounds)]
    return Table(
        "Parts",
        f"Processor time of each part in one thread, for {RECORDS:,} records of {load.AGENTS} "
        f"agents and {load.TOOLS} tools in batches of {BATCH}; medians.",
        [_line(part, statistics.median(seconds)) for part, seconds in found.items()],
    )


def _line(what: str, seconds: float) -> Line:
    each = "" if what.startswith("a message") else " a record"
    return Line(what=what, measured=f"{seconds * 1e6:.2f} µs{each}")


def _round() -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []

    def timed(part: str, work: Callable[[], object]) -> object:
        begin = time.process_time()
        result = work()
        found.append((part, time.process_time() - begin))
        return result

    messages = [m[HEADER_BYTES:] for m in load.batches(load.executions(RECORDS), BATCH)]
    requests: list[RecordExecutions] = []
    timed("decoding and checking", lambda: requests.extend(map(_decoded, messages)))
    commits: list[Appended] = []
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "parts.db", isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection)
            timed("committing", lambda: commits.extend(_committed(connection, requests)))
    entries: list[JournalEntry] = []
    timed("making the entries", lambda: entries.extend(chain(*(c.entries() for c in commits))))
    cut = list(segments(entries, SEGMENT_ENTRIES))
    timed("cutting into segments", lambda: list(segments(entries, SEGMENT_ENTRIES)))
    for name, new_projection in PROJECTIONS.items():
        projection = new_projection(DomainSettings())
        projection.advance(entries[0].recorded_at)
        timed(f"folding: {name}", lambda p=projection: [p.fold(each) for each in cut])  # type: ignore[misc]
    return found


def _decoded(message: bytes) -> RecordExecutions:
    request = decode_request(Encoding.MSGPACK, message)
    return decode_params(Encoding.MSGPACK, request, RecordExecutions)


def _committed(
    connection: sqlite3.Connection, requests: Sequence[RecordExecutions]
) -> list[Appended]:
    books = {kind: NameBook(1_000) for kind in ("agent", "tool")}
    commits: list[Appended] = []
    seq = 0
    for begin in range(0, len(requests), TOGETHER):
        now = time.time()
        submissions = [Submitted(each, now) for each in requests[begin : begin + TOGETHER]]
        names = {kind: book.draft(seq + 1, 0) for kind, book in books.items()}
        connection.execute("BEGIN IMMEDIATE")
        commits.append(Batch(seq, now, names).write(connection, submissions))
        connection.execute("COMMIT")
        for kind, book in books.items():
            book.accept(names[kind])
        seq = commits[-1].last_seq
    return commits


def _message() -> float:
    """The seconds that a message takes to an actor and back, with nothing to do there."""

    async def answer(mailbox: Mailbox[int]) -> None:
        for _ in range(MESSAGES):
            for envelope in await mailbox.take():
                envelope.answer(None)

    async def converse() -> float:
        mailbox: Mailbox[int] = Mailbox("actor", 1)
        mailbox.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer, mailbox)
            begin = time.process_time()
            for number in range(MESSAGES):
                await ask(mailbox, number)
            took = time.process_time() - begin
        return took / MESSAGES

    return anyio.run(converse)
