"""What an earlier version put away is taken up: nothing of it is lost, nor of what the journal has.

The risks of a version that did not look for findings are those of today without the parts that
came with them.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from buddyd.domain.answers import RiskHistory, RiskPatterns, ToolRecommendations
from buddyd.domain.risk import Risks
from buddyd.domain.settings import DomainSettings
from buddyd.protocol.messages import GetRiskHistory, GetRiskPatterns, GetToolRecommendations
from tests.actors.house import House, at_work
from tests.storage.records import DAY, HOUR, NOW, execution

pytestmark = pytest.mark.anyio

EARLIER = {"day", "day_errors", "month", "month_errors", "tools"} | {
    "fallbacks",
    "tasks",
    "baselines",
    "anomalies",
    "anomaly_counts",
}
"""The parts of a version without findings."""
OF_A_TOOL = ("last_finished", "streak", "chart", "error_types", "recent")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.db"


def put_back(path: Path) -> None:
    """Leave the risks in a closed database as the earlier version did."""
    assert set(Risks(DomainSettings()).parts) > EARLIER
    with closing(sqlite3.connect(path)) as database, database:
        states = database.execute(
            "SELECT part, key, state FROM projection_states WHERE projection = 'risk'"
        ).fetchall()
        for part, key, state in states:
            if part not in EARLIER:
                database.execute(
                    "DELETE FROM projection_states WHERE projection = 'risk' AND part = ?", (part,)
                )
            elif part == "tools":
                row = msgspec.msgpack.decode(state)
                database.execute(
                    "UPDATE projection_states SET state = ? "
                    "WHERE projection = 'risk' AND part = ? AND key = ?",
                    (msgspec.msgpack.encode({name: row[name] for name in OF_A_TOOL}), part, key),
                )


async def answers(house: House) -> tuple[RiskPatterns, RiskHistory, ToolRecommendations]:
    """What the risk actor knows."""
    requests = (GetRiskPatterns(), GetRiskHistory(), GetToolRecommendations())
    found: list[Any] = [await house.query("risk", request) for request in requests]
    return found[0], found[1], found[2]


async def lived(house: House) -> None:
    """Streaks, a fallback, a loop."""
    for n in range(24):
        house.now = NOW + n * 600.0
        done = {"finished_at": house.now, "task_id": f"t{n}", "agent_id": f"a{n % 2}"}
        failed = n in range(3, 8) or n >= 12
        await house.record(
            execution(success=not failed, error_type="timeout" if failed else None, **done),
            execution(tool_name="helper", **done),
            execution(tool_name="again", finished_at=house.now),
        )


async def test_findings_of_what_the_journal_still_has_are_made_up_for(path: Path) -> None:
    async with at_work(path) as house:
        await lived(house)
        before = await answers(house)
        kinds = [found.kind for found in before[0].findings]
        assert kinds == ["streak", "high_failure_rate", "loop", "dominant_error"]
    put_back(path)
    with capture_logs() as said:
        async with at_work(path, now=NOW + 4 * HOUR) as house:
            house.now = NOW + 23 * 600.0
            assert await answers(house) == before
            await house.put_away("risk")
        # They are as old as their records.
        assert "alarming finding" not in [each["event"] for each in said]
    # Once it is put away, it needs the journal no longer.
    async with at_work(path, now=NOW + 23 * 600.0) as house:
        await house.database.write(lambda c: c.execute("DELETE FROM tier1_raw_metrics"))
        assert await answers(house) == before


async def test_what_the_journal_no_longer_has_is_kept(path: Path) -> None:
    async with at_work(path) as house:
        old = execution(tool_name="old", success=False, finished_at=NOW - 20 * DAY)
        await house.record(*[old] * 4)
        await lived(house)
        await house.put_away()
        before = await answers(house)
        await house.database.write(lambda c: c.execute("DELETE FROM tier1_raw_metrics"))
    put_back(path)
    for _ in range(2):
        async with at_work(path, now=NOW + 23 * 600.0) as house:
            patterns, _, advice = await answers(house)
            assert patterns.failure_patterns == before[0].failure_patterns
            assert [each.tool for each in advice.recommendations] == ["old", "tool"]
    async with at_work(path, now=NOW + 23 * 600.0) as house:
        # The streak goes on, and is found anew.
        await house.record(execution(success=False, finished_at=house.now))
        found = (await answers(house))[0].findings
        assert [(each.kind, each.evidence.executions) for each in found] == [("streak", 13)]
