"""What `buddyctl check` finds, with and without a daemon, in databases and in backups."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from buddyd.config import Retention, Settings
from buddyd.storage.check import check
from tests.support.buddyctl import buddyctl
from tests.support.daemon import raw_client, running_daemon
from tests.support.process import DaemonProcess, execution


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with everything in it, closed."""
    daemon = DaemonProcess(tmp_path_factory.mktemp("whole"))
    with daemon:
        executions = [execution(execution_id=f"id-{n}", success=n % 3 > 0) for n in range(2000)]
        daemon.call("record_executions", executions=executions)
        daemon.call("report_agent", agent_id="agent", queue_depth=1)
        daemon.stop()
    return daemon.database.read_bytes()


@pytest.fixture
def database(whole: bytes, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "analytics.db"
    path.write_bytes(whole)
    return path


def test_a_whole_database_passes_and_is_not_written(database: Path, whole: bytes) -> None:
    done = buddyctl("check", str(database))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All is well" in done.stdout
    assert "2,000" in done.stdout
    assert database.read_bytes() == whole


def test_json_says_the_same(database: Path) -> None:
    found = json.loads(buddyctl("check", str(database), "--json").stdout)
    assert found["ok"] is True
    assert found["counts"]["executions"] == 2000
    assert all(finding["ok"] for finding in found["findings"])


def test_the_database_of_the_configuration_is_the_one_that_is_meant(
    database: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "buddyd"
    folder.mkdir()
    (folder / "buddyd.toml").write_text(f'database = "{database}"\n')
    done = buddyctl("check", "--json", XDG_CONFIG_HOME=str(tmp_path))
    assert json.loads(done.stdout)["database"] == str(database)


@pytest.mark.anyio
async def test_what_was_let_go_of_while_tier_1_keeps_its_records_is_not_missed(
    tmp_path: Path,
) -> None:
    now = time.time()
    settings = Settings(retention=Retention(tier1_hours=2_000, dedupe_days=1))
    async with (
        running_daemon(tmp_path, settings, clock=lambda: now) as daemon,
        raw_client(daemon.socket) as client,
    ):
        for days in (32, 3, 0):
            now = time.time() - days * 86_400
            await client.ask("record_execution", execution(tool_name=f"{days} days ago"))
        await client.ask("cleanup_old_data", {})
    found = check(daemon.database)
    assert found.ok, found.findings
    assert found.counts["executions"] == 3
    assert (found.counts["execution_ids"], found.counts["tool_profiles"]) == (1, 2)


FAULTS = {
    "would be taken again": "DELETE FROM execution_ids WHERE id = 'id-7'",
    "hours of Tier 2 count less": "UPDATE tier2_hourly_summaries SET total_tasks = 1",
    "hours of Tier 2 do not add up": "UPDATE tier2_hourly_summaries SET failed_tasks = 1999",
    "tools of Tier 3 count less": "DELETE FROM tier3_tool_profiles",
    "tools of Tier 3 do not add up": "UPDATE tier3_tool_profiles SET failed_executions = 1999",
    "entries of the journal are missing": (
        "UPDATE projection_checkpoints SET seq = 5 WHERE projection = 'risk';"
        "DELETE FROM tier1_raw_metrics WHERE seq = 50"
    ),
    "from a newer buddyd": "PRAGMA user_version = 99",
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_parts_that_disagree_are_found(database: Path, sentence: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(FAULTS[sentence])
    done = buddyctl("check", str(database))
    assert done.returncode == 1
    assert sentence in " ".join(done.stdout.split())


def test_damage_is_found(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)
    done = buddyctl("check", str(database))
    assert done.returncode == 1
    assert "Not all is well" in done.stdout


def test_what_is_no_database_of_ours_is_said(tmp_path: Path) -> None:
    missing = buddyctl("check", str(tmp_path / "none.db"))
    assert (missing.returncode, "No such file" in missing.stderr) == (1, True)
    (tmp_path / "diary").write_bytes(b"Dear diary, " * 500)
    diary = buddyctl("check", str(tmp_path / "diary"))
    assert (diary.returncode, "not a database" in diary.stdout) == (1, True)
    with closing(sqlite3.connect(tmp_path / "letters.db")) as connection:
        connection.execute("CREATE TABLE letters (sender TEXT)")
    letters = buddyctl("check", str(tmp_path / "letters.db"))
    assert (letters.returncode, "another program" in letters.stderr) == (1, True)
    (tmp_path / "empty").touch()
    empty = buddyctl("check", str(tmp_path / "empty"))
    assert (empty.returncode, "empty" in empty.stdout) == (1, True)


def test_a_backup_under_load_and_the_live_database_pass(tmp_path: Path) -> None:
    recorded = threading.Event()
    enough = threading.Event()

    def load() -> None:
        number = 0
        while not enough.is_set():
            batch = [execution(execution_id=f"id-{n}") for n in range(number, number + 50)]
            daemon.call("record_executions", executions=batch)
            number += 50
            if number >= 500:
                recorded.set()

    with DaemonProcess(tmp_path) as daemon:
        loading = threading.Thread(target=load)
        loading.start()
        try:
            assert recorded.wait(20)
            answer = daemon.call("backup", path=str(tmp_path / "copy.db"))
            live = buddyctl("check", str(daemon.database), "--json")
        finally:
            enough.set()
            loading.join()
        assert "result" in answer
        copy = buddyctl("check", str(tmp_path / "copy.db"), "--json")
        assert (copy.returncode, live.returncode) == (0, 0), copy.stdout + live.stdout
        assert json.loads(copy.stdout)["counts"]["executions"] >= 500
        assert not (tmp_path / "copy.db-wal").exists()
        assert daemon.stop() == 0
