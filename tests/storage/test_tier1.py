"""Listing raw records: filters, and pages that together are the whole."""

import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from buddyd.domain.answers import Executions
from buddyd.errors import InvalidParams
from buddyd.protocol.messages import GetExecutions
from buddyd.storage import tier1
from buddyd.storage.database import Database
from buddyd.storage.journal import Journal
from tests.storage.records import NOW, execution, opened_journal, records

pytestmark = pytest.mark.anyio

FLOOR = NOW - 1000.0
MEGABYTE = 2**20


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Database, Journal]]:
    async with opened_journal(tmp_path / "analytics.db") as opened:
        yield opened


async def page(database: Database, request: GetExecutions, floor: float = FLOOR) -> Executions:
    return await database.read(lambda connection: tier1.page(connection, request, floor))


async def ids(database: Database, **params: object) -> list[str]:
    """The ids on one page."""
    found = await page(database, GetExecutions(**params))  # type: ignore[arg-type]
    return [each.execution_id for each in found.executions]


async def test_a_record_comes_back_as_it_was_sent(both: tuple[Database, Journal]) -> None:
    database, journal = both
    sent = execution(
        "a", cost_actual=0.1, tokens_used=7, browser_used=True, error_type="timeout", success=False
    )
    await journal.append([records(sent)], NOW)
    (found,) = (await page(database, GetExecutions())).executions
    members = {name: getattr(found, name) for name in type(found).__struct_fields__}
    assert members == {name: getattr(sent, name) for name in type(sent).__struct_fields__}
    assert found.success is False
    assert found.browser_used is True


async def test_the_newest_comes_first_and_ties_go_by_the_order_of_recording(
    both: tuple[Database, Journal],
) -> None:
    database, journal = both
    times = {"old": NOW - 9, "first": NOW, "second": NOW, "ahead": NOW + 300}
    batch = records(*(execution(name, finished_at=at) for name, at in times.items()))
    await journal.append([batch], NOW)
    assert await ids(database) == ["ahead", "second", "first", "old"]


async def test_filters_narrow_and_join(both: tuple[Database, Journal]) -> None:
    database, journal = both
    batch = records(
        execution("1", agent_id="a", tool_name="x", task_id="t", finished_at=NOW - 1),
        execution("2", agent_id="a", tool_name="y", success=False, finished_at=NOW - 2),
        execution("3", agent_id="b", tool_name="x", success=False, finished_at=NOW - 3),
        execution("4", agent_id="' OR 1 --", finished_at=NOW - 4),
    )
    await journal.append([batch], NOW)
    assert await ids(database, agent_id="a") == ["1", "2"]
    assert await ids(database, tool_name="x") == ["1", "3"]
    assert await ids(database, task_id="t") == ["1"]
    assert await ids(database, success=False) == ["2", "3"]
    assert await ids(database, success=True) == ["1", "4"]
    assert await ids(database, agent_id="a", success=False) == ["2"]
    assert await ids(database, agent_id="' OR 1 --") == ["4"]
    assert await ids(database, agent_id="nobody") == []
    assert await ids(database, since=NOW - 2) == ["1", "2"]
    assert await ids(database, limit=3) == ["1", "2", "3"]


async def test_what_is_past_its_time_is_not_shown_though_it_is_still_there(
    both: tuple[Database, Journal],
) -> None:
    database, journal = both
    batch = records(execution("in", finished_at=FLOOR), execution("out", finished_at=FLOOR - 0.001))
    await journal.append([batch], NOW)
    assert await ids(database) == ["in"]
    assert await ids(database, since=FLOOR - 500) == ["in"]


@pytest.mark.parametrize("limit", [1, 2, 7, 64, 100])
async def test_the_pages_together_are_all_records_in_order(
    both: tuple[Database, Journal], limit: int
) -> None:
    database, journal = both
    chance = random.Random(limit)
    # Few times, so that most records share theirs with others, across the ends of pages.
    batch = records(*(execution(f"{n}", finished_at=NOW - chance.randrange(5)) for n in range(64)))
    await journal.append([batch], NOW)
    whole = await ids(database, limit=10_000)
    assert len(whole) == 64
    walked: list[str] = []
    cursor = None
    pages = 0
    while pages == 0 or cursor is not None:
        pages += 1
        found = await page(database, GetExecutions(limit=limit, before=cursor))
        walked += [each.execution_id for each in found.executions]
        cursor = found.next
    assert walked == whole
    assert pages == -(-64 // limit)


async def test_a_page_of_long_names_ends_early_and_the_walk_goes_on(
    both: tuple[Database, Journal],
) -> None:
    database, journal = both
    long = "😀" * 256
    names = {"task_id": long, "agent_id": long, "tool_name": long, "error_type": "é" * 128}
    await journal.append([records(*(execution(f"{n}", **names) for n in range(3_000)))], NOW)
    first = await page(database, GetExecutions(limit=10_000))
    assert 7 * MEGABYTE < len(msgspec.json.encode(first)) < 8 * MEGABYTE
    rest = await page(database, GetExecutions(limit=10_000, before=first.next))
    seen = [each.execution_id for each in [*first.executions, *rest.executions]]
    assert seen == [f"{n}" for n in reversed(range(3_000))]
    assert rest.next is None


async def test_records_that_come_during_a_walk_do_not_disturb_it(
    both: tuple[Database, Journal],
) -> None:
    database, journal = both
    await journal.append([records(*(execution(f"{n}") for n in range(4)))], NOW)
    first = await page(database, GetExecutions(limit=2))
    await journal.append([records(execution("new"))], NOW)
    rest = await page(database, GetExecutions(limit=10, before=first.next))
    seen = [each.execution_id for each in [*first.executions, *rest.executions]]
    assert seen == ["3", "2", "1", "0"]


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "é", "A" * 64, "AAAAAAAAAAAAAAAAAAAAA==="])
async def test_a_cursor_that_is_none_is_refused(
    both: tuple[Database, Journal], cursor: str
) -> None:
    with pytest.raises(InvalidParams, match="no cursor") as caught:
        await page(both[0], GetExecutions(before=cursor))
    assert caught.value.path == "$.before"


async def test_listing_goes_by_the_index(both: tuple[Database, Journal]) -> None:
    database, _ = both
    plans: list[str] = []

    def explain(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(plans.append)
        tier1.page(connection, GetExecutions(agent_id="a"), FLOOR)
        connection.set_trace_callback(None)
        found = connection.execute(f"EXPLAIN QUERY PLAN {plans.pop()}").fetchall()
        plans.extend(row[3] for row in found)

    await database.read(explain)
    assert any("tier1_by_finish" in plan for plan in plans)
    assert not any("TEMP B-TREE" in plan for plan in plans)
