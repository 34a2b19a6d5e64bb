"""Runs buddyctl as its users do: as a process, in a pipe or on a terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "buddyd.cli.entry"]
PATIENCE_SECONDS = 30.0

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(socket: Path | None = None, **changes: str) -> dict[str, str]:
    """An environment in which nothing of the tester's own is told to buddyctl."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BUDDYD", "PYTHON", "XDG", "RUNTIME_"))
        and name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}
    }
    told = {} if socket is None else {"BUDDYD_SOCKET": str(socket)}
    return kept | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)} | told | changes


def buddyctl(
    *arguments: str, socket: Path | None = None, stdin: str | bytes = b"", **changes: str
) -> subprocess.CompletedProcess[str]:
    """What it prints into pipes, and its exit code."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        env=environment(socket, **changes),
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


class Terminal:
    """A program on a pseudo-terminal of its own, whose session it leads."""

    def __init__(self, *command: str, env: dict[str, str], columns: int = 80) -> None:
        self.output = ""
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                os.execvpe(command[0], command, env)
            finally:
                os._exit(70)

    def type(self, keys: bytes) -> None:
        os.write(self._file, keys)

    def wait_for(self, text: str) -> None:
        """Read until `text` has been shown."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.output:
            assert self._read(deadline), f"{text!r} was never shown: {self.output!r}"

    def end(self) -> int:
        """Read all that is left; the exit code, negative for a signal."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read(deadline):
            pass
        os.close(self._file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._file], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"nothing more came: {self.output!r}"
        try:
            data = os.read(self._file, 65_536)
        except OSError:  # So Linux says that the other side is gone.
            return False
        self.output += data.decode().replace("\r\n", "\n")
        return bool(data)


def on_terminal(
    *arguments: str, socket: Path, columns: int = 80, **changes: str
) -> tuple[int, str]:
    """The exit code, and all that a terminal is sent, escapes included."""
    terminal = Terminal(*PROGRAM, *arguments, env=environment(socket, **changes), columns=columns)
    code = terminal.end()
    return code, terminal.output


def seen(output: str) -> str:
    """What a person sees of it: without colours."""
    return _ESCAPE.sub("", output)
