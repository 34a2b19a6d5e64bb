"""Long work shows on a terminal that it goes on, says nothing in a pipe, and can be broken off."""

import subprocess
from pathlib import Path

import pytest

from buddyd.domain.answers import Answer
from tests.support import gallery
from tests.support.buddyctl import PROGRAM, environment
from tests.support.peer import Asked, Odd, running
from tests.support.samples import ANSWERS
from tests.support.terminal import Window


@pytest.fixture
def records(tmp_path: Path) -> Path:
    file = tmp_path / "records.jsonl"
    line = '{"task_id":"t","agent_id":"a","tool_name":"x","duration_seconds":1,"success":true}\n'
    file.write_text(line * 5000)
    return file


LONG = {
    "import": ("Importing", ["import", "{file}"]),
    "backup": ("Copying", ["backup", "/tmp/copy.db"]),
    "plot": ("Fetching", ["plot", "tasks"]),
}


@pytest.mark.parametrize("verb", LONG)
def test_a_terminal_sees_that_it_goes_on_and_ctrl_c_leaves_no_mess(
    records: Path, verb: str
) -> None:
    title, arguments = LONG[verb]
    words = [word.format(file=records) for word in arguments]
    with (
        running(lambda _: Odd.SILENCE) as peer,
        Window(*PROGRAM, *words, env=environment(peer.socket)) as window,
    ):
        window.wait_for(title)
        window.press(b"\x03")
        assert window.end() == 130
        assert "Traceback" not in window.everything
        assert title not in window.everything
        # The cursor is back.
        assert window.sent.rfind(b"\x1b[?25h") > window.sent.rfind(b"\x1b[?25l")


def test_an_export_into_a_file_shows_on_the_terminal_that_it_goes_on(tmp_path: Path) -> None:
    with running(lambda _: Odd.SILENCE) as peer:
        command = f"exec {' '.join(PROGRAM)} export > {tmp_path}/out"
        with Window("/bin/sh", "-c", command, env=environment(peer.socket)) as window:
            window.wait_for("Exporting")
            window.press(b"\x03")
            assert window.end() == 130


@pytest.mark.parametrize("verb", ["backup", "plot", "import"])
def test_a_pipe_hears_nothing_of_it(records: Path, verb: str) -> None:
    words = [word.format(file=records) for word in LONG[verb][1]]
    with running(_answering) as peer:
        done = subprocess.run(
            [*PROGRAM, *words], env=environment(peer.socket), capture_output=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def _answering(asked: Asked) -> Answer:
    return gallery.ANSWERS.get(asked.method) or ANSWERS[asked.method]


def test_a_check_shows_nothing_in_a_pipe(tmp_path: Path) -> None:
    env = environment(None, XDG_CONFIG_HOME=str(tmp_path), HOME=str(tmp_path))
    done = subprocess.run(
        [*PROGRAM, "check", str(tmp_path / "none.db")], env=env, capture_output=True, check=False
    )
    assert b"Checking" not in done.stderr
