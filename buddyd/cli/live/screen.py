"""A terminal as a whole: its modes, its size, and frames of which only what changed is written."""

import os
import sys
import termios
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.text import Text

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"
# A terminal that knows these shows what is between them at once; the others pass them over.
_BEGIN_FRAME, _END_FRAME = "\x1b[?2026h", "\x1b[?2026l"


class Screen:
    """The alternate screen of the terminal, for as long as one is `with` it.

    Afterwards the terminal is as it was before.
    """

    def __init__(self, *, color: bool) -> None:
        self._console = Console(
            file=sys.stdout,
            color_system="auto" if color else None,
            markup=False,
            highlight=False,
            emoji=False,
        )
        self._modes: list[Any] = []
        self._shown: list[str] = []

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        size = os.get_terminal_size(sys.stdout.fileno())
        return size.columns, size.lines

    def __enter__(self) -> Self:
        self._modes = termios.tcgetattr(sys.stdin.fileno())
        # Keys come one by one and are not shown; those that send signals still do.
        tty.setcbreak(sys.stdin.fileno())
        self._write(_ENTER)
        self._shown = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._write(_LEAVE)
        finally:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._modes)

    def forget(self) -> None:
        """Whatever is on the screen, the next frame is written whole."""
        self._shown = []

    def show(self, lines: Sequence[Text]) -> None:
        """Write what differs from the last frame, in one piece."""
        drawn = [self._drawn(line) for line in lines]
        whole = len(drawn) != len(self._shown)
        changes = [
            f"\x1b[{row};1H{line}"
            for row, line in enumerate(drawn, 1)
            if whole or line != self._shown[row - 1]
        ]
        self._shown = drawn
        if changes:
            clear = "\x1b[2J" if whole else ""
            self._write(f"{_BEGIN_FRAME}{clear}{''.join(changes)}{_END_FRAME}")

    def _drawn(self, line: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, overflow="crop", crop=False)
        return captured.get()

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding, "backslashreplace")
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]
