"""buddyctl import."""

import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from tests.support.buddyctl import PROGRAM, Terminal, buddyctl, environment, on_terminal, seen
from tests.support.peer import Ledger, Odd, running
from tests.support.samples import execution

BAD = b'{"task_id":"t","agent_id":"a","tool_name":"w","duration_seconds":"1","success":true}'


def line(number: int, **changes: object) -> bytes:
    return msgspec.json.encode(execution(execution_id=f"e-{number}", **changes))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"".join(line(number) + b"\n" for number in range(25)))
    return path


def test_a_file_is_recorded_in_batches_and_summed_up(file: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        done = buddyctl("import", str(file), "--batch", "10", socket=peer.socket)
        again = buddyctl("import", str(file), "--json", socket=peer.socket)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(ledger.records) == [f"e-{number}" for number in range(25)]
    assert ledger.batches == [10, 10, 5, 25]
    assert [text.split() for text in done.stdout.splitlines()] == [
        ["Imported"],
        ["Accepted", "25"],
        ["Duplicates", "0"],
        ["Expired", "0"],
        ["Refused", "0"],
    ]
    assert json.loads(again.stdout) == {
        "accepted": 0,
        "duplicates": 25,
        "expired": 0,
        "refused": 0,
    }


def test_standard_input_is_a_file_too(file: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        done = buddyctl("import", "-", stdin=file.read_bytes(), socket=peer.socket)
    assert done.returncode == 0
    assert len(ledger.records) == 25


def test_the_first_refused_record_ends_it_and_those_before_it_are_recorded() -> None:
    ledger = Ledger()
    text = b"\n".join([line(1), b"", line(2), BAD, line(3)])
    with running(ledger) as peer:
        done = buddyctl("import", "-", stdin=text, socket=peer.socket)
    assert done.returncode == 1
    refused, stopped = done.stderr.splitlines()
    assert refused == "line 4: $.duration_seconds: Expected a number, got text"
    assert "--continue" in stopped
    assert list(ledger.records) == ["e-1", "e-2"]


def test_one_can_go_on_past_refused_records() -> None:
    ledger = Ledger(now=1e9)
    text = b"\n".join(
        [line(1), BAD, line(2, finished_at=2e9), b"oops", line(3), line(4, finished_at=3e9)]
    )
    with running(ledger) as peer:
        done = buddyctl("import", "-", "--continue", "--json", stdin=text, socket=peer.socket)
    assert done.returncode == 0
    assert sorted(done.stderr.splitlines()) == [
        "line 2: $.duration_seconds: Expected a number, got text",
        "line 3: $.finished_at: More than 300 s ahead of the daemon's clock",
        "line 4: $: Not valid JSON: JSON is malformed: invalid character (byte 0)",
        "line 6: $.finished_at: More than 300 s ahead of the daemon's clock",
    ]
    assert list(ledger.records) == ["e-1", "e-3"]
    assert json.loads(done.stdout)["refused"] == 4


def test_a_last_line_that_was_cut_off_is_refused_with_the_reason() -> None:
    with running(Ledger()) as peer:
        done = buddyctl("import", "-", stdin=line(1) + b"\n" + line(2)[:30], socket=peer.socket)
    assert done.stderr.startswith("line 2: $: Not valid JSON: Input data was truncated\n")


def test_a_refused_record_cannot_drive_the_terminal() -> None:
    with running(Ledger()) as peer:
        done = buddyctl("import", "-", stdin='{"\\u001b[31m":1}', socket=peer.socket)
    assert "\x1b" not in done.stderr
    assert r"\x1b[31m" in done.stderr


@pytest.mark.parametrize("by", ["file", "pipe", "redirection"])
def test_shifted_to_now_the_newest_finished_now_and_the_distances_stay(
    by: str, tmp_path: Path
) -> None:
    times = [1000.0, 4000.5, 2500.25]
    text = b"\n".join([line(n, finished_at=at) for n, at in enumerate(times)] + [line(9)])
    path = tmp_path / "records.jsonl"
    path.write_bytes(text)
    ledger = Ledger()
    before = time.time()
    with running(ledger) as peer:
        if by == "file":
            done = buddyctl("import", str(path), "--shift-to-now", socket=peer.socket)
        elif by == "pipe":
            done = buddyctl("import", "-", "--shift-to-now", stdin=text, socket=peer.socket)
        else:
            command = f"{' '.join(PROGRAM)} import - --shift-to-now < {path}"
            os.waitstatus_to_exitcode(os.system(f"BUDDYD_SOCKET={peer.socket} {command}"))
    shifted = [ledger.records[f"e-{n}"].finished_at for n in range(3)]
    assert all(isinstance(at, float) for at in shifted)
    newest = max(shifted)  # type: ignore[type-var]
    assert before <= newest <= time.time()  # type: ignore[operator]
    assert [at - newest for at in shifted] == pytest.approx(  # type: ignore[operator]
        [at - 4000.5 for at in times], abs=1e-5
    )
    assert ledger.records["e-9"].finished_at is msgspec.UNSET
    if by != "redirection":
        assert done.returncode == 0


def test_nothing_to_shift_is_no_trouble() -> None:
    ledger = Ledger()
    with running(ledger) as peer:
        done = buddyctl("import", "-", "--shift-to-now", stdin=line(1), socket=peer.socket)
        empty = buddyctl("import", "-", "--shift-to-now", stdin=b"", socket=peer.socket)
    assert done.returncode == empty.returncode == 0
    assert list(ledger.records) == ["e-1"]


def test_a_terminal_sees_a_bar_that_is_gone_at_the_end(file: Path) -> None:
    with running(Ledger()) as peer:
        code, output = on_terminal("import", str(file), socket=peer.socket)
    assert code == 0
    assert "\x1b[2K" in output.rpartition("Importing")[2]
    assert "\x1b[?25h" in output.rpartition("\x1b[?25l")[2]
    assert seen(output).rstrip().splitlines()[-1].split() == ["Refused", "0"]


def test_refused_records_stay_readable_beside_the_bar(file: Path) -> None:
    with file.open("ab") as records:
        records.write(BAD)
    with running(Ledger()) as peer:
        code, output = on_terminal("import", str(file), socket=peer.socket, columns=60)
    assert code == 1
    shown = seen(output).replace("\n", " ")
    assert "line 26: $.duration_seconds: Expected a number, got text" in shown


def test_what_was_recorded_is_told_although_the_daemon_went_away(file: Path) -> None:
    ledger = Ledger()

    with running(lambda asked: ledger(asked) if len(ledger.batches) < 2 else Odd.HANG_UP) as peer:
        done = buddyctl("import", str(file), "--batch", "10", socket=peer.socket)
    assert done.returncode == 69
    assert done.stdout.splitlines()[1].split() == ["Accepted", "20"]
    assert done.stderr == (
        f"buddyctl: The daemon at {peer.socket} ended the connection without an answer; "
        "its log says why.\n"
    )


def test_no_daemon_is_told_at_once(file: Path, tmp_path: Path) -> None:
    done = buddyctl("import", str(file), socket=tmp_path / "none")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_gives_the_terminal_back(file: Path) -> None:
    with running(lambda _: Odd.SILENCE) as peer:
        terminal = Terminal(*PROGRAM, "import", str(file), env=environment(peer.socket))
        terminal.wait_for("Importing")
        terminal.type(b"\x03")
        assert terminal.end() == 130
    assert "Traceback" not in terminal.output
    assert "\x1b[?25h" in terminal.output.rpartition("\x1b[?25l")[2]
