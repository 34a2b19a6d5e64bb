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
"""The least time from one look for forecasts that are out of date to the next."""
STEPS_AT_ONCE = 400
"""Windows that the walks go on by at once, which takes about two milliseconds."""
PAUSE_SECONDS = 0.01
"""What others have between these and the next ones."""


class CapacityActor(ProjectionActor[Capacity]):
    """Answers with forecasts, which it works out a few at a time when a window has closed."""

    def _begin(self) -> None:
        super()._begin()
        self._prepare_at = -math.inf
        self._some_are_left = False

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request."""
        match request:
            case GetPredictiveCapacity():
                return self.projection.answer(now)
        raise TypeError(request)

    async def turn(self, envelopes: list[Envelope[ProjectionMessage]]) -> float | None:
        """Fold and answer; use what time is left to work forecasts out ahead."""
        wait = await super().turn(envelopes)
        now = time.monotonic()
        if now >= self._prepare_at:
            self._some_are_left = self.projection.prepare(self._clock(), STEPS_AT_ONCE)
            self._prepare_at = now + (PAUSE_SECONDS if self._some_are_left else PREPARE_SECONDS)
        if not self._some_are_left:
            return wait
        pause = max(0.0, self._prepare_at - time.monotonic())
        return pause if wait is None else min(wait, pause)
