"""What a person sees: a program in a window of a given size, drawn by a terminal emulator.

`capture` is for programs that end by themselves, `Window` for those that are looked at and typed
into; `kept` holds what was seen to the captures under `tests/cli/screens`.
"""

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyte

SCREENS = Path(__file__).parents[1] / "cli" / "screens"
REWRITE = "BUDDYD_REWRITE_SCREENS"
"""The variable that has captures written anew instead of compared; look at what git says then."""

PATIENCE_SECONDS = 30.0
_MOST_SCROLLED = 10_000


def capture(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    columns: int = 80,
    rows: int = 24,
    keys: Iterable[tuple[str, str]] = (),
    exit_code: int = 0,
) -> str:
    """All that `command` shows until it ends, also what has scrolled off; without colours.

    Each of `keys` is a text to wait for on the screen, and what is typed then.
    """
    with Window(*command, env=env, columns=columns, rows=rows) as window:
        for text, typed in keys:
            window.wait_for(text)
            window.press(typed)
        assert window.end() == exit_code, window.everything
        return window.everything


def kept(name: str, seen: str) -> str:
    """What was seen before under this name; a test says that it equals what is `seen` now.

    A capture that is not there yet is written, and the test fails this once.
    """
    file = SCREENS / f"{name}.txt"
    if os.environ.get(REWRITE) or not file.exists():
        new = not file.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{seen}\n")
        assert not new or os.environ.get(REWRITE), f"{file} was written; look whether it is right"
    return file.read_text().removesuffix("\n")


class Window:
    """A program on a pseudo-terminal of its own, whose session it leads."""

    def __init__(
        self, *command: str, env: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        self.sent = b""
        """All that the terminal was sent, escapes included."""
        self._screen = pyte.HistoryScreen(columns, rows, history=_MOST_SCROLLED)
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._code: int | None = None
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            try:
                self._size(0, columns, rows)
                os.execvpe(command[0], command, dict(env))
            finally:
                os._exit(70)

    @property
    def text(self) -> str:
        """The screen as it is now."""
        return _joined(self._screen.display)

    @property
    def everything(self) -> str:
        """What has scrolled off the top, and the screen."""
        columns = self._screen.columns
        gone = ["".join(line[x].data for x in range(columns)) for line in self._screen.history.top]
        return _joined([*gone, *self._screen.display])

    @property
    def modes(self) -> list[Any]:
        """How the terminal treats what is typed and shown, as termios tells it."""
        return termios.tcgetattr(self._file)

    def style(self, text: str) -> pyte.screens.Char:
        """How the first character of `text` looks: it has `fg`, `bold`, `reverse` and more."""
        for y, line in enumerate(self._screen.display):
            if text in line:
                return self._screen.buffer[y][line.index(text)]
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    def press(self, keys: str | bytes) -> None:
        """Press keys."""
        os.write(self._file, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, rows: int) -> None:
        """Make the window larger or smaller."""
        self._screen.resize(rows, columns)
        self._size(self._file, columns, rows)

    def wait_for(self, wanted: str | Callable[[str], object]) -> str:
        """Read until the screen has a text, or until it is as `wanted` says; returns the screen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is(wanted):
            assert self._read(deadline), f"{wanted!r} never came; the screen:\n{self.text}"
        return self.text

    def _is(self, wanted: str | Callable[[str], object]) -> bool:
        # Within a synchronized update the screen is not shown yet.
        if self.sent.rfind(b"\x1b[?2026h") > self.sent.rfind(b"\x1b[?2026l"):
            return False
        return wanted in self.text if isinstance(wanted, str) else bool(wanted(self.text))

    def end(self) -> int:
        """Read until the program has ended; its exit code, negative for a signal."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._code is None and self._read(deadline):
            pass
        return self._reap()

    def kill(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        os.kill(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            self.kill(signal.SIGKILL)
            self._reap()
        os.close(self._file)

    def _reap(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    @staticmethod
    def _size(file: int, columns: int, rows: int) -> None:
        fcntl.ioctl(file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self, deadline: float) -> bool:
        """Take in what was sent; False where the program has let go of the terminal."""
        ready, _, _ = select.select([self._file], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"nothing more came; the screen:\n{self.text}"
        try:
            data = os.read(self._file, 65_536)
        except OSError:  # So Linux says that the other side is gone.
            return False
        self.sent += data
        self._stream.feed(self._decoder.decode(data))
        return bool(data)


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).rstrip("\n")
