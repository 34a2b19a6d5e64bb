"""Risk: failure patterns, cost anomalies, recommendations."""

from collections.abc import Callable

import structlog
from msgspec import UNSET

from buddyd.actors.projecting import ProjectionActor
from buddyd.domain.answers import Answer
from buddyd.domain.findings import Case
from buddyd.domain.risk import Risks
from buddyd.protocol.messages import (
    GetRiskHistory,
    GetRiskPatterns,
    GetToolRecommendations,
    Request,
)

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
            case GetRiskHistory() as asked:
                return self.projection.history(now, asked.limit, wanted(asked, now))
        raise TypeError(request)

    def take_as_known(self) -> None:
        """What has stood out so far is known."""
        self._told_seq = self.seq

    def report(self) -> None:
        """Log the costs that have stood out since, and what has become alarming."""
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
        self._report_alarms(self._told_seq)
        self._told_seq = self.seq

    def _report_alarms(self, seq: int) -> None:
        for found in self.projection.alarms_after(seq, self._clock()):
            log.warning(
                "alarming finding",
                finding_id=found.finding_id,
                kind=found.kind,
                agent_id=found.agent_id,
                tool_name=found.tool_name,
                task_id=found.task_id,
                summary=found.summary,
            )


def wanted(asked: GetRiskHistory, now: float) -> Callable[[Case], bool]:
    """Whether a finding is one of those that were asked for."""

    def fits(case: Case) -> bool:
        ended = case.ended_by(now)
        return (
            (asked.since is UNSET or ended is None or ended >= asked.since)
            and asked.kind in {UNSET, case.kind}
            and asked.agent_id in {UNSET, case.agent}
            and asked.tool_name in {UNSET, case.tool}
        )

    return fits
