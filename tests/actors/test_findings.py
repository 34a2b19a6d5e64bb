"""What the actors tell the log of what they find: each thing once, whatever happens in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from buddyd.actors import projecting
from buddyd.domain.costs import Costs
from buddyd.domain.findings import Case
from buddyd.domain.journal import NANODOLLARS
from buddyd.domain.settings import Budget, DomainSettings
from buddyd.protocol.messages import GetRiskPatterns
from buddyd.runtime.channels import ask
from tests.actors.house import House, at_work, until
from tests.storage.records import DAY, HOUR, NOW, execution, full_disk, report, rows

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


def alarms(said: list[Any]) -> list[tuple[str, str]]:
    """What was alarming, by kind, and about whom, in order."""
    told = [each for each in said if each["event"] == "alarming finding"]
    return [(each["kind"], each["agent_id"] or each["tool_name"]) for each in told]


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


async def test_a_tool_whose_successes_leave_the_window_is_told_at_the_turn_of_the_hour(
    path: Path, said: list[Any]
) -> None:
    """Nothing is recorded then, and nobody asks."""
    profiles = "SELECT total_executions, confidence_level FROM tier3_tool_profiles"
    async with at_work(path) as house:
        await house.record(*(execution() for _ in range(20)))
        house.now = NOW + 10 * DAY
        await house.record(*(execution(success=False, finished_at=house.now) for _ in range(4)))
        await house.put_away()
        assert await rows(house.database, profiles) == [(24, "MEDIUM")]
    leaves = NOW // HOUR * HOUR + 30 * DAY
    async with at_work(path, now=leaves - 0.02) as house:
        await until(lambda: house.actors["registry"]._hour > 0)
        assert findings(said) == []
        house.now = leaves
        await until(lambda: findings(said) == [("tool became LOW", "tool")])
        assert await rows(house.database, profiles) == [(4, "LOW")]


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


async def test_what_is_rebuilt_from_the_journal_is_no_news(
    path: Path, said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(path) as house:
        await house.record(*failing("broken", 15), *costing(*[0.01] * 10, 0.05))
        await house.put_away()
        assert alarms(said) == [("streak", "broken")]
        said.clear()
        # It puts itself away meanwhile.
        monkeypatch.setattr(projecting, "CHECKPOINT_ENTRIES", 20)
        for name in ("registry", "risk"):
            await house.store.discard(name)
            await house.actors[name].start()
        await house.put_away()
    assert findings(said) == alarms(said) == []


# Budgets


A_DOLLAR_A_DAY = DomainSettings(budgets=(Budget(limit=NANODOLLARS, period="day"),))


def budgets(said: list[Any]) -> list[str]:
    """How bad what was told of budgets is, in order."""
    return [each["severity"] for each in said if each["event"] == "budget warning"]


async def spend(house: House, dollars: float) -> None:
    await house.record(execution(cost_actual=dollars, finished_at=house.now))
    await house.put_away("cost")


async def test_a_budget_is_told_of_before_it_is_used_up_and_when_it_is(
    path: Path, said: list[Any]
) -> None:
    async with at_work(path) as house:
        house.reconfigure(A_DOLLAR_A_DAY)
        await spend(house, 0.001)
        assert budgets(said) == []
        for dollars, told in ((0.5, ["warning"]), (0.1, ["warning"]), (0.4, ["warning", "alarm"])):
            await spend(house, dollars)
            assert budgets(said) == told
        await spend(house, 5.0)
        assert budgets(said) == ["warning", "alarm"]
        event = next(each for each in said if each["event"] == "budget warning")
        assert (event["scope"], event["limit"]) == ("all", 1.0)
        assert event["summary"].startswith("The budget of $1.00 a day will last until ")
        # So is the next day's.
        house.now += DAY
        await spend(house, 3.0)
        assert budgets(said) == ["warning", "alarm", "alarm"]


@pytest.mark.parametrize("killed", [False, True])
async def test_a_restart_or_a_reload_tells_of_no_budget_twice(
    path: Path, said: list[Any], *, killed: bool
) -> None:
    async with at_work(path, killed=killed) as house:
        await spend(house, 0.001)
        house.reconfigure(A_DOLLAR_A_DAY)
        await spend(house, 3.0)
        house.reconfigure(A_DOLLAR_A_DAY)
        await spend(house, 3.0)
    async with at_work(path) as house:
        house.reconfigure(A_DOLLAR_A_DAY)
        await spend(house, 3.0)
    assert budgets(said) == ["alarm"]


# What time alone makes


async def heard(house: House, agent: str = "scout", **members: Any) -> None:  # noqa: ANN401
    """A heartbeat comes."""
    sent = report(agent, **{"queue_depth": 3, **members})
    await ask(house.inbox, structs.replace(sent, received_at=house.now))


async def later(house: House, seconds: float) -> None:
    """Time passes, and nothing is recorded."""
    house.now += seconds
    # A turn that finds the time come, as the one would that it waits for; and one that puts away.
    for _ in range(3):
        await house.query("risk", GetRiskPatterns())


async def test_an_agent_that_falls_silent_is_told_of_once(path: Path, said: list[Any]) -> None:
    async with at_work(path) as house:
        await heard(house)
        await later(house, 119)
        assert alarms(said) == []
        await later(house, 2)
        assert alarms(said) == [("silent", "scout")]
        await later(house, 1000)
        await house.record(execution())
        await house.put_away()
        assert alarms(said) == [("silent", "scout")]
        # It is heard again, and falls silent anew.
        await heard(house)
        await later(house, 121)
    assert alarms(said) == [("silent", "scout")] * 2


@pytest.mark.parametrize("killed", [False, True])
async def test_a_silence_that_was_told_is_not_told_after_a_restart(
    path: Path, said: list[Any], *, killed: bool
) -> None:
    async with at_work(path, killed=killed) as house:
        await heard(house)
        await later(house, 121)
    async with at_work(path, now=NOW + 121) as house:
        await later(house, 10)
        await later(house, 1000)
    assert alarms(said) == [("silent", "scout")]


@pytest.mark.parametrize(("speaks", "told"), [(True, []), (False, [("silent", "scout")])])
async def test_while_the_daemon_was_away_nobody_was_silent(
    path: Path, said: list[Any], *, speaks: bool, told: list[Any]
) -> None:
    async with at_work(path) as house:
        await heard(house)
    async with at_work(path, now=NOW + 2 * HOUR) as house:
        await later(house, 119)
        assert alarms(said) == []
        if speaks:
            await heard(house)
        await later(house, 2)
    assert alarms(said) == told


async def test_what_the_turn_of_an_hour_makes_alarming_is_told_once(
    path: Path, said: list[Any]
) -> None:
    async with at_work(path) as house:
        await house.record(*(execution() for _ in range(30)))
        house.now += HOUR
        for n in range(20):
            done = {"task_id": f"{n}", "finished_at": house.now}
            await house.record(execution(success=n % 2 == 0, **done))
        await house.put_away()
        assert alarms(said) == []
        # The successes of a day ago leave.
        await later(house, 23 * HOUR)
        await house.record(execution(task_id="other", finished_at=house.now))
        await house.put_away()
    assert alarms(said) == [("high_failure_rate", "tool")]


async def test_what_could_not_be_put_away_is_told_when_it_can(path: Path, said: list[Any]) -> None:
    async with at_work(path) as house:
        await heard(house)
        # More than a full disk has room for.
        names = (f"{n:0200}" for n in range(300))
        await house.record(*(execution(task_id=name, tool_name=name) for name in names))
        async with full_disk(house.database):
            await later(house, 121)
            assert "checkpoint refused" in [each["event"] for each in said]
            assert alarms(said) == []
        await house.put_away()
        await house.put_away()
    assert alarms(said) == [("silent", "scout")]


class Dumb(Costs):
    """Counts as any other, but cannot say which budgets there is something to tell of."""

    def take_warnings(self, now: float) -> list[Case]:
        raise ZeroDivisionError(now)


async def test_what_cannot_be_reported_stops_neither_answers_nor_checkpoints(path: Path) -> None:
    async with at_work(path, new_costs=Dumb) as house:
        with capture_logs() as said:
            await house.record(execution(cost_actual=0.5))
            await house.put_away("cost")
        assert (await house.costs()).costing.execution_costs_24h == 0.5
        assert house.child("cost").restarts == 0
        assert [
            (each["event"], each["actor"]) for each in said if each["log_level"] == "error"
        ] == [("what was found cannot be reported", "cost")]
    async with at_work(path) as house:
        assert (await house.costs()).costing.execution_costs_24h == 0.5


async def test_a_finding_that_cannot_be_told_keeps_no_other_from_being_told_once(
    path: Path, said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(path) as house:
        actor = house.actors["cost"]
        report_one = actor._report_one  # type: ignore[attr-defined]

        def report_but_the_first(case: Case) -> None:
            if case.budget is not None and case.budget.period == "day":
                raise ZeroDivisionError
            report_one(case)

        monkeypatch.setattr(actor, "_report_one", report_but_the_first)
        limits = [Budget(limit=NANODOLLARS, period=period) for period in ("day", "month")]  # type: ignore[arg-type]
        house.reconfigure(DomainSettings(budgets=tuple(limits)))
        await spend(house, 0.0)
        await spend(house, 2.0)
        await spend(house, 2.0)
    assert budgets(said) == ["alarm"]
    assert [each["event"] for each in said].count("what was found cannot be reported") == 1
