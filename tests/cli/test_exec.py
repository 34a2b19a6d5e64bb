"""buddyctl exec: the command must not notice, and be recorded."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buddyd.domain.execution import Execution
from buddyd.protocol.messages import StartExecution
from tests.support.buddyctl import PROGRAM, ROOT, Terminal, buddyctl, environment
from tests.support.peer import Odd, Peer, running
from tests.support.samples import ANSWERS

EXEC = [*PROGRAM, "exec", "--tool", "sh", "--"]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(lambda asked: ANSWERS[asked.method]) as peer:
        yield peer


def recorded(peer: Peer) -> Execution:
    assert peer.methods[-1] == "record_execution"
    execution = peer.asked[-1].params
    assert isinstance(execution, Execution)
    return execution


def test_a_command_is_started_and_recorded(peer: Peer) -> None:
    before = time.time()
    done = buddyctl(
        *("exec", "--tool", "echo", "--agent", "ci", "--task", "build-7", "--", "echo", "hello"),
        socket=peer.socket,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    start, execution = peer.asked[0].params, recorded(peer)
    assert isinstance(start, StartExecution)
    assert (start.task_id, start.agent_id, start.tool_name) == ("build-7", "ci", "echo")
    assert (execution.task_id, execution.agent_id, execution.tool_name) == ("build-7", "ci", "echo")
    assert execution.success
    assert execution.error_type is None
    assert isinstance(execution.finished_at, float)
    assert isinstance(start.started_at, float)
    assert before <= start.started_at <= execution.finished_at <= time.time()


def test_the_duration_is_the_commands(peer: Peer) -> None:
    buddyctl("exec", "--tool", "sleep", "sleep", "0.3", socket=peer.socket)
    assert 0.3 <= recorded(peer).duration_seconds < 5


@pytest.mark.parametrize(
    ("command", "code", "error_type"),
    [
        (["sh", "-c", "exit 3"], 3, "exit_3"),
        (["sh", "-c", "kill -TERM $$"], -signal.SIGTERM, "signal_SIGTERM"),
        (["sh", "-c", "kill -KILL $$"], -signal.SIGKILL, "signal_SIGKILL"),
        (["sh", "-c", "kill -INT $$"], -signal.SIGINT, "signal_SIGINT"),
        (["sh", "-c", "kill -SEGV $$"], -signal.SIGSEGV, "signal_SIGSEGV"),
        (["/does/not/exist"], 127, "not_found"),
        (["buddyd-no-such-command"], 127, "not_found"),
        (["/"], 126, "not_executable"),
    ],
)
def test_every_ending_is_passed_on_and_recorded(
    peer: Peer, command: list[str], code: int, error_type: str
) -> None:
    done = buddyctl("exec", "--tool", "sh", "--", *command, socket=peer.socket)
    assert done.returncode == code
    assert not recorded(peer).success
    assert recorded(peer).error_type == error_type


def test_a_shell_sees_128_and_the_signal(peer: Peer) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@"; echo $?', "sh", *EXEC, "sh", "-c", "kill -TERM $$"],
        env=environment(peer.socket),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "143\n"


def test_a_command_that_is_not_found_is_said(peer: Peer) -> None:
    done = buddyctl("exec", "--tool", "x", "--", "buddyd-no-such-command", socket=peer.socket)
    assert done.stderr == "buddyctl: buddyd-no-such-command: command not found\n"


def test_without_a_daemon_one_line_says_so_and_the_code_is_passed_on(tmp_path: Path) -> None:
    done = buddyctl(
        *("exec", "--tool", "sh", "--", "sh", "-c", "echo out; echo err >&2; exit 5"),
        socket=tmp_path / "none",
    )
    assert (done.returncode, done.stdout) == (5, "out\n")
    command, said = done.stderr.splitlines()
    assert command == "err"
    assert said.startswith(f"buddyctl: not recorded: No daemon listens at {tmp_path}/none; start")


def test_a_daemon_that_hangs_holds_nothing_up_for_long() -> None:
    with running(lambda _: Odd.SILENCE) as peer:
        began = time.monotonic()
        done = buddyctl("exec", "--tool", "x", "--", "true", socket=peer.socket)
        assert time.monotonic() - began < 10
    assert done.returncode == 0
    assert "not recorded" in done.stderr


def test_the_command_has_started_before_the_daemon_is_asked(tmp_path: Path) -> None:
    """The daemon answers only when the command has run."""
    made = tmp_path / "made"

    def script(asked: object) -> Odd:  # noqa: ARG001 -- a script's signature.
        deadline = time.monotonic() + 10
        while not made.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(made.exists())
        return Odd.HANG_UP

    seen: list[bool] = []
    with running(script) as peer:
        buddyctl(
            *("exec", "--timeout", "20", "--tool", "x", "--", "touch", str(made)),
            socket=peer.socket,
        )
    assert seen
    assert all(seen)


def test_input_output_arguments_and_environment_are_the_commands_own(peer: Peer) -> None:
    show = "import sys, os; print(sys.stdin.read(), sys.argv[1:], os.environ['COLOUR'])"
    done = buddyctl(
        *("exec", "--tool", "py", sys.executable, "-c", show, "--json", "--tool", "a b", "--", ""),
        socket=peer.socket,
        stdin="some input",
        COLOUR="blue",
    )
    assert done.stdout == "some input ['--json', '--tool', 'a b', '--', ''] blue\n"


def test_open_files_are_the_commands_too(peer: Peer) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        subprocess.run(
            [*EXEC, "sh", "-c", f"echo through >/dev/fd/{writing}"],
            env=environment(peer.socket),
            pass_fds=[writing],
            check=True,
        )
        os.close(writing)
        assert pipe.read() == "through\n"


def test_signals_are_as_the_command_expects_them(peer: Peer) -> None:
    """A broken pipe ends it, and none is blocked."""
    done = buddyctl(
        *("exec", "--tool", "sh", "--", "sh", "-c", "grep Sig /proc/self/status"),
        socket=peer.socket,
    )
    plain = subprocess.run(
        ["sh", "-c", "grep Sig /proc/self/status"],
        capture_output=True,
        text=True,
        check=True,
        restore_signals=True,
    )
    assert _masks(done.stdout) == _masks(plain.stdout)


def _masks(status: str) -> list[int]:
    """What is blocked and ignored; signals 32 and 33 are the C library's own."""
    lines = [line for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn"))]
    return [int(line.split()[1], 16) & ~(0b11 << 31) for line in lines]


LISTENER = """
import os, signal, sys
def say(text):
    os.write(1, text.encode() + b"\\n")
heard = []
def hear(number, frame):
    heard.append(signal.Signals(number).name)
    say(heard[-1])
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, hear)
def end(number, frame):
    say(f"heard {heard}")
    os._exit(4)
signal.signal(signal.SIGTERM, end)
say("ready")
while True:
    signal.pause()
"""


def test_signals_are_handed_on(peer: Peer) -> None:
    process = subprocess.Popen(
        [*EXEC, sys.executable, "-c", LISTENER],
        env=environment(peer.socket),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as lines:
        assert lines.readline() == "ready\n"
        for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
            process.send_signal(signal.Signals[name])
            assert lines.readline() == f"{name}\n"
        process.send_signal(signal.SIGTERM)
        assert lines.readline().startswith("heard")
    assert process.wait(30) == 4
    assert recorded(peer).error_type == "exit_4"


def test_ctrl_c_reaches_the_command_once(peer: Peer) -> None:
    """The terminal signals both; handed on as well, it would come twice."""
    terminal = Terminal(*EXEC, sys.executable, "-c", LISTENER, env=environment(peer.socket))
    terminal.wait_for("ready")
    # Were it handed on at once, the two could fall into one.
    os.kill(terminal.pid, signal.SIGSTOP)
    terminal.type(b"\x03")
    terminal.wait_for("SIGINT")
    os.kill(terminal.pid, signal.SIGTERM)
    os.kill(terminal.pid, signal.SIGCONT)
    assert terminal.end() == 4
    assert "heard ['SIGINT']" in terminal.output


def test_ctrl_c_ends_buddyctl_as_it_ends_the_command(peer: Peer) -> None:
    terminal = Terminal(
        *EXEC, "sh", "-c", "echo ready; exec sleep 60", env=environment(peer.socket)
    )
    terminal.wait_for("ready")
    terminal.type(b"\x03")
    assert terminal.end() == -signal.SIGINT
    assert "Traceback" not in terminal.output
    assert recorded(peer).error_type == "signal_SIGINT"


CONTINUED = """
import os, signal, sys
def go_on(number, frame):
    os.write(1, b"continued\\n")
    os._exit(7)
signal.signal(signal.SIGCONT, go_on)
os.write(1, b"ready\\n")
if len(sys.argv) > 1:
    os.kill(os.getpid(), signal.SIGTSTP)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("by", ["terminal", "itself"])
def test_a_job_is_stopped_and_continued(peer: Peer, by: str) -> None:
    """By Ctrl-Z, or by a command that stops itself alone as full-screen programs do."""
    shell = [sys.executable, str(ROOT / "tests/support/shell.py")]
    alone = ["alone"] if by == "itself" else []
    terminal = Terminal(
        *shell, *EXEC, sys.executable, "-c", CONTINUED, *alone, env=environment(peer.socket)
    )
    terminal.wait_for("ready")
    if by == "terminal":
        terminal.type(b"\x1a")
    terminal.wait_for("stopped")
    terminal.wait_for("ended 7")
    assert terminal.end() == 0
    assert "continued" in terminal.output


def test_a_terminal_is_the_commands_own(peer: Peer) -> None:
    command = "import sys; print([f.isatty() for f in (sys.stdin, sys.stdout, sys.stderr)])"
    terminal = Terminal(*EXEC, sys.executable, "-c", command, env=environment(peer.socket))
    assert terminal.end() == 0
    assert terminal.output == "[True, True, True]\n"
