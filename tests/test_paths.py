import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buddyd import paths
from buddyd.errors import ConfigurationError
from buddyd.paths import find_socket, socket_path, spool_folder

EVERYTHING = {
    "BUDDYD_SOCKET": "/variable/s",
    "RUNTIME_DIRECTORY": "/run/one:/run/two",
    "XDG_RUNTIME_DIR": "/run/user/1",
}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary directory of a user who is not root, who runs the test."""
    folder = Path(tempfile.mkdtemp())
    before = os.geteuid()
    if before == 0:
        os.chown(folder, 65534, -1)
        os.seteuid(65534)
    yield folder
    os.seteuid(before)
    shutil.rmtree(folder)


@pytest.fixture
def private(temporary: Path) -> Path:
    """Where the socket of that user is at last."""
    return temporary / f"buddyd-{os.geteuid()}"


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in EVERYTHING.items() if name not in names}


def test_the_nearest_word_says_where_the_socket_is() -> None:
    assert socket_path("/given/s", "/configured/s", EVERYTHING) == Path("/given/s")
    assert socket_path(None, "/configured/s", EVERYTHING) == Path("/variable/s")
    env = without("BUDDYD_SOCKET")
    assert socket_path(None, "/configured/s", env) == Path("/configured/s")
    assert socket_path(None, None, env) == Path("/run/one/buddyd.sock")
    env = without("BUDDYD_SOCKET", "RUNTIME_DIRECTORY")
    assert socket_path(None, None, env) == Path("/run/user/1/buddyd/buddyd.sock")


def test_an_empty_word_says_nothing() -> None:
    env = EVERYTHING | {"BUDDYD_SOCKET": "", "RUNTIME_DIRECTORY": ""}
    assert socket_path("", "", env) == Path("/run/user/1/buddyd/buddyd.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_roots_socket_is_the_hosts() -> None:
    assert socket_path(None, None, {}) == Path("/run/buddyd/buddyd.sock")


def test_the_last_resort_is_a_folder_of_the_users_own(temporary: Path, private: Path) -> None:
    assert socket_path(None, None, {"TMPDIR": str(temporary)}) == private / "buddyd.sock"
    assert not private.exists()


def test_the_daemon_makes_it_for_itself_alone(temporary: Path, private: Path) -> None:
    socket = socket_path(None, None, {"TMPDIR": str(temporary)})
    paths.make_folder(socket)
    paths.make_folder(socket)
    assert private.stat().st_mode & 0o777 == 0o700
    assert socket_path(None, None, {"TMPDIR": str(temporary)}) == socket


@pytest.mark.parametrize("mode", [0o710, 0o704, 0o777])
def test_a_folder_that_lets_others_in_is_refused(temporary: Path, private: Path, mode: int) -> None:
    private.mkdir()
    private.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}"):
        socket_path(None, None, {"TMPDIR": str(temporary)})
    with pytest.raises(ConfigurationError, match="no safe place"):
        paths.make_folder(private / "buddyd.sock")


def test_a_link_to_a_folder_of_ones_own_is_refused(temporary: Path, private: Path) -> None:
    (temporary / "own").mkdir(mode=0o700)
    private.symlink_to(temporary / "own")
    with pytest.raises(ConfigurationError, match="is not a directory"):
        socket_path(None, None, {"TMPDIR": str(temporary)})


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_a_folder_of_somebody_else_is_refused(temporary: Path, private: Path) -> None:
    private.mkdir(mode=0o700)
    os.seteuid(0)
    os.chown(private, 12345, -1)
    os.seteuid(65534)
    with pytest.raises(ConfigurationError, match="belongs to the user with uid 12345"):
        socket_path(None, None, {"TMPDIR": str(temporary)})


# Clients


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "buddyd").mkdir()
    return tmp_path


def test_a_client_reads_the_configuration_after_the_variable(home: Path) -> None:
    (home / "buddyd/buddyd.toml").write_text('socket = "/configured/s"')
    env = EVERYTHING | {"XDG_CONFIG_HOME": str(home)}
    assert find_socket("/given/s", env) == Path("/given/s")
    assert find_socket(None, env) == Path("/variable/s")
    del env["BUDDYD_SOCKET"]
    assert find_socket(None, env) == Path("/configured/s")


@pytest.mark.parametrize("content", [b"socket =", b"\xff", b"socket = 5", b"a=" + b"[" * 5_000])
def test_a_broken_configuration_does_not_stop_a_client(home: Path, content: bytes) -> None:
    (home / "buddyd/buddyd.toml").write_bytes(content)
    env = without("BUDDYD_SOCKET") | {"XDG_CONFIG_HOME": str(home)}
    assert find_socket(None, env) == Path("/run/one/buddyd.sock")


def test_the_spool_lies_in_the_users_state_folder_unless_it_is_told() -> None:
    socket = Path("/run/buddyd/buddyd.sock")
    name = "run%2Fbuddyd%2Fbuddyd.sock"
    assert spool_folder(socket, {"HOME": "/home/ann"}) == Path(
        "/home/ann/.local/state/buddyd/spool", name
    )
    env = {"HOME": "/home/ann", "XDG_STATE_HOME": "/state"}
    assert spool_folder(socket, env) == Path("/state/buddyd/spool", name)
    assert spool_folder(socket, env | {"BUDDYD_SPOOL": "/spool"}) == Path("/spool", name)


def test_what_is_meant_for_one_socket_does_not_reach_another() -> None:
    sockets = ("/a/b", "/a_b", "/a%2Fb", "/a%b", "/b", "/a", "/a/b/c")
    assert len({spool_folder(Path(socket), {}) for socket in sockets}) == len(sockets)
    here = spool_folder(Path("s"), {})
    assert here == spool_folder(Path.cwd() / "s", {}) == spool_folder(Path("x/../s"), {})


def test_clients_do_not_wait_for_imports() -> None:
    """What finding the socket imports, where no file is found."""
    code = (
        "import sys; before = set(sys.modules); from buddyd.paths import find_socket;"
        "find_socket(None, {'XDG_RUNTIME_DIR': '/run', 'XDG_CONFIG_HOME': '/nowhere'});"
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tomllib", "msgspec", "tempfile", "asyncio", "structlog", "typing"}
    if not Path("/etc/buddyd/buddyd.toml").exists():
        assert heavy.isdisjoint(done.stdout.split())
