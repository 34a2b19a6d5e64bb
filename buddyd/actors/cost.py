"""Cost: usage, costs, what storing the records takes, and budgets that are used up."""

from collections.abc import Callable
from functools import partial

import structlog

from buddyd.actors.projecting import Environment, ProjectionActor
from buddyd.actors.wanted import wanted
from buddyd.domain.answers import Answer
from buddyd.domain.costs import Costs
from buddyd.domain.findings import Case
from buddyd.domain.reporting import describe
from buddyd.domain.settings import DomainSettings
from buddyd.domain.windows import rfc3339
from buddyd.protocol.messages import (
    GetApiUsageAndCosting,
    GetRiskHistory,
    GetRiskPatterns,
    Request,
)

log = structlog.get_logger()


class CostActor(ProjectionActor[Costs]):
    """Answers for usage and costs, and finds budgets that are used up, or will be."""

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
        self._warnings: list[Case] = []

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request, for findings with those about budgets."""
        match request:
            case GetApiUsageAndCosting():
                return self.projection.answer(now, self._database_bytes())
            case GetRiskPatterns():
                return self.projection.lasting_findings(now)
            case GetRiskHistory() as asked:
                return self.projection.past_findings(now, asked.limit, wanted(asked, now))
        raise TypeError(request)

    def notice(self) -> None:
        """Gather the budgets of which there is worse to report than was reported."""
        self._warnings += self.projection.take_warnings(self._clock())

    def take_as_known(self, *, rebuilt: bool) -> None:
        """How the budgets are used is known."""
        if rebuilt:
            self.projection.take_warnings(self._clock())
            self._warnings = []

    def report(self) -> None:
        """Log the budgets that are used up, or will be before their period ends."""
        warnings, self._warnings = self._warnings, []
        for case in warnings:
            self._unless_it_fails(partial(self._report_one, case))

    def _report_one(self, case: Case) -> None:
        found, facts = describe(case, self._clock()), case.budget
        assert facts is not None  # noqa: S101 - it has no others
        log.warning(
            "budget warning",
            finding_id=found.finding_id,
            severity=found.severity,
            scope=facts.scope,
            name=facts.name,
            period=facts.period,
            limit=found.evidence.usual,
            used=found.evidence.value,
            exhausted_at=None if facts.lasts_until is None else rfc3339(facts.lasts_until),
            summary=found.summary,
        )
