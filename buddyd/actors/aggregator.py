"""The aggregator: the pipeline, Tier 2, and letting go of what is past its time."""

import sqlite3
import time
from collections.abc import Callable

import structlog
from msgspec import UNSET, Struct

from buddyd.actors.messages import Asked, ProjectionMessage
from buddyd.actors.projecting import Environment, ProjectionActor
from buddyd.domain.answers import Aggregation, Answer, Cleanup, HourlySummaries
from buddyd.domain.pipeline import Pipeline
from buddyd.domain.settings import DomainSettings
from buddyd.domain.summaries import Hour
from buddyd.domain.windows import HOUR, rfc3339
from buddyd.errors import StorageRefused, Unavailable
from buddyd.protocol.messages import (
    CleanupOldData,
    GetHourlySummaries,
    GetTaskPipeline,
    Request,
    RunHourlyAggregation,
)
from buddyd.runtime.channels import Envelope
from buddyd.storage import tier2
from buddyd.storage.retention import Retention

log = structlog.get_logger()

CLEANUP_SECONDS = 60.0
IDS_SECONDS = 6 * 3600.0
"""How often the ids are walked through for old ones."""
PAUSE_SECONDS = 0.02
"""Between two steps, so that recording always finds room."""
_FAR = 2**40


class Round(Struct):
    """One round of letting go, and who waits for its end."""

    walks_ids: bool
    waiting: list[Envelope[ProjectionMessage]]
    next_id: str | bytes | int | None = -1
    tier1_done: bool = False
    tier1: int = 0
    tier2: int = 0
    ids: int = 0
    freed: int = 0


class AggregatorActor(ProjectionActor[Pipeline]):
    """Answers for the pipeline, keeps Tier 2, and cleans up a step at a time."""

    def __init__(
        self,
        name: str,
        new_projection: Callable[[DomainSettings], Pipeline],
        environment: Environment,
        retention: Retention,
    ) -> None:
        self._retention = retention
        self._round: Round | None = None
        self._cleanup_at = 0.0
        self._ids_at = 0.0
        super().__init__(name, new_projection, environment)

    async def start(self) -> None:
        """Take up the last checkpoint, and fold what came after."""
        if self._round is not None:
            reason = "The aggregator actor is restarting after an error."
            self._end_round(self._round, Unavailable(reason))
        await super().start()

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request."""
        match request:
            case GetTaskPipeline():
                return self.projection.answer(now)
            case GetHourlySummaries():
                return self._summaries(request, now)
            case RunHourlyAggregation():
                return await self._aggregate(now)
        raise TypeError(request)

    async def turn(self, envelopes: list[Envelope[ProjectionMessage]]) -> float | None:
        """Fold and answer, then clean up a little."""
        cleanups = [e for e in envelopes if _asks_for_cleanup(e)]
        wait = await super().turn([e for e in envelopes if not _asks_for_cleanup(e)])
        if cleanups:
            self._join_round(cleanups)
        cleanup = await self._clean_up()
        return cleanup if wait is None else min(wait, cleanup)

    async def stop(self) -> None:
        """Leave the rest of the cleaning for the next time, and put away everything."""
        if self._round is not None:
            self._end_round(self._round, Unavailable("The daemon is stopping."))
        await super().stop()

    def collect(self) -> None:
        """Gather the hours that changed."""
        self._hours |= {hour.hour: hour for hour in self.projection.stale_hours()}

    def write_tier(self, connection: sqlite3.Connection) -> int:
        """Write the hours that changed."""
        tier2.save(connection, list(self._hours.values()))
        return 0

    def collected(self) -> None:
        """They are committed."""
        self._hours.clear()

    def _begin(self) -> None:
        super()._begin()
        self._hours: dict[int, Hour] = {}

    def _summaries(self, request: GetHourlySummaries, now: float) -> Answer:
        since = -_FAR if request.since is UNSET else -(-request.since // HOUR)
        until = _FAR if request.until is UNSET else -(-request.until // HOUR)
        hours = self.projection.hours(int(since), int(until), now)
        return HourlySummaries(summaries=[hour.summary() for hour in hours])

    async def _aggregate(self, now: float) -> Answer:
        self.collect()
        written = len(self._hours)
        await self.checkpoint()
        return Aggregation(timestamp=rfc3339(now), hours_written=written, commits=self.seq)

    def _join_round(self, waiting: list[Envelope[ProjectionMessage]]) -> None:
        if self._round is None:
            self._round = Round(walks_ids=True, waiting=waiting)
        else:
            # What they ask for may have come after the round had passed it by.
            self._round.waiting += waiting
            self._round.tier1_done = False
            self._round.walks_ids, self._round.next_id = True, -1

    async def _clean_up(self) -> float:
        """Take a step of the round, or begin one; returns when to come again, in seconds."""
        now = time.monotonic()
        if self._round is None:
            if now < self._cleanup_at:
                return self._cleanup_at - now
            self._round = Round(walks_ids=now >= self._ids_at, waiting=[])
        try:
            over = await self._step(self._round)
        except StorageRefused as error:
            self._end_round(self._round, error)
            return CLEANUP_SECONDS
        if not over:
            return PAUSE_SECONDS
        self._end_round(self._round, self._report(self._round))
        return CLEANUP_SECONDS

    async def _step(self, round_: Round) -> bool:
        """One short transaction; True when there is nothing left to do."""
        now = self._clock()
        if not round_.tier1_done:
            records, others = await self._retention.tier1_step(now)
            round_.tier1 += records
            round_.tier1_done = not (records or others)
        elif round_.walks_ids and round_.next_id is not None:
            deleted, round_.next_id = await self._retention.ids_step(now, round_.next_id)
            round_.ids += deleted
        else:
            freed = await self._retention.vacuum_step()
            round_.freed += freed
            if freed == 0:
                round_.tier2 = await self._retention.tier2(now)
                return True
        return False

    def _end_round(self, round_: Round, outcome: object) -> None:
        for envelope in round_.waiting:
            envelope.answer(outcome)
        now = time.monotonic()
        self._cleanup_at = now + CLEANUP_SECONDS
        # A walk that storage has cut short is made by the next round.
        if round_.walks_ids and round_.next_id is None:
            self._ids_at = now + IDS_SECONDS
        self._round = None

    def _report(self, round_: Round) -> Cleanup:
        if round_.tier1 or round_.tier2 or round_.ids:
            log.info(
                "old data removed",
                tier1=round_.tier1,
                tier2=round_.tier2,
                ids=round_.ids,
                bytes_freed=round_.freed,
            )
        return Cleanup(
            timestamp=rfc3339(self._clock()),
            tier1_deleted=round_.tier1,
            tier2_deleted=round_.tier2,
            tier3_deleted=0,
            execution_ids_deleted=round_.ids,
            bytes_freed=round_.freed,
        )


def _asks_for_cleanup(envelope: Envelope[ProjectionMessage]) -> bool:
    message = envelope.message
    return isinstance(message, Asked) and isinstance(message.request, CleanupOldData)
