"""What systemd and the daemon tell each other: readiness, the watchdog, sockets.

Started by anything else, the daemon finds nothing in its environment and all of this does nothing.
"""

import asyncio
import os
import re
import socket
import time
from collections.abc import Mapping, MutableMapping, Sequence

from buddyd.errors import ConfigurationError

PATIENCE_SECONDS = 30.0
"""What a start or a stop that takes long asks systemd for, again and again."""

_FIRST_SOCKET = 3
_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


class Notifier:
    """Tells systemd how the daemon is (sd_notify).

    No method waits or raises; each says whether its message was handed over. One that was not may
    be sent again: the manager's queue is full for moments only.
    """

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._address = _abstract(env.get("NOTIFY_SOCKET", ""))
        self._is_ready = False
        self._asking: asyncio.TimerHandle | None = None
        self._socket: socket.socket | None = None
        if self._address:
            kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_UNIX, kind)

    def starting(self, most_seconds: float) -> bool:
        """The daemon has begun to start, which may take up to `most_seconds`.

        The time is asked for bit by bit until the daemon is ready, as long as the event loop gets
        on; so systemd ends a start that hangs. There has to be a running event loop.
        """
        return self._ask_for_time(most_seconds)

    def ready(self) -> bool:
        """The daemon serves: after its start, and again after a reload."""
        self._is_ready = True
        self._ask_no_more()
        return self._send("READY=1")

    def status(self, text: str) -> bool:
        """One line for people, shown by `systemctl status`."""
        return self._send("STATUS=" + " ".join(text.split()))

    def watchdog(self) -> bool:
        """The daemon is alive; due once in every `watchdog_interval`."""
        return self._send("WATCHDOG=1")

    def reloading(self) -> bool:
        """The configuration is being read again; where this was told, `ready` ends it.

        Before the daemon is ready, and once it stops, there is nothing to tell.
        """
        if not self._is_ready:
            return False
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, most_seconds: float) -> bool:
        """The daemon has begun to stop; the time for it is asked for as for a start."""
        self._is_ready = False
        told = self._send("STOPPING=1")
        self._ask_for_time(most_seconds)
        return told

    def extend_timeout(self, seconds: float) -> bool:
        """Starting or stopping takes up to `seconds` more, from now on."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def close(self) -> None:
        """Let go of the socket; nothing is sent after this."""
        self._ask_no_more()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask_for_time(self, most_seconds: float) -> bool:
        self._ask_no_more()
        loop = asyncio.get_running_loop()
        until = loop.time() + most_seconds

        def ask() -> bool:
            self._ask_no_more()
            if loop.time() >= until or self._socket is None:
                return False
            # A manager whose queue is full is asked again all the same.
            self._asking = loop.call_later(PATIENCE_SECONDS / 3, ask)
            return self.extend_timeout(PATIENCE_SECONDS)

        return ask()

    def _ask_no_more(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _send(self, message: str) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError:
            return False
        return True


def _abstract(address: str) -> str:
    """The kernel's form of an address: `@` stands for the NUL of the abstract namespace."""
    if address.startswith("@"):
        return "\0" + address[1:]
    return address if address.startswith("/") else ""


def watchdog_interval(env: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between two signs of life: half of what systemd allows; None where it asks none."""
    microseconds, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000 or None


def listen_sockets(env: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The sockets that systemd opened for this process, no longer to be inherited by others.

    They are handed out once: the variables that tell of them are removed. Raises
    ConfigurationError for one that the daemon could not serve on.
    """
    variables = {name: env.pop(name, "") for name in _LISTEN_VARIABLES}
    count = variables["LISTEN_FDS"]
    if variables["LISTEN_PID"] != str(os.getpid()) or not count.isdecimal():
        return []
    return [_adopt(fd) for fd in range(_FIRST_SOCKET, _FIRST_SOCKET + int(count))]


def _adopt(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)  # noqa: FBT003 -- takes no keyword
        listener = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigurationError(
            f"File descriptor {fd}, passed by LISTEN_FDS, is no socket: {error.strerror}."
        ) from error
    if not _listens(listener):
        listener.detach()
        raise ConfigurationError(
            f"Socket {fd}, passed by LISTEN_FDS, is no Unix stream socket that listens: "
            "the socket unit must have ListenStream= with a path, and Accept=no."
        )
    return listener


def program_line(command: Sequence[str]) -> str:
    """`ExecStart=` for a command, whatever its words hold."""
    return "ExecStart=" + " ".join(_quoted(word) for word in command)


def _quoted(word: str) -> str:
    word = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[^\s\"'\\;]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _listens(listener: socket.socket) -> bool:
    return (
        listener.family == socket.AF_UNIX
        and listener.type == socket.SOCK_STREAM
        and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    )
