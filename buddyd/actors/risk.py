"""Risk: failure patterns, cost anomalies, recommendations."""

import math
from collections.abc import Callable
from functools import partial

import structlog

from buddyd.actors.messages import ProjectionMessage
from buddyd.actors.projecting import Environment, ProjectionActor
from buddyd.actors.wanted import wanted
from buddyd.domain.answers import Answer, CostAnomaly, RiskFinding
from buddyd.domain.risk import Risks
from buddyd.domain.settings import DomainSettings
from buddyd.protocol.messages import (
    GetRiskHistory,
    GetRiskPatterns,
    GetToolRecommendations,
    Request,
)
from buddyd.runtime.channels import Envelope

log = structlog.get_logger()

LOOK_SECONDS = 0.5
"""The least time between two looks at what time alone has made alarming."""


class RiskActor(ProjectionActor[Risks]):
    """Answers for what goes wrong, and looks out for it though nothing is recorded."""

    def __init__(
        self,
        name: str,
        new_projection: Callable[[DomainSettings], Risks],
        environment: Environment,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        """`announce` is told of alarms that no commit tells of; it neither waits nor raises."""
        super().__init__(name, new_projection, environment)
        self._announce = announce
        # When the daemon began to listen: before, no agent could be heard.
        self._heard_from: float | None = None

    def _begin(self) -> None:
        super()._begin()
        # The entry up to which it was told what costs stand out; None before it is known.
        self._told_seq: int | None = None
        self._alarms: list[RiskFinding] = []
        # No look is due from the former time to the latter.
        self._looked_at = 0.0
        self._look_at = 0.0

    async def start(self) -> None:
        """Take up the last checkpoint, and fold what came after."""
        await super().start()
        if self._heard_from is None:
            self._heard_from = self._clock()

    async def turn(self, envelopes: list[Envelope[ProjectionMessage]]) -> float | None:
        """Fold and answer; then look at what time alone has made of it, where that is due."""
        wait = await super().turn(envelopes)
        now = self._clock()
        if not self._looked_at <= now < self._look_at:
            self._looked_at, self._look_at = now, now + LOOK_SECONDS
            self._unless_it_fails(self._look)
            if self._seconds_to_checkpoint() <= 0.0:
                return 0.0
        to_look = self._look_at - now
        return to_look if wait is None else min(wait, to_look)

    def _look(self) -> None:
        """See what time alone has made alarming, and when that may be next."""
        now = self._looked_at
        self._look_at = max(self._look_at, self.projection.next_alarm(now, self._since))
        if self.projection.has_untold_alarms(now, self._since):
            self._checkpoint_soon()
            self._announce()

    def notice(self) -> None:
        """Gather what has become alarming."""
        self._alarms += self.projection.take_alarms(self._clock(), self._since)

    @property
    def _since(self) -> float:
        return math.inf if self._heard_from is None else self._heard_from

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request, for findings with all but those about budgets."""
        match request:
            case GetRiskPatterns():
                return self.projection.answer(now)
            case GetToolRecommendations():
                return self.projection.recommend(now)
            case GetRiskHistory() as asked:
                return self.projection.history(now, asked.limit, wanted(asked, now))
        raise TypeError(request)

    async def complete(self) -> bool:
        """Find in the journal what a version without findings did not look for."""
        lacks = self.projection.lacks_findings
        if lacks:
            self.projection.adopt(await self._rebuilt(), self.seq)
            self._checkpoint_soon()
        return lacks

    def take_as_known(self, *, rebuilt: bool) -> None:
        """What has stood out so far is known."""
        self._told_seq = self.seq
        if rebuilt:
            # Where it was taken up, it knows which alarms were told.
            self.projection.take_alarms(self._clock(), -math.inf)
            self._alarms = []

    def report(self) -> None:
        """Log the unusual costs since, and what has become alarming."""
        if self._told_seq is None:
            return
        since, self._told_seq = self._told_seq, self.seq
        alarms, self._alarms = self._alarms, []
        for anomaly in self.projection.anomalies_after(since):
            if anomaly.unusual:
                self._unless_it_fails(partial(_report_cost, anomaly))
        for found in alarms:
            self._unless_it_fails(partial(_report_alarm, found))


def _report_alarm(found: RiskFinding) -> None:
    log.warning(
        "alarming finding",
        finding_id=found.finding_id,
        kind=found.kind,
        agent_id=found.agent_id,
        tool_name=found.tool_name,
        task_id=found.task_id,
        summary=found.summary,
    )


def _report_cost(anomaly: CostAnomaly) -> None:
    log.warning(
        "cost anomaly",
        kind=anomaly.kind,
        agent_id=anomaly.agent_id,
        tool_name=anomaly.tool_name,
        task_id=anomaly.task_id,
        execution_id=anomaly.execution_id,
        cost=anomaly.cost,
        average_cost=round(anomaly.average_cost, 9),
        ratio=round(anomaly.ratio, 2),
    )
