"""A recording client that is a process of its own; its diary says what it sent and what it got.

As a program: `python -m tests.faults.recorder SOCKET NAME ENCODING SEED DIARY`, until it reads
`finish` or `abandon` on standard input.
"""

import subprocess
import sys
from pathlib import Path

from buddyd.protocol.framing import Encoding
from tests.faults.kill_support import Recorder
from tests.support.process import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


class _Diarist(Recorder):
    """Writes down what it sends before it sends it, and what is acknowledged after."""

    def __init__(self, path: Path, name: str, encoding: Encoding, seed: int, diary: Path) -> None:
        super().__init__(path, name, encoding, seed)
        self._diary = diary.open("ab", buffering=0)

    def note(self, what: str, keys: list[str]) -> None:
        super().note(what, keys)
        self._diary.write(("\t".join((what, *keys)) + "\n").encode())


class RecorderProcess:
    """The same from outside, with what a `Recorder` tells."""

    def __init__(self, path: Path, name: str, encoding: Encoding, seed: int, folder: Path) -> None:
        self._diary = folder / f"{name}.diary"
        self._diary.touch()
        given = [path, name, encoding.value, seed, self._diary]
        self._command = [sys.executable, "-m", "tests.faults.recorder", *map(str, given)]
        self._process: subprocess.Popen[str] | None = None

    @property
    def sent(self) -> set[str]:
        """The keys of what was sent."""
        return {key for line in self._lines("sent") for key in line}

    @property
    def acknowledged(self) -> set[str]:
        """The keys of what was acknowledged."""
        return {key for line in self._lines("acknowledged") for key in line}

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return len(self._lines("acknowledged"))

    def start(self) -> None:
        """Record from now on."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )

    def finish(self) -> None:
        """Get everything acknowledged that was sent, and end."""
        assert self._process is not None
        _, complaints = self._process.communicate("finish\n", timeout=2 * PATIENCE_SECONDS)
        assert self._process.returncode == 0, complaints
        assert self.sent == self.acknowledged

    def abandon(self) -> None:
        """End without the answers."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _lines(self, what: str) -> list[list[str]]:
        # A line that is not whole yet tells of what has not been done yet.
        whole, _, _ = self._diary.read_text().rpartition("\n")
        lines = [line.split("\t") for line in whole.splitlines()]
        return [keys for kind, *keys in lines if kind == what]


def main() -> None:
    path, name, encoding, seed, diary = sys.argv[1:]
    recorder = _Diarist(Path(path), name, Encoding(encoding), int(seed), Path(diary))
    recorder.start()
    if sys.stdin.readline() == "finish\n":
        recorder.finish()


if __name__ == "__main__":
    main()
