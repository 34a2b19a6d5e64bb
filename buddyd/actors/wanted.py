"""Which findings somebody asks for."""

from msgspec import UNSET

from buddyd.domain.findings import Case, Wanted
from buddyd.protocol.messages import GetRiskHistory


def wanted(asked: GetRiskHistory, now: float) -> Wanted:
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
