"""The blocking client, on the standard library's sockets."""

import socket as sockets
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from buddyd.client import calls, core
from buddyd.client.calls import Call
from buddyd.client.errors import ConnectionLost, TimedOut, unreachable
from buddyd.client.events import Events
from buddyd.client.listener import Listener
from buddyd.client.methods import BlockingMethods
from buddyd.domain.answers import Answer, EventName
from buddyd.errors import Unavailable
from buddyd.paths import find_socket
from buddyd.protocol.framing import IncomingResponse

R = TypeVar("R", bound=Answer)

_CHUNK_BYTES = 65_536


class Client(BlockingMethods):
    """Asks the daemon and waits for the answer; threads may share it.

    `socket` is found as `buddyctl` finds it where it is not given. It connects with the first call
    and again after the connection was lost. Every call ends within `timeout` seconds, with its
    answer or with DaemonError, Unavailable or Unreachable; a call that the connection was lost
    over is sent once more (recordings count once all the same), and one that the daemon cannot
    serve for now is repeated for as long as the time limit allows.
    """

    def __init__(
        self, socket: str | Path | None = None, *, timeout: float = core.DEFAULT_TIMEOUT
    ) -> None:
        self.socket = find_socket(None if socket is None else str(socket))
        self.timeout = timeout
        self._lock = threading.Lock()
        self._link: _Link | None = None

    def call(self, call: Call[R], *, within: float | None = None) -> R:
        """The answer to `call`."""
        return core.typed(self.socket, call, self._response(call, within))

    def call_plain(self, call: Call[Answer], *, within: float | None = None) -> dict[str, Any]:
        """The answer to `call` as it came, with members that this version does not know."""
        return core.plain(self.socket, call, self._response(call, within))

    def subscribe(
        self,
        *events: EventName,
        agent_id: str | None = None,
        tool_name: str | None = None,
        task_id: str | None = None,
        success: bool | None = None,
    ) -> Events:
        """Be told of `events`, over a connection of its own, until it is closed or lost.

        `execution` is each execution that is committed from now on and fits, `changed` says which
        answers are new; see `Events`. It is not connected to anew when the connection is lost.
        """
        call = calls.subscribe(
            *events, agent_id=agent_id, tool_name=tool_name, task_id=task_id, success=success
        )
        limit = _Limit(self.socket, self.timeout)
        connection = _connected(self.socket, limit)
        connection.settimeout(limit.remaining())
        try:
            return Events(connection, Listener(self.socket, call))
        except TimeoutError:
            raise TimedOut(self.socket, limit.seconds) from None
        except OSError as error:
            raise unreachable(self.socket, error) from None

    def close(self) -> None:
        """End the connection; a later call opens another."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _response(self, call: Call[Answer], within: float | None) -> IncomingResponse:
        limit = _Limit(self.socket, self.timeout if within is None else within)
        attempts = core.Attempts(call, limit.deadline)
        while True:
            try:
                return core.accepted(self._attempt(call, limit))
            except (Unavailable, ConnectionLost) as error:
                time.sleep(attempts.pause(error, time.monotonic()))

    def _attempt(self, call: Call[Answer], limit: "_Limit") -> IncomingResponse:
        if not self._lock.acquire(timeout=limit.remaining()):
            raise TimedOut(self.socket, limit.seconds)
        try:
            self._link = self._link or _Link(self.socket, limit)
            return self._link.exchange(call, limit)
        except BaseException:
            # Half a frame may be out, or half an answer in: the connection is of no more use.
            self._drop()
            raise
        finally:
            self._lock.release()

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class _Limit:
    """A call's time limit of `seconds` from now."""

    def __init__(self, socket: Path, seconds: float) -> None:
        self.socket = socket
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds that are left, more than 0; raises TimedOut."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimedOut(self.socket, self.seconds)
        # Threads and sockets refuse to wait longer than this.
        return min(seconds, threading.TIMEOUT_MAX)


class _Link:
    """One connection."""

    def __init__(self, socket: Path, limit: _Limit) -> None:
        self._path = socket
        self._dialogue = core.Dialogue(socket)
        self._socket = _connected(socket, limit)

    def close(self) -> None:
        self._socket.close()

    def exchange(self, call: Call[Answer], limit: _Limit) -> IncomingResponse:
        _, frame = self._dialogue.ask(call)
        sent = self._send(frame, limit)
        # One request is open at a time, so the first answer is its own.
        while not (answers := self._dialogue.hear(self._receive(limit, sent=sent))):
            pass
        return answers[0][1]

    def _send(self, frame: bytes, limit: _Limit) -> bool:
        """Whether all was sent. Where it was not, the daemon may have said why before it left."""
        self._socket.settimeout(limit.remaining())
        try:
            self._socket.sendall(frame)
        except TimeoutError:
            raise TimedOut(self._path, limit.seconds) from None
        except OSError:
            return False
        return True

    def _receive(self, limit: _Limit, *, sent: bool) -> bytes:
        self._socket.settimeout(limit.remaining())
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except TimeoutError:
            raise TimedOut(self._path, limit.seconds) from None
        except OSError:
            data = b""
        if not data:
            raise ConnectionLost(self._path, sent=sent)
        return data


def _connected(path: Path, limit: _Limit) -> sockets.socket:
    connection = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    try:
        _connect(connection, path, limit)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(connection: sockets.socket, path: Path, limit: _Limit) -> None:
    # A socket with a Python timeout would not wait for a place in a full queue of connections.
    seconds, fraction = divmod(limit.remaining(), 1)
    wait = struct.pack("ll", int(seconds), int(fraction * 1e6) or 1)
    connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDTIMEO, wait)
    try:
        connection.connect(str(path))
    except BlockingIOError:
        raise TimedOut(path, limit.seconds) from None
    except OSError as error:
        raise unreachable(path, error) from None
