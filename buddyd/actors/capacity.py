"""Capacity: the forecasts of every agent."""

import math
import time

from buddyd.actors.messages import ProjectionMessage
from buddyd.actors.projecting import ProjectionActor
from buddyd.domain.answers import Answer
from buddyd.domain.capacity import Capacity
from buddyd.protocol.messages import GetPredictiveCapacity, Request
from buddyd.runtime.channels import Envelope

PREPARE_SECONDS = 1.0
PREPARED_AT_ONCE = 5


class CapacityActor(ProjectionActor[Capacity]):
    """Answers with forecasts, which it works out a few at a time when a window has closed."""

    def _begin(self) -> None:
        super()._begin()
        self._prepare_at = -math.inf

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request."""
        match request:
            case GetPredictiveCapacity():
                return self.projection.answer(now)
        raise TypeError(request)

    async def turn(self, envelopes: list[Envelope[ProjectionMessage]]) -> float | None:
        """Fold and answer; use what time is left to work forecasts out ahead."""
        wait = await super().turn(envelopes)
        if envelopes and time.monotonic() < self._prepare_at:
            return wait
        self._prepare_at = time.monotonic() + PREPARE_SECONDS
        if self.projection.prepare(self._clock(), PREPARED_AT_ONCE):
            return 0.0 if not envelopes else 0.01
        return wait
