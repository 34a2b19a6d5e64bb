"""A real daemon as a process of its own, watched from outside."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

PATIENCE_SECONDS = 20.0


class DaemonProcess:
    """`buddyd` in a folder of its own. It is started by `start` and may be started again."""

    def __init__(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.socket = folder / "s"
        self.database = folder / "analytics.db"
        self.arguments = arguments
        self.env = dict(env or {})
        self.process: subprocess.Popen[str] | None = None
        self._unread = b""

    @property
    def command(self) -> list[str]:
        """What runs the daemon."""
        places = ["--socket", str(self.socket), "--database", str(self.database)]
        return [sys.executable, "-m", "buddyd", *places, *self.arguments]

    def start(self) -> "DaemonProcess":
        """Start it, and wait until it says that it has."""
        self._unread = b""
        self.process = subprocess.Popen(
            self.command,
            env=os.environ | self.env,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.wait_for("started")
        return self

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read the log up to an event, and return its fields."""
        seen = []
        end = time.monotonic() + PATIENCE_SECONDS
        while line := self._next_line(end):
            seen.append(line)
            fields: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if fields.get("event") == event:
                return fields
        message = f"no {event!r} in the log: {''.join(seen)}"
        raise AssertionError(message)

    def has_said(self, event: str) -> bool:
        """Whether a line that is there already, and was not read yet, is about an event."""
        while line := self._next_line(time.monotonic()):
            if event in line:
                return True
        return False

    def _next_line(self, end: float) -> str:
        """The next line of the log; empty at its end, or where none has come by `end`."""
        assert self.process is not None
        assert self.process.stderr is not None
        descriptor = self.process.stderr.fileno()
        # Not by the file object: what that has read ahead, `select` does not know of.
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
            news = os.read(descriptor, 65_536) if ready else b""
            if not news:
                return ""
            self._unread += news
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode() + "\n"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait for its end."""
        assert self.process is not None
        self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode

    def __enter__(self) -> Self:
        if self.process is None:
            try:
                self.start()
            except BaseException:
                # It may have started all the same, too late.
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Ask one thing over a connection of its own; returns the whole answer."""
        return self.call_all([(method, params)])[0]

    def call_all(self, calls: Sequence[tuple[str, Mapping[str, object]]]) -> list[dict[str, Any]]:
        """Send everything at once as JSON lines; the answers, in the order of the calls."""
        lines = [
            json.dumps({"id": index, "method": method, "params": params})
            for index, (method, params) in enumerate(calls)
        ]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(self.socket))
            connection.sendall("\n".join(lines).encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile() as answers:
                found = [json.loads(line) for line in answers]
        return sorted(found, key=lambda answer: answer["id"])


class PatchedDaemon(DaemonProcess):
    """A daemon that runs some lines of Python before it starts."""

    def __init__(self, folder: Path, patch: str, env: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, env=env)
        self._script = (
            f"import sys\nfrom buddyd import daemon, program\n{patch}\nprogram.main(sys.argv[1:])"
        )

    @property
    def command(self) -> list[str]:
        """The script in the place of the program."""
        return [sys.executable, "-c", self._script, *super().command[3:]]


def execution(**fields: object) -> dict[str, object]:
    """The parameters of an execution, with what a test does not care about filled in."""
    return {
        "task_id": "task",
        "agent_id": "agent",
        "tool_name": "tool",
        "duration_seconds": 1.0,
        "success": True,
    } | fields
