"""Cost: usage, costs, and what storing the records takes."""

from collections.abc import Callable

from buddyd.actors.projecting import Environment, ProjectionActor
from buddyd.domain.answers import Answer
from buddyd.domain.costs import Costs
from buddyd.domain.settings import DomainSettings
from buddyd.protocol.messages import GetApiUsageAndCosting, Request


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

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request."""
        match request:
            case GetApiUsageAndCosting():
                return self.projection.answer(now, self._database_bytes())
        raise TypeError(request)
