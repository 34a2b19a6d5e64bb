"""What can be seen and done to a daemon from outside: its figures, its log, rough clients."""

import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from buddyd.protocol.framing import HEADER_BYTES, Encoding, frame
from tests.support.process import PATIENCE_SECONDS, DaemonProcess


class Figures(Struct, frozen=True):
    """What a process takes up."""

    memory_bytes: int
    descriptors: int
    threads: int


class ObservedDaemon(DaemonProcess):
    """A daemon whose log is the file `log`, and which may be allowed few descriptors."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        most_files: int | None = None,
    ) -> None:
        super().__init__(folder, *arguments, env=env)
        self.log = folder / "log"
        self._most_files = most_files
        self._seen = 0

    def start(self) -> "ObservedDaemon":
        """Start it, and wait until it says that it has."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=os.environ | self.env,
                stderr=log,
                text=True,
            )
        self.wait_for("started")
        return self

    @property
    def command(self) -> list[str]:
        """What runs the daemon."""
        if self._most_files is None:
            return super().command
        return ["prlimit", f"--nofile={self._most_files}:{self._most_files}", *super().command]

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next line of the log about an event; its fields, where it is JSON."""
        found = ""

        def look() -> bool:
            nonlocal found
            lines = self.lines()
            for index in range(self._seen, len(lines)):
                if event in lines[index]:
                    found, self._seen = lines[index], index + 1
                    return True
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            return False

        until(look, f"the log to say {event!r}")
        return dict(json.loads(found)) if found.startswith("{") else {}

    def lines(self) -> list[str]:
        """The log."""
        return self.log.read_text().splitlines()

    def events(self) -> list[dict[str, Any]]:
        """What of the log is JSON."""
        return [json.loads(line) for line in self.lines() if line.startswith("{")]

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process is not None
        return self.process.pid

    def figures(self) -> Figures:
        """What it takes up now."""
        return figures(self.pid)


def figures(pid: int) -> Figures:
    """What a process takes up now."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Figures(
        memory_bytes=int(status["VmRSS"].split()[0]) * 1024,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(status["Threads"]),
    )


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for what another process brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


class Client:
    """A connection that says what it is told to, right or wrong."""

    def __init__(self, path: Path, encoding: Encoding = Encoding.JSON) -> None:
        self.encoding = encoding
        self.raw = socket.socket(socket.AF_UNIX)
        self.raw.settimeout(PATIENCE_SECONDS)
        self.raw.connect(str(path))
        self._file = self.raw.makefile("rb")
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.raw.close()

    def encoded(self, message: object) -> bytes:
        """A message, framed."""
        json_ = self.encoding is Encoding.JSON
        return frame(self.encoding, (msgspec.json if json_ else msgspec.msgpack).encode(message))

    def request(self, method: str, **params: object) -> bytes:
        """A request with an id of its own, framed."""
        return self.encoded({"id": next(self._ids), "method": method, "params": params})

    def hear(self) -> Any:  # noqa: ANN401 - whatever the daemon says
        """The next answer; None at the end."""
        if self.encoding is Encoding.JSON:
            line = self._file.readline()
            return msgspec.json.decode(line) if line else None
        header = self._file.read(HEADER_BYTES)
        if not header:
            return None
        return msgspec.msgpack.decode(self._file.read(int.from_bytes(header)))

    def ask(self, method: str, **params: object) -> Any:  # noqa: ANN401
        """The whole answer to a request."""
        self.raw.sendall(self.request(method, **params))
        return self.hear()


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
