"""Other daemons, other programs and other people's folders."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.outside import Client, ObservedDaemon
from tests.support.process import DaemonProcess, execution
from tests.support.users import (
    DAEMON_UID,
    ENV,
    PYTHON,
    as_user,
    needs_other_users,
    shared_folder,
)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ObservedDaemon]:
    with ObservedDaemon(tmp_path) as running:
        yield running


def ended(daemon: DaemonProcess) -> "subprocess.CompletedProcess[str]":
    """A start that does not succeed."""
    return subprocess.run(daemon.command, capture_output=True, text=True, check=False, timeout=20)


def ended_as_other(daemon: DaemonProcess) -> "subprocess.CompletedProcess[str]":
    """The same of an ordinary user."""
    assert PYTHON is not None
    return subprocess.run(
        [PYTHON, *daemon.command[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env=ENV,
        **as_user(DAEMON_UID),
    )


@pytest.mark.parametrize("shared", ["database", "socket"])
def test_second_daemons_end_with_75_while_the_first_goes_on_undisturbed(
    daemon: ObservedDaemon, tmp_path: Path, shared: str
) -> None:
    second = DaemonProcess(tmp_path / "second")
    second.folder.mkdir()
    setattr(second, shared, getattr(daemon, shared))
    with Client(daemon.socket) as client:
        for count in range(1, 6):
            done = ended(second)
            assert done.returncode == 75
            assert str(getattr(daemon, shared)) in done.stderr
            assert len(done.stderr.splitlines()) == 1
            assert client.ask("record_execution", **execution())["result"]["accepted"] == 1
            status = client.ask("get_task_pipeline")["result"]["last_24_hours"]
            assert status["total_tasks"] == count
    assert "result" in daemon.call("ping")


def test_by_another_path_it_is_still_the_same_database(
    daemon: ObservedDaemon, tmp_path: Path
) -> None:
    second = DaemonProcess(tmp_path / "second")
    second.folder.mkdir()
    second.database.symlink_to(daemon.database)
    assert ended(second).returncode == 75
    second.database.unlink()
    second.database = tmp_path / "second" / ".." / daemon.database.name
    assert ended(second).returncode == 75
    assert daemon.call("record_execution", **execution())["result"]["accepted"] == 1


def test_a_second_name_of_the_database_is_no_way_around_the_lock(
    daemon: ObservedDaemon, tmp_path: Path
) -> None:
    """By another name, SQLite would use another write-ahead log on the same pages."""
    second = DaemonProcess(tmp_path / "second")
    second.folder.mkdir()
    second.database.hardlink_to(daemon.database)
    done = ended(second)
    assert done.returncode == 74
    assert f"The database {second.database} has 2 names" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path(f"{second.database}.lock").exists()
    assert daemon.call("record_execution", **execution())["result"]["accepted"] == 1
    # The first one, too, starts on it no more before the other name is gone.
    daemon.stop()
    assert ended(daemon).returncode == 74
    second.database.unlink()
    daemon.start()
    pipeline = daemon.call("get_task_pipeline")["result"]["last_24_hours"]
    assert pipeline["total_tasks"] == 1


def test_a_dead_daemons_socket_is_taken_over_and_what_it_acknowledged_is_there(
    daemon: ObservedDaemon,
) -> None:
    for count in range(1, 4):
        assert daemon.call("record_execution", **execution())["result"]["accepted"] == 1
        daemon.stop(signal.SIGKILL)
        assert daemon.socket.is_socket()
        daemon.start()
        pipeline = daemon.call("get_task_pipeline")["result"]["last_24_hours"]
        assert pipeline["total_tasks"] == count


@pytest.mark.parametrize("length", [108, 500, 5_000])
def test_a_path_that_is_too_long_is_said_so(tmp_path: Path, length: int) -> None:
    daemon = DaemonProcess(tmp_path)
    folder = tmp_path
    while len(str(folder)) < length:
        folder /= "x" * min(200, length)
    daemon.socket = folder
    done = ended(daemon)
    assert done.returncode == 78
    assert "at most 107" in done.stderr
    assert "Traceback" not in done.stderr


@needs_other_users
@pytest.mark.parametrize("what", ["socket", "database"])
@pytest.mark.parametrize("mode", [0o500, 0o000, 0o755])
def test_a_folder_with_the_wrong_rights_is_named(what: str, mode: int) -> None:
    with shared_folder(DAEMON_UID) as home:
        wrong = home / "wrong"
        wrong.mkdir()
        # With 0755 it is root's.
        os.chown(wrong, *((0, 0) if mode == 0o755 else (DAEMON_UID, DAEMON_UID)))
        wrong.chmod(mode)
        daemon = DaemonProcess(home)
        setattr(daemon, what, wrong / "file")
        done = ended_as_other(daemon)
        assert done.returncode == 74
        assert str(wrong) in done.stderr
        assert "ermission denied" in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1


@needs_other_users
def test_a_folder_that_cannot_be_made_is_named() -> None:
    with shared_folder(0) as home:
        daemon = DaemonProcess(home)
        daemon.socket = home / "new" / "s"
        done = ended_as_other(daemon)
        assert done.returncode == 74
        assert str(home / "new") in done.stderr
        assert "Traceback" not in done.stderr


def test_a_socket_file_that_somebody_deletes_is_noticed(daemon: ObservedDaemon) -> None:
    with Client(daemon.socket) as inside:
        daemon.socket.unlink()
        told = daemon.wait_for("the socket's file is gone")
        assert told["level"] == "error"
        assert told["path"] == str(daemon.socket)
        # Who is in is served on.
        assert inside.ask("record_execution", **execution())["result"]["accepted"] == 1
    assert daemon.stop() == 0


def test_the_socket_of_whoever_came_after_it_is_left_alone(daemon: ObservedDaemon) -> None:
    daemon.socket.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket))
        other.listen()
        assert daemon.stop() == 0
        assert daemon.socket.is_socket()


def test_a_folder_that_is_removed_under_it_does_not_hurt_who_is_in(tmp_path: Path) -> None:
    daemon = ObservedDaemon(tmp_path)
    daemon.socket = tmp_path / "run" / "s"
    with daemon, Client(daemon.socket) as inside:
        shutil.rmtree(tmp_path / "run")
        assert inside.ask("record_execution", **execution())["result"]["accepted"] == 1
        assert daemon.stop() == 0
