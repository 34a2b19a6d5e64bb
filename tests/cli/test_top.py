"""`buddyctl top` on a terminal: what is seen, what keys do, and what it leaves behind."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from buddyd.client import Client
from tests.support.buddyctl import PROGRAM, buddyctl, environment
from tests.support.outside import ObservedDaemon
from tests.support.peer import Asked, Odd, Peer, Reply, running
from tests.support.samples import ANSWERS, execution
from tests.support.terminal import Window, kept

TOP = [*PROGRAM, "top"]
FIRST = "2 min ago"


def script(asked: Asked) -> Reply:
    return ANSWERS[asked.method]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(script) as peer:
        yield peer


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ObservedDaemon]:
    with ObservedDaemon(tmp_path) as daemon:
        yield daemon


def opened(peer: Peer, columns: int = 80, rows: int = 24, *arguments: str) -> Window:
    env = environment(peer.socket, TZ="UTC")
    return Window(*TOP, *arguments, env=env, columns=columns, rows=rows)


def still(screen: str) -> str:
    """The screen without the clock, which goes on."""
    return screen.replace("12:00:01", "12:00:00").replace("12:00:02", "12:00:00")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50), (50, 14)])
def test_it_looks_well(peer: Peer, columns: int, rows: int) -> None:
    with opened(peer, columns, rows) as window:
        seen = still(window.wait_for(FIRST))
    assert seen == kept(f"top-{columns}", seen)


def test_what_is_looked_into_looks_well(peer: Peer) -> None:
    with opened(peer, 80, 24, "--section", "learning") as window:
        window.wait_for(FIRST)
        window.press("\r")
        seen = still(window.wait_for("There is none of the last 24 hours."))
    assert seen == kept("top-tool-80", seen)


def test_the_help_looks_well(peer: Peer) -> None:
    with opened(peer) as window:
        window.wait_for(FIRST)
        window.press("?")
        seen = still(window.wait_for("Press a key to go on"))
    assert seen == kept("top-help-80", seen)


def test_colours_mean_something_and_can_be_left_out(peer: Peer) -> None:
    with opened(peer, 80, 24, "--section", "learning") as window:
        window.wait_for(FIRST)
        assert window.style("degrading").fg == "red"
    with opened(peer, 80, 24, "--section", "learning", "--no-color") as window:
        window.wait_for(FIRST)
        assert window.style("degrading").fg == "default"


def ended_as_it_began(window: Window, modes: list[object]) -> bool:
    """Whether the terminal is as it was: its modes, its main screen, its cursor."""
    return window.modes == modes and window.sent.endswith(b"\x1b[?25h\x1b[?1049l")


@pytest.mark.parametrize(
    ("how", "code"),
    [("q", 0), ("\x03", 0), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)],
)
def test_however_it_ends_the_terminal_is_as_it_was(
    peer: Peer, how: str | signal.Signals, code: int
) -> None:
    with opened(peer) as window:
        before = window.modes
        window.wait_for(FIRST)
        assert window.modes != before
        assert window.sent.startswith(b"\x1b[?1049h\x1b[?25l")
        if isinstance(how, str):
            window.press(how)
        else:
            window.kill(how)
        assert window.end() == code
        assert ended_as_it_began(window, before)


def test_a_fault_of_its_own_leaves_the_terminal_as_it_was(peer: Peer) -> None:
    """A daemon of another version whose times are none: nobody foresaw it."""
    everything = ANSWERS["get_all"]
    wrong = msgspec.structs.replace(everything, timestamp="yesterday")  # type: ignore[call-arg]
    peer.script = lambda asked: wrong if asked.method == "get_all" else script(asked)
    with opened(peer) as window:
        before = window.modes
        assert window.end() == 1
        assert window.modes == before
        assert b"\x1b[?25h\x1b[?1049l" in window.sent


def test_it_rests_when_it_is_stopped_and_is_drawn_anew_when_it_goes_on(peer: Peer) -> None:
    with opened(peer) as window:
        before = window.modes
        window.wait_for(FIRST)
        window.press("\x1a")
        # The shell would have the terminal now.
        assert os.waitpid(window.pid, os.WUNTRACED)[1] & 0xFF == 0x7F
        assert window.modes == before
        drawn = window.sent.count(b"5 Learning")
        window.kill(signal.SIGCONT)
        window.wait_for(lambda _: window.sent.count(b"5 Learning") > drawn)
        assert window.modes != before
        window.press("q")
        assert window.end() == 0


def test_only_what_changed_is_written(peer: Peer) -> None:
    with opened(peer) as window:
        clock = window.wait_for(FIRST).splitlines()[0][-8:]
        window.wait_for(lambda text: text.splitlines()[0][-8:] != clock)
        whole = len(window.sent)
        window.press("p")
        window.wait_for("PAUSED")
        written = window.sent[whole:]
    assert b"5 Learning" not in written
    assert b"\x1b[2J" not in written
    frames = [each for each in written.split(b"\x1b[?2026h") if each]
    assert all(frame.endswith(b"\x1b[?2026l") for frame in frames)


@pytest.mark.parametrize("how", ["\x0c", signal.SIGWINCH])
def test_the_screen_is_drawn_anew_where_it_may_be_another_one(
    peer: Peer, how: str | signal.Signals
) -> None:
    with opened(peer) as window:
        window.wait_for(FIRST)
        drawn = window.sent.count(b"5 Learning")
        if isinstance(how, str):
            window.press(how)
        else:
            window.kill(how)
        window.wait_for(lambda _: window.sent.count(b"5 Learning") > drawn)


def test_it_fits_itself_to_the_window(peer: Peer) -> None:
    with opened(peer) as window:
        window.wait_for(FIRST)
        window.resize(120, 30)
        wide = window.wait_for(lambda text: "Last run" in text)
        assert "Task" in wide
        window.resize(40, 10)
        small = window.wait_for(lambda text: len(text.splitlines()) == 10 and "5 Learn" in text)
        assert max(map(len, small.splitlines())) <= 40
        window.resize(10, 3)
        window.wait_for("too small")


def test_without_a_daemon_it_waits_for_one(tmp_path: Path) -> None:
    daemon = ObservedDaemon(tmp_path)
    with Window(*TOP, env=environment(daemon.socket)) as window:
        window.wait_for("No daemon listens")
        with daemon:
            window.wait_for(lambda text: "no daemon" not in text and "0 agents" in text)
            assert daemon.stop() == 0
            window.wait_for("no daemon, retrying")
            window.press("q")
            assert window.end() == 0


def test_it_shows_what_is_recorded_when_it_is_and_asks_for_nothing_else(
    daemon: ObservedDaemon,
) -> None:
    env = environment(daemon.socket)
    with Client(daemon.socket) as client, Window(*TOP, env=env) as window:
        window.wait_for("0 agents")
        client.record_execution(execution(agent_id="ann", tool_name="fetch", success=False))
        window.wait_for("1 execution in 24 h")
        window.press("3\r")
        window.wait_for("Tool fetch")
        window.wait_for("ann")
        client.record_execution(execution(agent_id="bob", tool_name="fetch"))
        window.wait_for("bob")
        window.press("\x1b")
        window.wait_for("2 agents")


def test_a_daemon_that_says_nothing_does_not_hang_it() -> None:
    with running(lambda _: Odd.SILENCE) as peer, opened(peer, 80, 24, "--timeout", "0.3") as window:
        window.wait_for("gave no answer within")
        window.press("q")
        assert window.end() == 0


def test_it_takes_a_terminal(peer: Peer) -> None:
    done = buddyctl("top", socket=peer.socket)
    assert done.returncode == 2
    assert "top takes a terminal" in done.stderr
    with Window(*TOP, "--json", env=environment(peer.socket)) as window:
        assert window.end() == 2
        assert "`buddyctl tail --json` is for programs" in window.text


def test_what_it_draws_with_is_loaded_by_nobody_else() -> None:
    program = "import sys, buddyd.cli.top; print({'rich', 'anyio'} & set(sys.modules))"
    done = subprocess.run(
        [*PROGRAM[:1], "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
