"""The journal: numbered without a gap, each execution once, all of a batch or nothing."""

import re
import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from msgspec import UNSET

from buddyd.domain.journal import AgentReported, ExecutionRecorded, ExecutionStarted
from buddyd.errors import StorageRefused
from buddyd.storage.appending import Submitted
from buddyd.storage.database import Database
from buddyd.storage.journal import Journal
from buddyd.storage.projections import Checkpoint, ProjectionStore
from buddyd.storage.replay import read_entries
from tests.storage.records import (
    DAY,
    HOUR,
    NOW,
    by_another_program,
    execution,
    full_disk,
    opened_journal,
    records,
    report,
    rows,
    start,
)

pytestmark = pytest.mark.anyio

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.db"


@pytest.fixture
async def both(path: Path) -> AsyncIterator[tuple[Database, Journal]]:
    async with opened_journal(path) as opened:
        yield opened


@pytest.fixture
def database(both: tuple[Database, Journal]) -> Database:
    return both[0]


@pytest.fixture
def journal(both: tuple[Database, Journal]) -> Journal:
    return both[1]


async def counts(journal: Journal, *submissions: Submitted, now: float = NOW) -> list[object]:
    """(accepted, duplicates, expired) for each submission."""
    appended = await journal.append(submissions, now)
    return [(r.accepted, r.duplicates, r.expired) for r in appended.receipts]


# Numbers


async def test_executions_starts_and_reports_are_numbered_together_without_a_gap(
    journal: Journal,
) -> None:
    appended = await journal.append(
        [records(execution("a"), execution("a"), execution("b")), start(), report()], NOW
    )
    assert [entry.seq for entry in appended.entries()] == [1, 2, 3, 4]
    assert [type(entry) for entry in appended.entries()] == [
        ExecutionRecorded,
        ExecutionRecorded,
        ExecutionStarted,
        AgentReported,
    ]
    assert journal.last_seq == 4
    appended = await journal.append([report(), records(execution("c"))], NOW)
    assert [entry.seq for entry in appended.entries()] == [5, 6]


async def test_after_reopening_the_numbers_go_on(path: Path) -> None:
    async with opened_journal(path) as (_, journal):
        await journal.append([records(execution("a")), report()], NOW)
    async with opened_journal(path) as (_, journal):
        assert journal.last_seq == 2
        appended = await journal.append([start()], NOW)
        assert [entry.seq for entry in appended.entries()] == [3]


async def test_numbers_go_on_also_where_all_entries_are_gone(path: Path) -> None:
    async with opened_journal(path) as (database, journal):
        await journal.append([report(), report()], NOW)
        await database.write(lambda connection: connection.execute("DELETE FROM agent_events"))
        await ProjectionStore(database).save("registry", 1, Checkpoint(2, []))
    async with opened_journal(path) as (_, journal):
        assert journal.last_seq == 2


async def test_the_time_of_the_last_commit_is_that_of_the_last_entry(journal: Journal) -> None:
    assert journal.last_commit_at is None
    await journal.append([records(execution("a"))], NOW)
    await journal.append([records(execution("a"))], NOW + 5)
    assert journal.last_commit_at == NOW


# Once


async def test_an_id_counts_once_in_a_batch_and_across_batches(journal: Journal) -> None:
    batch = records(execution("a"), execution("a", success=False), execution("b"))
    assert await counts(journal, batch, records(execution("b"))) == [(2, 1, 0), (0, 1, 0)]
    assert await counts(journal, records(execution("a"), execution("c"))) == [(1, 1, 0)]


async def test_the_first_record_under_an_id_is_the_one_that_stays(journal: Journal) -> None:
    await journal.append([records(execution("a", tool_name="first"))], NOW)
    await journal.append([records(execution("a", tool_name="second"))], NOW)
    (entry,) = await journal.read(0, 10)
    assert isinstance(entry, ExecutionRecorded)
    assert entry.tool == "first"


async def test_an_id_counts_once_also_after_a_restart(path: Path) -> None:
    async with opened_journal(path) as (_, journal):
        await journal.append([records(execution("a"))], NOW)
    async with opened_journal(path) as (_, journal):
        assert await counts(journal, records(execution("a"))) == [(0, 1, 0)]


async def test_ids_that_look_alike_are_different_ids(journal: Journal) -> None:
    lower = "0190163d-8694-739b-aea5-966c26f8ad91"
    alike = [
        lower,
        lower.upper(),
        lower.replace("-", ""),
        f"{{{lower[:-2]}}}",
        uuid.UUID(lower).bytes.decode("latin1"),
        "7",
        "07",
        "7.0",
        "a",
        "A",
        "a ",
        "a\0",
        "ä",
        "a\u0308",
    ]
    assert await counts(journal, records(*map(execution, alike))) == [(len(alike), 0, 0)]
    assert await counts(journal, records(*map(execution, alike))) == [(0, len(alike), 0)]
    found = await journal.read(0, 100)
    assert [e.execution_id for e in found if isinstance(e, ExecutionRecorded)] == alike


async def test_the_daemon_assigns_ids_that_sort_by_time(journal: Journal) -> None:
    appended = await journal.append([records(*(execution() for _ in range(3)))], NOW)
    ids = [e.execution_id for e in appended.entries() if isinstance(e, ExecutionRecorded)]
    assert all(UUID7.fullmatch(each) for each in ids)
    assert len(set(ids)) == 3
    milliseconds = [uuid.UUID(each).int >> 80 for each in ids]
    assert milliseconds == sorted(milliseconds)


# Expired


async def test_what_finished_before_the_thirty_days_is_expired_and_leaves_nothing(
    database: Database, journal: Journal
) -> None:
    first = (NOW // HOUR - 719) * HOUR
    batch = records(
        execution("in time", finished_at=first), execution("too late", finished_at=first - 0.001)
    )
    assert await counts(journal, batch) == [(1, 0, 1)]
    assert await rows(database, "SELECT execution_id FROM tier1_raw_metrics") == ["in time"]
    assert await rows(database, "SELECT id FROM execution_ids") == ["in time"]


async def test_a_repeated_record_that_has_expired_since_is_a_duplicate(journal: Journal) -> None:
    record = records(execution("a"))
    assert await counts(journal, record) == [(1, 0, 0)]
    assert await counts(journal, record, now=NOW + 31 * DAY) == [(0, 1, 0)]


async def test_without_a_time_the_time_of_receipt_counts(journal: Journal) -> None:
    untimed = records(execution("a", finished_at=UNSET), received_at=NOW - 3.5)
    appended = await journal.append([untimed], NOW)
    (entry,) = appended.entries()
    assert isinstance(entry, ExecutionRecorded)
    assert (entry.finished_at, entry.recorded_at) == (NOW - 3.5, NOW)


# All or nothing


async def test_a_refused_transaction_leaves_no_number_no_id_and_no_name_behind(
    database: Database, journal: Journal
) -> None:
    many = records(*(execution(f"{n:064}", tool_name=f"tool {n}") for n in range(500)))
    async with full_disk(database):
        with pytest.raises(StorageRefused):
            await journal.append([many], NOW)
    assert journal.last_seq == 0
    for table in ("tier1_raw_metrics", "execution_ids", "counted_names"):
        assert await rows(database, f"SELECT count(*) FROM {table}") == [0]
    assert journal._books["tool"].names == {}
    assert await counts(journal, many) == [(500, 0, 0)]
    assert journal.last_seq == 500


async def test_a_cancelled_append_is_whole_and_known(journal: Journal) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.append([records(execution("a"))], NOW)
    assert journal.last_seq == 1
    assert await counts(journal, records(execution("a")), start()) == [(0, 1, 0), (0, 0, 0)]
    assert [entry.seq for entry in await journal.read(0, 10)] == [1, 2]


async def test_records_can_be_read_by_any_sqlite_tool_while_the_daemon_runs(
    path: Path, journal: Journal
) -> None:
    await journal.append([records(execution("a", cost_actual=0.25))], NOW)
    with by_another_program(path) as connection:
        found = connection.execute("SELECT execution_id, cost_actual FROM tier1_raw_metrics")
        assert found.fetchall() == [("a", 0.25)]


# Reading back


async def test_reading_gives_what_was_appended(journal: Journal) -> None:
    submissions = [
        records(
            execution(
                "a",
                task_id="t\u2028",
                agent_id="ä",
                tool_name="x" * 256,
                duration_seconds=0.1 + 0.2,
                success=False,
                finished_at=NOW - 0.123456,
                cost_actual=1e-9,
                cost_estimate=999_999.999999999,
                tokens_used=10**12,
                human_effort_level="HIGH",
                browser_used=True,
                error_type="timeout",
            )
        ),
        start("later", started_at=NOW - 9.5),
        start("now"),
        report(queue_depth=3, status="BUSY", concurrency=2),
        report(),
    ]
    appended = await journal.append(submissions, NOW)
    assert await journal.read(0, 100) == appended.entries()


async def test_reading_goes_on_after_any_number_up_to_a_limit(journal: Journal) -> None:
    for number in range(20):
        await journal.append([records(execution(f"{number}")) if number % 3 else report()], NOW)
    everything = await journal.read(0, 100)
    assert [entry.seq for entry in everything] == list(range(1, 21))
    for after in range(21):
        for limit in (1, 2, 7, 100):
            assert await journal.read(after, limit) == everything[after : after + limit]


async def test_a_commit_while_entries_are_read_leaves_no_gap(path: Path) -> None:
    """An execution and a start are committed between the readings of their two tables."""
    async with opened_journal(path) as (_, journal):
        await journal.append([records(execution("a")), report()], NOW)
    with by_another_program(path) as reader, by_another_program(path) as writer:

        def commit_meanwhile(statement: str) -> None:
            if "agent_events" in statement:
                reader.set_trace_callback(None)
                writer.executescript(
                    "BEGIN; INSERT INTO tier1_raw_metrics SELECT 3, 'b', task_id, agent_id,"
                    "tool_name, finished_at, duration_seconds, success, cost_actual, cost_estimate,"
                    "tokens_used, human_effort_level, browser_used, error_type, recorded_at"
                    " FROM tier1_raw_metrics;"
                    "INSERT INTO agent_events (seq, recorded_at, agent_id) VALUES (4, 0, 'agent');"
                    "COMMIT;"
                )

        reader.set_trace_callback(commit_meanwhile)
        assert [entry.seq for entry in read_entries(reader, 0, 100)] == [1, 2]
        assert [entry.seq for entry in read_entries(reader, 0, 100)] == [1, 2, 3, 4]


# Names


def tools_of(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry.tool for entry in entries if isinstance(entry, ExecutionRecorded)]


async def test_names_beyond_the_limit_count_under_other_and_tier1_keeps_them(path: Path) -> None:
    names = ["a", "b", "c", "a", "d"]
    async with opened_journal(path, max_tools=2, max_agents=1) as (database, journal):
        batch = records(*(execution(tool_name=name) for name in names))
        appended = await journal.append([batch, report("x"), report("agent")], NOW)
        counted = ["a", "b", "~other", "a", "~other"]
        assert tools_of(appended.entries()) == counted
        assert [e.agent for e in appended.entries()[-2:]] == ["~other", "agent"]
        assert await rows(database, "SELECT tool_name FROM tier1_raw_metrics") == names
        assert await journal.read(0, 100) == appended.entries()
    async with opened_journal(path, max_tools=2, max_agents=1) as (_, journal):
        assert tools_of(await journal.read(0, 100)) == counted
        appended = await journal.append([records(execution(tool_name="e"))], NOW)
        assert tools_of(appended.entries()) == ["~other"]


async def test_a_limit_that_was_raised_counts_from_then_on(path: Path) -> None:
    async with opened_journal(path, max_tools=1) as (_, journal):
        await journal.append([records(execution(tool_name="a"), execution(tool_name="b"))], NOW)
    async with opened_journal(path, max_tools=2) as (_, journal):
        await journal.append([records(execution(tool_name="b"))], NOW)
        # What was counted stays counted as it was.
        assert tools_of(await journal.read(0, 100)) == ["a", "~other", "b"]


async def test_a_name_that_nobody_used_for_a_month_makes_room(path: Path) -> None:
    async with opened_journal(path, max_tools=1) as (_, journal):
        await journal.append([records(execution(tool_name="a"))], NOW)
        assert await journal.release_idle_names(NOW + 31 * DAY) == 0
        # The tool and its agent.
        assert await journal.release_idle_names(NOW + 32 * DAY) == 2
        later = NOW + 32 * DAY
        batch = records(execution(tool_name="b", finished_at=later))
        assert tools_of((await journal.append([batch], later)).entries()) == ["b"]


async def test_who_calls_itself_other_is_counted_there(journal: Journal) -> None:
    await journal.append([records(execution(tool_name="~other"))], NOW)
    assert tools_of(await journal.read(0, 10)) == ["~other"]
    assert journal._books["tool"].names == {}


def test_reading_leaves_no_transaction_open(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        read_entries(connection, 0, 1)
    assert not connection.in_transaction
    connection.close()
