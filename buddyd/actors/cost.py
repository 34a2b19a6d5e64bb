"""Cost: usage, costs, and what storing the records takes."""

from collections.abc import Callable

import structlog

from buddyd.actors.projecting import Environment, ProjectionActor
from buddyd.domain.answers import Answer, BudgetUse
from buddyd.domain.costs import Costs
from buddyd.domain.settings import DomainSettings
from buddyd.protocol.messages import GetApiUsageAndCosting, Request

log = structlog.get_logger()


class CostActor(ProjectionActor[Costs]):
    """Answers for usage and costs."""

    def __init__(
        self,
        name: str,
        new_projection: Callable[[DomainSettings], Costs],
        environment: Environment,
        database_bytes: Callable[[], int],
    ) -> None:
        super().__init__(name, new_projection, environment)
        self._database_bytes = database_bytes

    def _begin(self) -> None:
        super()._begin()
        self._warnings: list[BudgetUse] = []

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request."""
        match request:
            case GetApiUsageAndCosting():
                return self.projection.answer(now, self._database_bytes())
        raise TypeError(request)

    async def checkpoint(self) -> int:
        """Write what changed; what is told after it counts as told with it."""
        self._warnings += self.projection.take_warnings(self._clock())
        return await super().checkpoint()

    def take_as_known(self, *, rebuilt: bool) -> None:
        """How the budgets are used is known."""
        if rebuilt:
            self.projection.take_warnings(self._clock())
            self._warnings = []

    def report(self) -> None:
        """Log the budgets that are used up, or will be before their period ends."""
        for use in self._warnings:
            if use.warning is not None:
                log.warning(
                    "budget warning",
                    severity=use.warning.severity,
                    scope=use.scope,
                    name=use.name,
                    period=use.period,
                    limit=use.limit,
                    used=use.used,
                    exhausted_at=use.exhausted_at,
                    summary=use.warning.message,
                )
        self._warnings = []
