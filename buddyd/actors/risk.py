"""Risk: failure patterns, cost anomalies, recommendations."""

from buddyd.actors.projecting import ProjectionActor
from buddyd.domain.answers import Answer
from buddyd.domain.risk import Risks
from buddyd.protocol.messages import GetRiskPatterns, GetToolRecommendations, Request


class RiskActor(ProjectionActor[Risks]):
    """Answers for what goes wrong."""

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request."""
        match request:
            case GetRiskPatterns():
                return self.projection.answer(now)
            case GetToolRecommendations():
                return self.projection.recommend(now)
        raise TypeError(request)
