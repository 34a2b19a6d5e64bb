"""Exit codes, options, help, and leaving quietly."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from buddyd import __version__
from buddyd.protocol.messages import ErrorCode
from tests.support.buddyctl import PROGRAM, ROOT, Terminal, buddyctl, environment
from tests.support.peer import Asked, Odd, Reply, refusal, running, unavailable
from tests.support.samples import AGENTS, ANSWERS, PONG

VERBS = [
    "agents",
    "capacity",
    "pipeline",
    "costs",
    "learning",
    "risks",
    "recommendations",
    "status",
    "ping",
    "explain",
    "plot",
    "metrics",
    "top",
    "tail",
    "exec",
    "record",
    "hook",
    "import",
    "export",
    "aggregate",
    "cleanup",
    "backup",
    "check",
    "doctor",
    "completion",
]


def test_no_daemon_is_said_in_one_line_that_names_the_socket_and_how_to_start_one(
    tmp_path: Path,
) -> None:
    done = buddyctl("agents", socket=tmp_path / "none.sock")
    assert done.returncode == 69
    assert done.stdout == ""
    assert done.stderr == (
        f"buddyctl: No daemon listens at {tmp_path}/none.sock; "
        "start one with `systemctl start buddyd` or `buddyd`.\n"
    )


@pytest.mark.parametrize(
    "error",
    [
        refusal(ErrorCode.NOT_PERMITTED, "The role admin is needed."),
        refusal(ErrorCode.INTERNAL_ERROR, "It broke."),
        unavailable(60.0),
    ],
)
def test_an_error_of_the_daemon_is_one_line_and_code_1(error: Reply) -> None:
    with running(lambda _: error) as peer:
        done = buddyctl("cleanup", "--timeout", "1", socket=peer.socket)
    assert done.returncode == 1
    assert done.stderr == f"buddyctl: {error.message}\n"  # type: ignore[union-attr]


def test_a_daemon_that_says_nothing_is_code_69() -> None:
    with running(lambda _: Odd.SILENCE) as peer:
        done = buddyctl("ping", "--timeout", "0.2", socket=peer.socket)
    assert done.returncode == 69
    assert done.stderr == (
        f"buddyctl: The daemon at {peer.socket} gave no answer within 0.2 s. "
        "`buddyctl doctor` looks for the cause.\n"
    )


def test_an_error_cannot_drive_the_terminal() -> None:
    error = refusal(ErrorCode.INTERNAL_ERROR, "It \x1b[31mbroke\nbuddyctl: all is well")
    with running(lambda _: error) as peer:
        done = buddyctl("ping", socket=peer.socket)
    assert done.stderr == "buddyctl: It \\x1b[31mbroke\\nbuddyctl: all is well\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["agents", "--frobnicate"],
        ["agents", "surplus"],
        ["--timeout", "0", "ping"],
        ["exec", "--tool", "sh"],
        ["exec", "--", "true"],
        ["exec", "--tool", "a\nb", "--", "true"],
        ["import", "/does/not/exist"],
        ["import", "/"],
        ["record", "--tool", "x", "--duration", "-1"],
        ["record", "--tool", "x" * 257, "--duration", "1"],
        ["record", "--tool", os.fsdecode(b"\xff"), "--duration", "1"],
        ["record", "--tool", "x", "--duration", "1", "--finished-at", "yesterday"],
        ["record", "--tool", "w", "--duration", "nan"],
        ["record", "--tool", "w", "--duration", "1", "--cost", "nan"],
        ["record", "--tool", "w", "--duration", "1", "--finished-at", "inf"],
        ["export", "--since", "nan"],
        ["--timeout", "nan", "ping"],
        ["--timeout", "inf", "ping"],
    ],
)
def test_wrong_usage_is_code_2_and_asks_no_daemon(arguments: list[str]) -> None:
    with running(lambda asked: ANSWERS[asked.method]) as peer:
        done = buddyctl(*arguments, socket=peer.socket)
        assert done.returncode == 2
        assert done.stderr.startswith("buddyctl: ")
        assert done.stderr.endswith(" --help`.\n")
        assert done.stderr.count("\n") == 1
        assert peer.connections == 0


@pytest.mark.parametrize("arguments", [["--json", "agents"], ["agents", "--json"]])
def test_options_stand_before_or_after_the_verb(arguments: list[str]) -> None:
    with running(lambda _: AGENTS) as peer:
        before = buddyctl("--socket", str(peer.socket), *arguments)
        after = buddyctl(*arguments, "--socket", str(peer.socket))
    assert before.returncode == after.returncode == 0
    assert json.loads(before.stdout) == json.loads(after.stdout)


def test_the_version() -> None:
    assert buddyctl("--version").stdout == f"buddyctl {__version__}\n"


def test_help_names_every_verb_and_fits_80_columns() -> None:
    text = buddyctl("--help").stdout
    lines = text.splitlines()
    assert all(any(line.startswith(f"  {verb} ") for line in lines) for verb in VERBS)
    assert max(map(len, lines)) <= 80
    assert "..." not in text.partition("Questions:")[2]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example(verb: str) -> None:
    text = buddyctl(verb, "--help").stdout
    assert "\n  Examples:\n    " in text
    assert f"buddyctl {verb}" in text.partition("Examples:")[2]


def test_a_verb_loads_only_what_it_needs() -> None:
    program = (
        "import sys; from buddyd.cli.main import run; run(['--json', 'agents']);"
        "print(sorted(m for m in sys.modules if m in {'rich', 'anyio', 'asyncio'}"
        " or m.startswith('buddyd.cli.')), file=sys.stderr)"
    )
    with running(lambda _: AGENTS) as peer:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(peer.socket),
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stderr.splitlines() == [
        str(
            [
                "buddyd.cli.agents",
                "buddyd.cli.app",
                "buddyd.cli.completing",
                "buddyd.cli.entry",
                "buddyd.cli.main",
                "buddyd.cli.numbers",
                "buddyd.cli.params",
                "buddyd.cli.render",
                "buddyd.cli.render.agents",
                "buddyd.cli.render.cells",
                "buddyd.cli.render.shape",
                "buddyd.cli.render.view",
                "buddyd.cli.shaping",
            ]
        )
    ]


def test_a_table_takes_no_library_that_is_slow_to_load() -> None:
    """With any of these, `buddyctl agents` would take half as long again."""
    slow = ["asyncio", "difflib", "matplotlib", "prometheus_client", "rich.console", "shutil"]
    program = (
        "import sys; from buddyd.cli.main import run; run(['agents']);"
        f"print([name for name in {slow} if name in sys.modules], file=sys.stderr)"
    )
    with running(lambda _: AGENTS) as peer:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(peer.socket),
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stderr == "[]\n"


def test_ctrl_c_leaves_no_mess() -> None:
    asked = threading.Event()

    def script(_: Asked) -> Reply:
        asked.set()
        return Odd.SILENCE

    with running(script) as peer:
        terminal = Terminal(*PROGRAM, "agents", env=environment(peer.socket))
        assert asked.wait(30)
        terminal.type(b"\x03")
        assert terminal.end() == 130
    assert terminal.output.strip() == "^C"


def test_ctrl_c_while_it_still_loads_leaves_no_mess(tmp_path: Path) -> None:
    # In the place of a library that is just being loaded.
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    done = buddyctl("agents", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    with running(lambda asked: ANSWERS[asked.method]) as peer:
        process = subprocess.Popen(
            [*PROGRAM, "agents"],
            env=environment(peer.socket),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        with process.stderr as stderr:
            assert stderr.read() == b""
        assert process.wait(30) == 128 + signal.SIGPIPE


def test_a_terminal_without_the_characters_shows_others() -> None:
    with running(lambda asked: ANSWERS[asked.method]) as peer:
        done = buddyctl("agents", socket=peer.socket, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "OFFLINE  -  " in done.stdout


def test_ping_answers() -> None:
    with running(lambda _: PONG) as peer:
        done = buddyctl("ping", socket=peer.socket)
    assert done.returncode == 0
    assert "buddyd 0.1.0 answers" in done.stdout
    assert "3 h 5 min" in done.stdout
