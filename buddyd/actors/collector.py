"""The collector: commits what was submitted, in groups, and tells the others."""

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
FEW_ENTRIES = 100
REST_SECONDS = 0.01
"""How long a few entries wait to be folded, at the most."""


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
        self._rest = Timer(self._wake_all)

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
        try:
            appended = await self._journal.append([e.message for e in envelopes], now)
        except StorageRefused as error:
            log.warning("storage refuses writes", reason=error.reason)
            for envelope in envelopes:
                envelope.answer(error)
            return
        # The answers first, so that they leave before anything is folded; and nothing between
        # them and the news, so that a query that follows an answer finds the news in the mailbox.
        for envelope, receipt in zip(envelopes, appended.receipts, strict=True):
            self._count(receipt)
            records = isinstance(envelope.message.request, RecordExecutions)
            envelope.answer(receipt if records else Done())
        self._publish(appended)

    def _publish(self, appended: Appended) -> None:
        # Nobody is waited for: who falls behind reads from the journal.
        if appended.entries:
            self._news.add(appended.entries)
            # To fold a few entries costs little more than one: they wait for others to come. A
            # query wakes its actor at once.
            if self._news.unread < FEW_ENTRIES:
                self._rest.ring_within(REST_SECONDS)
            else:
                self._wake_all()
            self._announce(appended)

    def _wake_all(self) -> None:
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
