"""buddyctl export."""

import json
import subprocess
from pathlib import Path

import pytest

from buddyd.protocol.messages import GetExecutions
from tests.support.buddyctl import PROGRAM, buddyctl, environment
from tests.support.peer import Asked, Ledger, running
from tests.support.samples import execution


def filled(count: int) -> Ledger:
    ledger = Ledger()
    ledger.records = {
        f"e-{n}": execution(
            execution_id=f"e-{n}",
            tool_name="even" if n % 2 == 0 else "odd",
            finished_at=1e9 + n,
            error_type="\x9b" if n == 1 else None,
        )
        for n in range(count)
    }
    return ledger


def ids(printed: str) -> list[str]:
    return [json.loads(line)["execution_id"] for line in printed.splitlines()]


def test_the_oldest_come_first_over_all_pages() -> None:
    with running(filled(2345)) as peer:
        done = buddyctl("export", socket=peer.socket)
        assert [type(asked.params) for asked in peer.asked] == [GetExecutions] * 3
    assert done.returncode == 0
    assert ids(done.stdout) == [f"e-{n}" for n in range(2345)]


def test_the_newest_can_come_first() -> None:
    with running(filled(1200)) as peer:
        done = buddyctl("export", "--newest-first", socket=peer.socket)
    assert ids(done.stdout) == [f"e-{n}" for n in reversed(range(1200))]


def test_filters_are_the_daemons() -> None:
    with running(filled(10)) as peer:
        done = buddyctl(
            *("export", "--tool", "odd", "--agent", "scout", "--since", "1000000000"),
            socket=peer.socket,
        )
        assert peer.asked[0] == Asked(
            "get_executions",
            GetExecutions(limit=1000, agent_id="scout", tool_name="odd", since=1e9),
        )
    assert ids(done.stdout) == ["e-1", "e-3", "e-5", "e-7", "e-9"]


def test_import_takes_back_what_export_gives(tmp_path: Path) -> None:
    source, target = filled(1500), Ledger()
    source.records["e-1"] = execution(execution_id="e-1", finished_at=1e9 + 1)
    file = tmp_path / "export.jsonl"
    with running(source) as peer:
        file.write_text(buddyctl("export", socket=peer.socket).stdout)
    with running(target) as peer:
        done = buddyctl("import", str(file), socket=peer.socket)
    assert done.returncode == 0
    assert target.records == source.records
    assert list(target.records) == list(source.records)


def test_no_line_drives_the_terminal() -> None:
    with running(filled(3)) as peer:
        done = buddyctl("export", socket=peer.socket)
    assert "\x9b" not in done.stdout
    assert json.loads(done.stdout.splitlines()[1])["error_type"] == "\x9b"


@pytest.mark.parametrize("flags", [[], ["--newest-first"]])
def test_a_reader_that_has_enough_is_no_error(flags: list[str]) -> None:
    with running(filled(5000)) as peer:
        done = subprocess.run(
            ["sh", "-c", '"$@" | head -1', "sh", *PROGRAM, "export", *flags],
            env=environment(peer.socket),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_nothing_recorded_is_nothing_printed() -> None:
    with running(Ledger()) as peer:
        done = buddyctl("export", socket=peer.socket)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "since", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "soon"]
)
def test_a_time_that_is_none_is_refused_in_a_sentence(since: str) -> None:
    with running(Ledger()) as peer:
        done = buddyctl("export", "--since", since, socket=peer.socket)
    assert done.returncode == 2
    assert f"'{since}' is neither Unix seconds" in done.stderr
