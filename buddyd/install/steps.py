"""The steps of an installation: each says what it does, and does it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from buddyd.errors import FatalError


def say(line: str, to: TextIO | None = None) -> None:
    """A line for whoever installs, by default on standard output."""
    print(line, file=to)


class NotInstalled(FatalError):
    """The host was left as it is, or part of the way; the text says what is in the way."""

    exit_code = 77


class Write(Struct, frozen=True):
    """A file is to have this content."""

    path: Path
    content: bytes

    def describe(self) -> str:
        """What is done, with the mark of a diff."""
        return f"{'~' if self.path.exists() else '+'} {self.path}"

    def do(self) -> None:
        """Write it whole or not at all; everybody may read it."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        new.write_bytes(self.content)
        new.chmod(0o644)
        new.replace(self.path)


class Remove(Struct, frozen=True):
    """A file is to go."""

    path: Path

    def describe(self) -> str:
        """What is done, with the mark of a diff."""
        return f"- {self.path}"

    def do(self) -> None:
        """Remove it, and its folder where that was made for it alone."""
        self.path.unlink(missing_ok=True)
        if self.path.parent.suffix == ".d" or self.path.parent.name == "buddyd":
            try:
                self.path.parent.rmdir()
            except OSError:
                return


class Run(Struct, frozen=True):
    """A program is to run. Where `optional`, its failure is told and nothing else."""

    command: tuple[str, ...]
    optional: bool = False

    def describe(self) -> str:
        """The command as a shell has it."""
        return f"$ {' '.join(self.command)}"

    def do(self) -> None:
        """Run it; raises NotInstalled with what it said."""
        try:
            done = subprocess.run(  # noqa: S603 -- systemd's own tools, from PATH
                self.command, capture_output=True, text=True, check=False
            )
            failure = (done.stderr or done.stdout).strip() if done.returncode else None
        except OSError as error:
            failure = error.strerror
        if failure is not None:
            sentence = f"`{' '.join(self.command)}` failed: {failure}"
            if not self.optional:
                raise NotInstalled(sentence)
            say(f"  {sentence}", sys.stderr)


class Keep(Struct, frozen=True):
    """Something stays as it is, and why."""

    path: str
    why: str

    def describe(self) -> str:
        """What stays."""
        return f"= {self.path}  ({self.why})"

    def do(self) -> None:
        """Nothing."""


Step = Write | Remove | Run | Keep
