"""Risk: failure patterns, cost anomalies, recommendations."""

import structlog

from buddyd.actors.projecting import ProjectionActor
from buddyd.domain.answers import Answer
from buddyd.domain.risk import Risks
from buddyd.protocol.messages import GetRiskPatterns, GetToolRecommendations, Request

log = structlog.get_logger()


class RiskActor(ProjectionActor[Risks]):
    """Answers for what goes wrong."""

    def _begin(self) -> None:
        super()._begin()
        # The entry up to which it was told what stands out; None before it is known.
        self._told_seq: int | None = None

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request."""
        match request:
            case GetRiskPatterns():
                return self.projection.answer(now)
            case GetToolRecommendations():
                return self.projection.recommend(now)
        raise TypeError(request)

    def take_as_known(self) -> None:
        """What has stood out so far is known."""
        self._told_seq = self.seq

    def report(self) -> None:
        """Log the costs that have stood out since."""
        if self._told_seq is None:
            return
        for anomaly in self.projection.anomalies_after(self._told_seq):
            log.warning(
                "cost anomaly",
                kind=anomaly.kind,
                agent_id=anomaly.agent_id,
                tool_name=anomaly.tool_name,
                task_id=anomaly.task_id,
                execution_id=anomaly.execution_id,
                cost=anomaly.cost,
                average_cost=anomaly.average_cost,
                ratio=round(anomaly.ratio, 2),
            )
        self._told_seq = self.seq
