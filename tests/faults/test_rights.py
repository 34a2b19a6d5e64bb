"""Who may do what; and that nobody gets more than that, not even for a moment."""

import grp
import json
import os
import pwd
import re
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.outside import Client, ObservedDaemon
from tests.support.process import execution
from tests.support.users import (
    ADMIN_UID,
    ASKER_UID,
    DAEMON_UID,
    ENV,
    GROUP_GID,
    PYTHON,
    RECORDER_UID,
    STRANGER_UID,
    needs_other_users,
    say_as,
    shared_folder,
)

# Roles


class OthersDaemon(ObservedDaemon):
    """A daemon that is an ordinary user's."""

    @property
    def command(self) -> list[str]:
        """What runs it."""
        assert PYTHON is not None
        user = ["setpriv", f"--reuid={DAEMON_UID}", f"--regid={DAEMON_UID}", "--clear-groups"]
        return [*user, PYTHON, *super().command[1:]]


def others_daemon(folder: Path, access: str) -> OthersDaemon:
    """A daemon with these rights, at a socket that everybody may open."""
    config = folder / "buddyd.toml"
    config.write_text(f"[access]\n{access}\n")
    config.chmod(0o644)
    daemon = OthersDaemon(folder, "--config", str(config), env=ENV)
    daemon.start()
    # As an administrator would do it, or systemd with SocketMode.
    daemon.socket.chmod(0o666)
    return daemon


@pytest.fixture
def home() -> Iterator[Path]:
    with shared_folder(DAEMON_UID) as folder:
        yield folder


def roles_of(daemon: ObservedDaemon, uid: int, gid: int, groups: tuple[int, ...] = ()) -> set[str]:
    """The roles that a user is found to have, by doing what takes each."""
    calls = [("record_execution", execution()), ("get_all", {}), ("run_hourly_aggregation", {})]
    lines = [
        json.dumps({"id": index, "method": method, "params": params})
        for index, (method, params) in enumerate(calls)
    ]
    done = say_as(uid, daemon.socket, "\n".join(lines).encode(), gid, groups)
    answers = sorted(map(json.loads, done.stdout.splitlines()), key=lambda a: a["id"])
    held = set()
    for role, answer in zip(("record", "query", "admin"), answers, strict=True):
        if "result" in answer:
            held.add(role)
        else:
            assert answer["error"]["code"] == -32001
            assert answer["error"]["data"] == {"role": role}
    return held


@needs_other_users
def test_roles_are_given_to_users_and_groups(home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    access = (
        f'record = [{RECORDER_UID}, "{ADMIN_UID}", "@{GROUP_GID}"]\n'
        f'query = [{ASKER_UID}, "{ADMIN_UID}", "@{grp.getgrgid(nobody.pw_gid).gr_name}"]\n'
        f"admin = [{ADMIN_UID}]"
    )
    with others_daemon(home, access) as daemon:
        assert roles_of(daemon, RECORDER_UID, RECORDER_UID) == {"record"}
        assert roles_of(daemon, ASKER_UID, ASKER_UID) == {"query"}
        assert roles_of(daemon, ADMIN_UID, ADMIN_UID) == {"record", "query", "admin"}
        assert roles_of(daemon, STRANGER_UID, GROUP_GID) == {"record"}
        assert roles_of(daemon, nobody.pw_uid, nobody.pw_gid) == {"query"}
        assert roles_of(daemon, STRANGER_UID, STRANGER_UID) == set()
        # The kernel tells a peer's first group; the others are what the user database says.
        assert roles_of(daemon, STRANGER_UID, STRANGER_UID, (GROUP_GID,)) == set()
        assert roles_of(daemon, 0, 0) == {"record", "query", "admin"}
        assert roles_of(daemon, DAEMON_UID, DAEMON_UID) == {"record", "query", "admin"}


@needs_other_users
def test_by_default_others_record_and_ask_but_do_not_administer(home: Path) -> None:
    with others_daemon(home, "") as daemon:
        assert roles_of(daemon, STRANGER_UID, STRANGER_UID) == {"record", "query"}


@needs_other_users
def test_a_change_of_rights_is_taken_over_without_a_restart(home: Path) -> None:
    with others_daemon(home, "record = []") as daemon:
        assert roles_of(daemon, RECORDER_UID, RECORDER_UID) == {"query"}
        (home / "buddyd.toml").write_text(f"[access]\nrecord = [{RECORDER_UID}]\nquery = []\n")
        os.kill(daemon.pid, 1)
        daemon.wait_for("configuration reloaded")
        assert roles_of(daemon, RECORDER_UID, RECORDER_UID) == {"record"}


@needs_other_users
def test_without_the_administrators_doing_others_cannot_even_connect(home: Path) -> None:
    with others_daemon(home, "") as daemon:
        daemon.socket.chmod(0o660)
        refused = say_as(STRANGER_UID, daemon.socket, b'{"id":1,"method":"ping"}\n')
        assert b"PermissionError" in refused.stderr
        same_group = say_as(STRANGER_UID, daemon.socket, b'{"id":1,"method":"ping"}\n', DAEMON_UID)
        assert b'"result"' in same_group.stdout


# Files


def can_trace() -> bool:
    """Whether strace may trace another process here."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    return subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode == 0


class TracedDaemon(ObservedDaemon):
    """A daemon whose making of files is written down, started by somebody with a careless umask."""

    @property
    def command(self) -> list[str]:
        """What runs it."""
        calls = "trace=umask,bind,openat,open,creat,chmod,fchmod,fchmodat,mkdir"
        trace = ["strace", "-D", "-f", "-q", "-o", str(self.folder / "trace"), "-e", calls]
        return ["sh", "-c", 'umask 0; exec "$@"', "sh", *trace, *super().command]


@pytest.mark.skipif(not can_trace(), reason="strace cannot trace processes here")
def test_socket_and_database_are_never_wider_than_they_end_up(tmp_path: Path) -> None:
    with TracedDaemon(tmp_path) as daemon:
        daemon.call("record_execution", **execution())
        daemon.call("backup", path=str(tmp_path / "copy.db"))
        daemon.stop()
    umask = 0
    made: dict[str, int] = {}
    for line in (tmp_path / "trace").read_text().splitlines():
        if call := re.search(r"umask\((\w+)\)", line):
            umask = int(call[1], 8)
        elif str(tmp_path) not in line or " = -1 " in line:
            continue
        elif "bind(" in line:
            made["s"] = 0o777 & ~umask
        elif call := re.search(r'"([^"]+)", [^"]*O_CREAT[^"]*, (0\d+)\)', line):
            name = re.sub(r"\.[0-9a-f]{32}\.", ".", Path(call[1]).name)
            made[name] = max(made.get(name, 0), int(call[2], 8) & ~umask)
        assert "chmod" not in line, line
    assert made.pop("s") == 0o660
    assert {"analytics.db", "analytics.db-wal", "s.lock", ".copy.db.partial"} <= set(made)
    assert {name: mode for name, mode in made.items() if mode & 0o077} == {}


def test_a_folder_that_it_makes_is_its_own_alone(tmp_path: Path) -> None:
    daemon = ObservedDaemon(tmp_path)
    daemon.socket = tmp_path / "a" / "b" / "s"
    with daemon:
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


# Backups


def backup(daemon: ObservedDaemon, path: "Path | str") -> dict[str, Any]:
    with Client(daemon.socket) as client:
        answer: dict[str, Any] = client.ask("backup", path=str(path))
    return answer


def everything_in(folder: Path) -> dict[str, bytes]:
    """The files below a folder. Another program reads them: see the law of storage."""
    files = subprocess.run(
        ["find", str(folder), "-type", "f", "-o", "-type", "l"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        name: subprocess.run(["cat", name], capture_output=True, check=False).stdout
        for name in sorted(files.stdout.splitlines())
        if not name.endswith(("-shm", "/log"))
    }


def assert_writes_nothing(daemon: ObservedDaemon, path: "Path | str", folder: Path) -> None:
    before = everything_in(folder)
    answer = backup(daemon, path)
    assert "error" in answer, f"{path} was written"
    assert answer["error"]["code"] in {-32602, -32000}
    assert everything_in(folder) == before


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[ObservedDaemon]:
    with ObservedDaemon(tmp_path) as daemon:
        daemon.call("record_executions", executions=[execution()] * 10)
        yield daemon
        assert daemon.call("get_task_pipeline")["result"]["last_24_hours"]["total_tasks"] == 10
        assert daemon.stop() == 0
        with closing(sqlite3.connect(daemon.database)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize(
    "name",
    [
        "analytics.db",
        "analytics.db-wal",
        "analytics.db-shm",
        "analytics.db-journal",
        "analytics.db.lock",
        "sub/../analytics.db",
        "sub/../analytics.db-journal",
        "./analytics.db",
        "symbolic",
        "dangling",
        "hard",
        "by-folder/analytics.db",
        "by-folder/analytics.db-journal",
        "s",
        "s.lock",
        "other file",
        "sub",
        "sub/",
        "sub/..",
        ".",
        "missing/copy.db",
        "other file/copy.db",
    ],
)
def test_backups_overwrite_nothing_however_it_is_named(recorded: ObservedDaemon, name: str) -> None:
    folder = recorded.folder
    (folder / "sub").mkdir()
    (folder / "other file").write_text("mine")
    (folder / "symbolic").symlink_to(recorded.database)
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "hard").hardlink_to(recorded.database)
    (folder / "by-folder").symlink_to(folder)
    assert_writes_nothing(recorded, f"{folder}/{name}", folder)
    (folder / "hard").unlink()


@pytest.mark.parametrize("path", ["copy.db", "~/copy.db", "file:copy.db", "", "/", "a\0b", "/a\0b"])
def test_backups_need_a_path_that_says_where(recorded: ObservedDaemon, path: str) -> None:
    assert_writes_nothing(recorded, path, recorded.folder)


@needs_other_users
def test_backups_are_written_with_the_rights_of_the_daemons_user(home: Path) -> None:
    with others_daemon(home, "") as daemon, shared_folder(0) as roots:
        daemon.call("record_execution", **execution())
        (roots / "link").symlink_to(home)
        (home / "way out").symlink_to(roots)
        # It is root who asks, but not root who writes.
        assert_writes_nothing(daemon, roots / "copy.db", roots)
        assert_writes_nothing(daemon, home / "way out" / "copy.db", roots)
        assert_writes_nothing(daemon, "/etc/buddyd-copy.db", roots)
        assert not Path("/etc/buddyd-copy.db").exists()
        assert "result" in backup(daemon, roots / "link" / "copy.db")
        copy = (home / "copy.db").stat()
        assert (copy.st_uid, stat.S_IMODE(copy.st_mode)) == (DAEMON_UID, 0o600)


@needs_other_users
def test_who_may_not_administer_writes_no_backup(home: Path) -> None:
    with others_daemon(home, "") as daemon:
        line = json.dumps({"id": 1, "method": "backup", "params": {"path": f"{home}/copy.db"}})
        answer = json.loads(say_as(STRANGER_UID, daemon.socket, line.encode()).stdout)
        assert answer["error"]["code"] == -32001
        assert not list(home.glob("*copy.db*"))


def test_a_backup_that_finds_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "buddyd-test", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with ObservedDaemon(tmp_path) as daemon:
            daemon.call("record_executions", executions=[execution()] * 5_000)
            answer = backup(daemon, small / "copy.db")
            assert answer["error"]["code"] == -32000
            assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
