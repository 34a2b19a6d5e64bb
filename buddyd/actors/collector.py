"""The collector: commits what was submitted, in groups, and tells the others."""

import time
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct

from buddyd.actors.messages import CollectorMessage, ProjectionMessage
from buddyd.actors.news import News
from buddyd.actors.projecting import Clock
from buddyd.domain.answers import Done, Receipt
from buddyd.errors import StorageRefused
from buddyd.protocol.messages import RecordExecutions
from buddyd.runtime.actor import Actor
from buddyd.runtime.channels import Envelope, Mailbox
from buddyd.runtime.timer import Timer
from buddyd.storage.appending import Appended
from buddyd.storage.journal import Journal

log = structlog.get_logger()

RELEASE_SECONDS = 3600.0
REST_SECONDS = 0.01
"""How long entries wait for others to be folded with: to fold a few costs little more than one."""
LONGEST_REST_SECONDS = 0.5
"""How long they wait while commit follows commit: to record goes before to fold."""
MOST_RESTING = 30_000
"""Entries that wait, at the most: to fold them takes about as long."""


class Counts(Struct):
    """Executions since the daemon started."""

    accepted: int = 0
    duplicate: int = 0
    expired: int = 0


class Collector(Actor[CollectorMessage]):
    """Everything that waits goes into one transaction, and is answered once it is committed."""

    def __init__(
        self,
        journal: Journal,
        news: News,
        subscribers: Sequence[Mailbox[ProjectionMessage]],
        clock: Clock,
        announce: Callable[[Appended], None] = lambda _: None,
    ) -> None:
        """News wake the `subscribers`; `announce` is told them, and neither waits nor raises."""
        self.name = "collector"
        self.counts = Counts()
        self._journal = journal
        self._news = news
        self._subscribers = subscribers
        self._clock = clock
        self._announce = announce
        self._released_at = 0.0
        self._is_committing = False
        self._rest = Timer(self._look)
        # How many entries nobody was woken for, and since when there are any.
        self._resting = 0
        self._resting_since = 0.0

    async def start(self) -> None:
        """Find the end of the journal."""
        await self._journal.load()

    async def turn(self, envelopes: list[Envelope[CollectorMessage]]) -> float | None:
        """Commit what was submitted, publish it, and answer."""
        now = self._clock()
        if envelopes:
            await self._commit(envelopes, now)
        if now - self._released_at >= RELEASE_SECONDS:
            self._released_at = now
            await self._release_names(now)
        return RELEASE_SECONDS

    async def stop(self) -> None:
        """Nothing is left: every turn ends with a commit."""
        self._rest.stop()

    async def _commit(self, envelopes: list[Envelope[CollectorMessage]], now: float) -> None:
        self._is_committing = True
        try:
            appended = await self._journal.append([e.message for e in envelopes], now)
        except StorageRefused as error:
            log.warning("storage refuses writes", reason=error.reason)
            for envelope in envelopes:
                envelope.answer(error)
            return
        finally:
            self._is_committing = False
        # The answers first, so that they leave before anything is folded; and nothing between
        # them and the news, so that a query that follows an answer finds them among the news.
        for envelope, receipt in zip(envelopes, appended.receipts, strict=True):
            self._count(receipt)
            records = isinstance(envelope.message.request, RecordExecutions)
            envelope.answer(receipt if records else Done())
        self._publish(appended)

    def _publish(self, appended: Appended) -> None:
        # Nobody is waited for: who falls behind reads from the journal.
        if appended.count:
            self._news.add(appended)
            self._let_rest(appended.count)
            self._announce(appended)

    def _let_rest(self, entries: int) -> None:
        """See to it that entries are folded before long; a query wakes its actor at once."""
        if not self._resting:
            self._resting_since = time.monotonic()
        self._resting += entries
        if self._resting < MOST_RESTING:
            self._rest.ring_within(REST_SECONDS)
        else:
            self._end_rest()

    def _look(self) -> None:
        """End the rest, unless that would hold up who records."""
        rested = time.monotonic() - self._resting_since
        if self._is_committing and rested < LONGEST_REST_SECONDS:
            self._rest.ring_within(REST_SECONDS)
        else:
            self._end_rest()

    def _end_rest(self) -> None:
        self._resting = 0
        self._rest.stop()
        for mailbox in self._subscribers:
            mailbox.wake()

    def _count(self, receipt: Receipt) -> None:
        self.counts.accepted += receipt.accepted
        self.counts.duplicate += receipt.duplicates
        self.counts.expired += receipt.expired

    async def _release_names(self, now: float) -> None:
        try:
            released = await self._journal.release_idle_names(now)
        except StorageRefused:
            return
        if released:
            log.info("names released", count=released)
