"""What the five actors that keep a projection have in common."""

import math
import sqlite3
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel
import msgspec
import structlog
from msgspec import Struct

from buddyd.actors.messages import Asked, ProjectionMessage, PutAway, PutAwayDone
from buddyd.actors.news import SEGMENT_ENTRIES, News
from buddyd.domain.answers import Answer
from buddyd.domain.projection import Change, Projection
from buddyd.domain.segment import Segment, segments
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import HOUR, hour_of
from buddyd.errors import BuddydError, FatalError, StorageRefused
from buddyd.protocol.messages import Request
from buddyd.runtime.actor import Actor
from buddyd.runtime.channels import Envelope
from buddyd.storage.journal import Journal
from buddyd.storage.projections import Checkpoint, ProjectionStore

log = structlog.get_logger()

P = TypeVar("P", bound=Projection)
Clock = Callable[[], float]
"""Tells the time in Unix seconds."""

CHECKPOINT_SECONDS = 10.0
CHECKPOINT_ENTRIES = 20_000
REFUSED_SECONDS = 5.0
CATCH_UP_SECONDS = 0.5
READ_ENTRIES = 2_000


class Environment(Struct, frozen=True):
    """What a projection lives on."""

    journal: Journal
    news: News
    store: ProjectionStore
    clock: Clock
    settings: Callable[[], DomainSettings]
    """Those in force, which may be others every time."""


class ProjectionActor(Actor[ProjectionMessage], Generic[P]):
    """Keeps a projection up to date with the journal, puts it away, and answers from it.

    The journal is the truth: what is no news any more is read from it, before a query is answered
    that must count it. So the collector never waits for this actor.
    """

    def __init__(
        self,
        name: str,
        new_projection: Callable[[DomainSettings], P],
        environment: Environment,
    ) -> None:
        self.name = name
        self._new_projection = new_projection
        self._journal = environment.journal
        self._news = environment.news
        self._store = environment.store
        self._clock = environment.clock
        self._in_force = environment.settings
        # The UTC hour of the last checkpoint.
        self._hour = 0
        self._begin()

    @abstractmethod
    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request from the projection."""

    async def start(self) -> None:
        """Take up the last checkpoint, and fold what came after."""
        # The hour up to which the windows were moved before is not known.
        self._hour = 0
        await self._take_up()

    async def _take_up(self) -> None:
        self._begin()
        checkpoint = await self._store.load(self.name, self.projection.version)
        try:
            self.projection.restore(checkpoint.changes)
            self.seq = self._saved_seq = checkpoint.seq
        except msgspec.MsgspecError as error:
            await self._discard(error)
        rebuilt = self.seq == 0
        if rebuilt:
            # Nothing was put away: what the journal tells is old, whoever was told of it.
            await self._catch_up()
        elif await self.complete():
            rebuilt = True
        self._unless_it_fails(partial(self.take_as_known, rebuilt=rebuilt))
        await self._catch_up()

    async def turn(self, envelopes: list[Envelope[ProjectionMessage]]) -> float | None:
        """Answer, fold what was committed, put away what is due."""
        # First of all: who asks after a reload is answered under the settings that it brought.
        if time.monotonic() >= self._not_before:
            await self._reconfigure()
        for envelope in envelopes:
            await self._handle(envelope)
        await self._catch_up_if_possible()
        await self._checkpoint_if_due()
        return self._seconds_to_wait()

    async def _handle(self, envelope: Envelope[ProjectionMessage]) -> None:
        match envelope.message:
            case Asked() as asked:
                envelope.answer(await self._reply(asked))
            case PutAway(seq=seq):
                envelope.answer(await self._put_away(seq))

    async def stop(self) -> None:
        """Put away everything. Where storage refuses, the journal still has it."""
        try:
            await self._catch_up()
            await self.checkpoint()
        except StorageRefused as error:
            log.warning("checkpoint refused", actor=self.name, reason=error.reason)

    async def checkpoint(self) -> int:
        """Write what changed, with the number up to which it counts.

        Returns how many rows left the tier that the projection keeps. Where storage refuses,
        the changes are kept for the next time.
        """
        now = self._clock()
        self.projection.advance(now)
        self._unless_it_fails(self.notice)
        self._unsaved.update({(c.part, c.key): c for c in self.projection.changes()})
        self.collect()
        deleted = 0

        def extra(connection: sqlite3.Connection) -> None:
            nonlocal deleted
            deleted = self.write_tier(connection)

        checkpoint = Checkpoint(self.seq, list(self._unsaved.values()))
        await self._store.save(self.name, self.projection.version, checkpoint, extra)
        self._unsaved.clear()
        self.collected()
        self._saved_seq, self._hour = self.seq, hour_of(now)
        self._dirty_since = math.inf
        self._unless_it_fails(self.report)
        return deleted

    def collect(self) -> None:
        """Gather what has to be written to the tier that the projection keeps."""

    def write_tier(self, connection: sqlite3.Connection) -> int:  # noqa: ARG002
        """Write what was gathered; returns how many rows left the tier."""
        return 0

    def collected(self) -> None:
        """What was gathered is committed."""

    async def complete(self) -> bool:
        """Make up for what an older version did not put away; whether there was such a thing."""
        return False

    async def _rebuilt(self) -> P:
        """The projection as the journal alone makes it, up to the entry folded last."""
        projection, seq = self._new_projection(self._settings), 0
        while entries := await self._journal.read(seq, READ_ENTRIES):
            seq = entries[-1].seq
            for segment in segments([e for e in entries if e.seq <= self.seq], SEGMENT_ENTRIES):
                projection.fold(segment)
                self.progressed()
                await anyio.lowlevel.checkpoint()
            if seq >= self.seq:
                break
        return projection

    def take_as_known(self, *, rebuilt: bool) -> None:
        """What the projection holds now is no news, but all that it will find is.

        It was `rebuilt` from the journal, at least in part, or else taken up as it was put away.
        """

    def notice(self) -> None:
        """Gather what `report` will log; a checkpoint is about to be made.

        What is noticed counts as reported once that is committed.
        """

    def report(self) -> None:
        """Log what was noticed.

        A checkpoint was just committed. One that is taken up later holds all that was reported,
        and of what was not, nothing: so whatever is found is reported once, restart or not.
        """

    def _unless_it_fails(self, work: Callable[[], None]) -> None:
        """Do what only tells of the projection, and changes nothing that an answer rests on.

        A fault in that would come again with each checkpoint, and after each restart: it is logged,
        and neither recording nor answering ends with it.
        """
        try:
            work()
        except Exception:
            log.exception("what was found cannot be reported", actor=self.name)

    def _begin(self) -> None:
        self._settings = self._in_force()
        self.projection = self._new_projection(self._settings)
        self.seq = self._saved_seq = 0
        self._unsaved: dict[tuple[str, str | int], Change] = {}
        self._dirty_since = math.inf
        self._not_before = 0.0

    async def _discard(self, error: Exception) -> None:
        """Begin anew with the journal where a damaged state cannot be read."""
        log.error("a damaged state is discarded", actor=self.name, reason=str(error))
        await self._store.discard(self.name)
        self._begin()

    async def _catch_up(self, seq: int | None = None) -> None:
        """Fold what was committed up to entry number `seq`; by default, up to now."""
        until = self._journal.last_seq if seq is None else seq
        while self.seq < until:
            news = self._news.after(self.name, self.seq)
            await self._fold(await self._read() if news is None else news)
            if self.seq - self._saved_seq >= CHECKPOINT_ENTRIES:
                await self._try_checkpoint()

    async def _read(self) -> Iterable[Segment]:
        """The next entries from the journal, where they are no news any more."""
        last_seq = self._journal.last_seq
        entries = await self._journal.read(self.seq, READ_ENTRIES)
        if not entries:
            # The rest was folded, put away and deleted before a checkpoint of another
            # actor that is ahead of this one, or there was nothing but its number.
            self.seq = last_seq
        return segments(entries, SEGMENT_ENTRIES)

    async def _catch_up_if_possible(self) -> None:
        """The same, where nobody waits for it: it is tried again with the next turn."""
        try:
            await self._catch_up()
        except StorageRefused as error:
            log.warning("the journal cannot be read", actor=self.name, reason=error.reason)

    async def _fold(self, committed: Iterable[Segment]) -> None:
        for segment in committed:
            news = segment.after(self.seq)
            if news is None:
                continue
            self.projection.fold(news)
            self.seq = news.last_seq
            self._dirty_since = min(self._dirty_since, time.monotonic())
            self.progressed()
            if len(news.entries) == SEGMENT_ENTRIES:
                await anyio.lowlevel.checkpoint()

    async def _reply(self, asked: Asked) -> object:
        """The answer, or the error that stands for it. A fault in an answer changes no state."""
        try:
            await self._catch_up(asked.seq)
        except StorageRefused as error:
            return error
        try:
            return await self.answer(asked.request, self._clock())
        except FatalError:
            raise
        except BuddydError as error:
            return error
        except Exception as error:
            request = type(asked.request).__name__
            log.exception("a request could not be answered", actor=self.name, request=request)
            return error

    async def _reconfigure(self) -> None:
        """Take over the settings in force; where storage refuses, this is tried again.

        What was folded stays as it is: a limit of what is unusual holds for what comes. What is
        made of it follows at once; for budgets that are new, the projection begins with what it
        has.
        """
        if self._in_force() == self._settings:
            return
        try:
            await self.checkpoint()
        except StorageRefused as error:
            self._not_before = time.monotonic() + REFUSED_SECONDS
            self._checkpoint_soon()
            log.warning("settings not taken over yet", actor=self.name, reason=error.reason)
            return
        await self._take_up()

    async def _put_away(self, seq: int) -> object:
        try:
            await self._catch_up(seq)
            return PutAwayDone(await self.checkpoint())
        except StorageRefused as error:
            return error

    async def _checkpoint_if_due(self) -> None:
        # With the hour the windows of 30 days move, and what is left in them may be news.
        if hour_of(self._clock()) > self._hour:
            self._checkpoint_soon()
        many = self.seq - self._saved_seq >= CHECKPOINT_ENTRIES
        if many or self._seconds_to_checkpoint() <= 0.0:
            await self._try_checkpoint()

    async def _try_checkpoint(self) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            await self.checkpoint()
        except StorageRefused as error:
            self._not_before = time.monotonic() + REFUSED_SECONDS
            log.warning("checkpoint refused", actor=self.name, reason=error.reason)

    def _checkpoint_soon(self) -> None:
        """A checkpoint is due now, though nothing was folded."""
        self._dirty_since = -math.inf

    def _seconds_to_checkpoint(self) -> float:
        due = max(self._dirty_since + CHECKPOINT_SECONDS, self._not_before)
        return due - time.monotonic()

    def _seconds_to_wait(self) -> float:
        # Whether or not anything comes.
        to_the_hour = HOUR - self._clock() % HOUR
        # What could not be read is tried again, unless more comes.
        to_catch_up = CATCH_UP_SECONDS if self.seq < self._journal.last_seq else math.inf
        return min(max(0.0, self._seconds_to_checkpoint()), to_the_hour, to_catch_up)
