"""buddyctl completion, and what the shell is offered."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import gallery
from tests.support.buddyctl import PROGRAM, buddyctl, environment
from tests.support.peer import Odd, Peer, running

PATIENCE_SECONDS = 0.3


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(gallery.script) as peer:
        yield peer


def offered(line: str, socket: Path) -> list[str]:
    """What bash would be offered for the last word of `line`."""
    words = line.split(" ")
    done = subprocess.run(
        PROGRAM,
        env=environment(
            socket,
            _BUDDYCTL_COMPLETE="bash_complete",
            COMP_WORDS=line,
            COMP_CWORD=str(len(words) - 1),
        ),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return [answer.partition(",")[2] for answer in done.stdout.split("\n") if answer]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(shell: str) -> None:
    done = buddyctl("completion", shell)
    assert done.returncode == 0
    assert "_BUDDYCTL_COMPLETE" in done.stdout
    assert f"{shell}_complete" in done.stdout


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")])
def test_a_shell_that_is_here_understands_its_script(shell: str, check: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    script = buddyctl("completion", shell).stdout
    done = subprocess.run(
        [program, check], input=script, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_by_the_script(peer: Peer, tmp_path: Path) -> None:
    """As when TAB is pressed: the script's own function is asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "buddyctl"
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(buddyctl completion bash)"; COMP_WORDS=(buddyctl learning --tool py); '
        "COMP_CWORD=3; "
        '_buddyctl_completion buddyctl py --tool; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = environment(peer.socket)
    env["PATH"] = f"{folder}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("python\n", "")


def test_verbs_and_options_are_offered_without_a_daemon(tmp_path: Path) -> None:
    nobody = tmp_path / "none"
    assert offered("buddyctl agg", nobody) == ["aggregate"]
    assert "--sort" in offered("buddyctl agents --", nobody)
    assert offered("buddyctl plot la", nobody) == ["latency"]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("buddyctl agents --agent c", ["ci", "crawler-eu-west-1-production-0a7c3b"]),
        ("buddyctl learning --tool w", ["web_search"]),
        ("buddyctl plot tasks --agent sc", ["scout"]),
        ("buddyctl export --tool git", ["github.create_pull_request"]),
        ("buddyctl explain s", ["scout", "send_email"]),
    ],
)
def test_names_come_from_the_daemon(peer: Peer, line: str, names: list[str]) -> None:
    assert offered(line, peer.socket) == names


def test_without_a_daemon_no_name_is_offered(tmp_path: Path) -> None:
    assert offered("buddyctl agents --agent s", tmp_path / "none") == []


def test_a_daemon_that_says_nothing_is_not_waited_for() -> None:
    """Both questions of `explain` together get no longer than one."""
    with running(lambda _: Odd.SILENCE) as peer:
        before = time.monotonic()
        assert offered("buddyctl explain s", peer.socket) == []
        waited = time.monotonic() - before
        before = time.monotonic()
        offered("buddyctl explain --", peer.socket)
        started = time.monotonic() - before
    # Far below the 30 s that a verb would wait; how fast programs start here is not known.
    assert waited - started < 10 * PATIENCE_SECONDS
    assert len(peer.asked) == 1
