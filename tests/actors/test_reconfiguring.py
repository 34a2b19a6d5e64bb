"""Other settings while the actors are at work: they hold at once, whatever state an actor is in."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from buddyd.actors import projecting
from buddyd.domain.answers import Cleanup
from buddyd.domain.settings import DomainSettings
from buddyd.protocol.messages import CleanupOldData, GetSystemLearning
from buddyd.storage import retention as steps
from tests.actors.house import House, at_work, statements, until
from tests.actors.test_aggregator import old_records, until_records
from tests.storage.records import execution, full_disk

pytestmark = pytest.mark.anyio

STRICT = DomainSettings(learning_min_executions=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.db"


async def level(house: House) -> str:
    """Of the tool that comes first: LOW for one failure, where one execution is enough."""
    learning = await house.query("registry", GetSystemLearning())
    return str(learning.tool_profiles[0].confidence_level)


async def test_new_settings_hold_from_the_next_answer_on(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(execution("a", success=False))
        assert await level(house) == "MEDIUM"
        house.reconfigure(STRICT)
        assert await level(house) == "LOW"
        await house.record(execution("b", success=False, tool_name="another"))
        learning = await house.query("registry", GetSystemLearning())
        assert learning.confidence_distribution.low_confidence == 2


async def test_what_the_journal_no_longer_has_is_kept(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(execution("a"))
        await house.put_away()
        await house.database.write(lambda c: c.execute("DELETE FROM tier1_raw_metrics"))
        await house.record(execution("b"))
        house.reconfigure(STRICT)
        assert (await house.pipeline()).last_24_hours.total_tasks == 2


async def test_the_same_settings_change_nothing(path: Path) -> None:
    async with at_work(path) as house:
        await house.record(execution("a"))
        seen = await statements(house.database)
        house.reconfigure(DomainSettings())
        await level(house)
        assert [each for each in seen if "projection" in each] == []


async def test_settings_that_storage_refuses_are_taken_over_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "REFUSED_SECONDS", 0.05)
    async with at_work(path) as house:
        names = (f"{n:0200}" for n in range(300))
        await house.record(*(execution(tool_name=name, success=False) for name in names))
        assert await level(house) == "MEDIUM"
        with capture_logs() as said:
            async with full_disk(house.database):
                house.reconfigure(STRICT)
                # It goes on under the old ones, and says so.
                assert await level(house) == "MEDIUM"
                told = [e for e in said if e["event"] == "settings not taken over yet"]
                assert "registry" in [e["actor"] for e in told]
            # Nobody asks: it tries again by itself.
            await until(lambda: house.actors["registry"]._settings == STRICT)
        assert await level(house) == "LOW"
        assert house.child("registry").restarts == 0


async def test_an_actor_whom_no_message_reached_finds_the_new_settings(path: Path) -> None:
    """As one that starts or crashes when they come: nobody keeps messages for it."""
    async with at_work(path) as house:
        await house.record(execution("a", success=False))
        house.settings = STRICT
        await house.put_away()
        assert await level(house) == "LOW"


async def test_who_waits_for_a_cleanup_is_not_sent_away(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP_ROWS", 1)
    told: list[Any] = []

    async def clean_up(house: House) -> None:
        told.append(await house.query("aggregator", CleanupOldData()))

    async with at_work(path) as house, anyio.create_task_group() as tasks:
        await old_records(house, 10)
        tasks.start_soon(clean_up, house)
        await until_records(house, lambda left: left < 10)
        house.reconfigure(STRICT)
        await until(lambda: bool(told))
    assert isinstance(told[0], Cleanup)
    assert told[0].tier1_deleted == 10
