"""Databases of every schema that there ever was open, answer, and know what they took.

With a new migration, keep a database of the schema before it: on the commit before the migration,
`python -m tests.faults.test_upgrades` writes tests/data/schema_N.db.
"""

import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from buddyd.domain.windows import rfc3339
from buddyd.storage.check import check
from buddyd.storage.schema import APPLICATION_ID, schema_version
from tests.faults.disk_support import is_sound, run_to_end
from tests.support.daemon import RawClient, raw_client, running_daemon
from tests.support.process import DaemonProcess, execution

DATA = Path(__file__).parents[1] / "data"
KEPT = sorted(DATA.glob("schema_*.db"))
NOW = 1_800_000_000.0
EXECUTIONS = 60
BUDGET = {"service": "llm", "limit_usd": 20.0, "period": "total", "spent_usd": 8.0}
MONEY_SINCE = 2
"""The first schema with what trackers report."""


def executions() -> list[dict[str, object]]:
    """Two tools, three agents, a failure in four, the last of them at NOW."""
    return [
        execution(
            execution_id=f"id-{number}",
            task_id=f"task-{number // 2}",
            agent_id=f"agent-{number % 3}",
            tool_name=f"tool-{number % 2}",
            success=number % 4 != 0,
            error_type=None if number % 4 else "timeout",
            cost_actual=0.25,
            tokens_used=100,
            finished_at=NOW - (EXECUTIONS - 1 - number) * 600.0,
        )
        for number in range(EXECUTIONS)
    ]


async def write_one(target: Path) -> None:
    """Let the present daemon leave a database with something of everything in it."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_daemon(Path(folder), clock=lambda: NOW) as place,
            raw_client(place.socket) as client,
        ):
            await client.ask("record_executions", {"executions": executions()})
            start = {"task_id": "open", "agent_id": "agent-0", "tool_name": "tool-0"}
            await client.ask("start_execution", start)
            await client.ask("report_agent", {"agent_id": "agent-1", "queue_depth": 5})
            await client.ask("report_costs", {"source": "tracker", "total_actual_usd": 1.5})
            await client.ask("report_budget", BUDGET)
        shutil.copy(Path(folder) / "analytics.db", target)


def test_a_database_of_every_schema_is_kept() -> None:
    versions = [int(re.sub(r"\D", "", file.stem)) for file in KEPT]
    assert versions == list(range(1, max(1, schema_version() - 1) + 1)) or versions == list(
        range(1, schema_version() + 1)
    )


@pytest.mark.anyio
@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
async def test_an_old_database_opens_and_answers(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "analytics.db")
    async with (
        running_daemon(tmp_path, clock=lambda: NOW + 60) as place,
        raw_client(place.socket) as client,
    ):
        await assert_it_knows_everything(client)
        if int(re.sub(r"\D", "", file.stem)) >= MONEY_SINCE:
            costs = await client.ask("get_api_usage_and_costing", {})
            assert [source["reported_actual"] for source in costs["reconciliation"]] == [1.5]
            assert [budget["used"] for budget in costs["budgets"]] == [8.0]
    assert check(tmp_path / "analytics.db").ok


async def assert_it_knows_everything(client: RawClient) -> None:
    pipeline = (await client.ask("get_task_pipeline", {}))["last_24_hours"]
    assert (pipeline["total_tasks"], pipeline["failed_tasks"]) == (EXECUTIONS, EXECUTIONS // 4)
    costs = await client.ask("get_api_usage_and_costing", {})
    assert costs["costing"]["execution_costs_24h"] == EXECUTIONS * 0.25
    assert costs["api_usage"]["total_tokens_24h"] == EXECUTIONS * 100
    agents = {a["agent_id"]: a for a in (await client.ask("get_agents_status", {}))["agents"]}
    assert agents["agent-0"]["current_task_id"] == "open"
    assert agents["agent-1"]["queue_depth"] == 5
    profiles = (await client.ask("get_system_learning", {}))["tool_profiles"]
    assert [profile["total_executions"] for profile in profiles] == [30, 30]
    risks = await client.ask("get_risk_patterns", {})
    assert risks["failure_patterns"]["tool-0"]["error_types"] == {"timeout": 15}
    # Whether or not it was looked for when they were recorded.
    assert [(found["kind"], found["severity"]) for found in risks["findings"]] == [
        ("high_failure_rate", "alarm"),
        ("dominant_error", "info"),
    ]
    (low,) = (await client.ask("get_tool_recommendations", {}))["recommendations"]
    assert low["agents"] == {"agent-0": 5, "agent-1": 5, "agent-2": 5}
    assert low["since"] == rfc3339(NOW)
    summaries = (await client.ask("get_hourly_summaries", {}))["summaries"]
    assert sum(summary["total_tasks"] for summary in summaries) == EXECUTIONS
    listed = await client.ask("get_executions", {"limit": 1000})
    assert len(listed["executions"]) == EXECUTIONS
    again: dict[str, Any] = await client.ask("record_executions", {"executions": executions()})
    assert again == {"accepted": 0, "duplicates": EXECUTIONS, "expired": 0}


def test_a_migration_that_fails_ends_the_start_with_nothing_half_done(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    with closing(sqlite3.connect(daemon.database)) as connection:
        connection.execute("CREATE TABLE projection_states (other TEXT)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for _ in range(2):
        code, said = run_to_end(daemon)
        assert code == 74
        assert "projection_states already exists" in said
    assert is_sound(daemon.database)
    with closing(sqlite3.connect(daemon.database)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        assert names == [("projection_states",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        connection.execute("DROP TABLE projection_states")
    with daemon:
        assert "result" in daemon.call("record_execution", **execution())


if __name__ == "__main__":
    anyio.run(write_one, DATA / f"schema_{schema_version()}.db")
