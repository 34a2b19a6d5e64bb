"""What the actors tell the log of what they find: each thing once, whatever happens in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.actors.house import at_work
from tests.storage.records import execution

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.db"


@pytest.fixture
def said() -> Iterator[list[Any]]:
    """The log so far; only what actors found is looked at."""
    with capture_logs() as events:
        yield events


def findings(said: list[Any]) -> list[tuple[str, str]]:
    """What was found about which tool, in order."""
    found = ("tool became LOW", "cost anomaly")
    return [(each["event"], each["tool_name"]) for each in said if each["event"] in found]


def failing(tool: str, count: int) -> Iterator[Any]:
    return (execution(tool_name=tool, success=False) for _ in range(count))


def costing(*dollars: float) -> Iterator[Any]:
    return (execution(tool_name="dear", cost_actual=cost) for cost in dollars)


async def test_a_tool_that_becomes_low_is_told_once(path: Path, said: list[Any]) -> None:
    async with at_work(path) as house:
        await house.record(*failing("broken", 2), execution(tool_name="sound"))
        await house.put_away()
        assert findings(said) == []
        await house.record(*failing("broken", 2))
        await house.put_away()
        await house.record(*failing("broken", 2))
        await house.put_away()
    [event] = [each for each in said if each["event"] == "tool became LOW"]
    assert (event["tool_name"], event["executions"], event["failed"]) == ("broken", 4, 4)


async def test_a_tool_that_recovered_is_told_of_again(path: Path, said: list[Any]) -> None:
    async with at_work(path) as house:
        for success in (False, True, False):
            await house.record(*(execution(success=success) for _ in range(50)))
            await house.record(*(execution(success=True) for _ in range(200 * success)))
            await house.put_away()
    assert findings(said) == [("tool became LOW", "tool")] * 2


async def test_a_cost_that_stands_out_is_told_once(path: Path, said: list[Any]) -> None:
    async with at_work(path) as house:
        await house.record(*costing(*[0.01] * 10, 0.05))
        await house.put_away()
        await house.record(*costing(0.01))
        await house.put_away()
    [event] = [each for each in said if each["event"] == "cost anomaly"]
    assert (event["kind"], event["agent_id"], event["cost"]) == ("spike", "agent", 0.05)
    assert event["ratio"] == 5.0


async def test_what_becomes_alarming_is_told_once(path: Path, said: list[Any]) -> None:
    async with at_work(path) as house:
        await house.record(*failing("broken", 9))
        await house.put_away()
        assert [each for each in said if each["event"] == "alarming finding"] == []
        await house.record(*failing("broken", 1))
        await house.put_away()
        await house.record(*failing("broken", 1))
        await house.put_away()
    alarms = [each for each in said if each["event"] == "alarming finding"]
    assert [each["kind"] for each in alarms] == ["streak"]
    assert alarms[0]["summary"] == "broken failed 10 times in a row."


@pytest.mark.parametrize("killed", [False, True])
async def test_a_restart_tells_nothing_twice(path: Path, said: list[Any], *, killed: bool) -> None:
    async with at_work(path, killed=killed) as house:
        await house.record(*failing("broken", 5), *costing(*[0.01] * 10, 0.05))
        await house.put_away()
    async with at_work(path) as house:
        await house.record(execution(tool_name="sound"))
        await house.put_away()
    assert sorted(findings(said)) == [("cost anomaly", "dear"), ("tool became LOW", "broken")]


async def test_what_a_kill_left_untold_is_told_after_the_restart(
    path: Path, said: list[Any]
) -> None:
    async with at_work(path, killed=True) as house:
        await house.record(execution())
        await house.put_away()
        await house.record(*failing("broken", 5), *costing(*[0.01] * 10, 0.05))
    assert findings(said) == []
    async with at_work(path):
        pass
    assert sorted(findings(said)) == [("cost anomaly", "dear"), ("tool became LOW", "broken")]


async def test_what_is_rebuilt_from_the_journal_is_no_news(path: Path, said: list[Any]) -> None:
    async with at_work(path) as house:
        await house.record(*failing("broken", 5), *costing(*[0.01] * 10, 0.05))
        await house.put_away()
        said.clear()
        for name in ("registry", "risk"):
            await house.store.discard(name)
            await house.actors[name].start()
        await house.put_away()
    assert findings(said) == []
