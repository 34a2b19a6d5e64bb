"""The blocking client, on the standard library's sockets."""

import contextlib
import select
import socket as sockets
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from buddyd.client import forks
from buddyd.client.deferred import Deferred
from buddyd.client.errors import ConnectionLost, NotRunning, TimedOut, unreachable
from buddyd.client.methods import DEFAULT_TIMEOUT, BlockingMethods
from buddyd.errors import Unavailable
from buddyd.paths import find_socket

if TYPE_CHECKING:
    from buddyd.client import calls, core, events, listener
    from buddyd.client.calls import Call
    from buddyd.client.events import Events
    from buddyd.domain.answers import Answer, EventName
    from buddyd.protocol.framing import IncomingResponse
else:
    calls = Deferred("buddyd.client.calls")
    core = Deferred("buddyd.client.core")
    events = Deferred("buddyd.client.events")
    listener = Deferred("buddyd.client.listener")

R = TypeVar("R", bound="Answer")

_CHUNK_BYTES = 65_536
_LONGEST_WAIT_SECONDS = 2_000_000.0
"""Neither poll nor a socket waits for 2³¹ ms or longer at a time."""


class Client(BlockingMethods):
    """Asks the daemon and waits for the answer; threads may share it, and ask at the same time.

    `socket` is found as `buddyctl` finds it where it is not given. It connects with the first call
    and again after the connection was lost, and so does a child of a fork. Every call ends within
    `timeout` seconds, with its answer or with DaemonError, Unavailable or Unreachable; a call that
    the connection was lost over is sent again (recordings count once all the same), a daemon that
    restarts is waited for, and what it cannot serve for now is repeated for as long as the time
    limit allows.
    """

    def __init__(
        self, socket: str | Path | None = None, *, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.socket = find_socket(None if socket is None else str(socket))
        self.timeout = timeout
        self._known = False
        self._link: _Link | None = None
        self._connecting = threading.Lock()
        forks.forget_in_children(self)

    def call(self, call: "Call[R]", *, within: float | None = None) -> R:
        """The answer to `call`."""
        return core.typed(self.socket, call, self._response(call, within))

    def call_plain(self, call: "Call[Answer]", *, within: float | None = None) -> dict[str, Any]:
        """The answer to `call` as it came, with members that this version does not know."""
        return core.plain(self.socket, call, self._response(call, within))

    def subscribe(
        self,
        *names: "EventName",
        agent_id: str | None = None,
        tool_name: str | None = None,
        task_id: str | None = None,
        success: bool | None = None,
    ) -> "Events":
        """Be told of events, over a connection of its own, until it is closed or lost.

        `execution` is each execution that is committed from now on and fits, `changed` says which
        answers are new; see `Events`. It is not connected to anew when the connection is lost.
        """
        call = calls.subscribe(
            *names, agent_id=agent_id, tool_name=tool_name, task_id=task_id, success=success
        )
        limit = _Limit(self.socket, self.timeout)
        connection = _connected(self.socket, limit)
        connection.settimeout(limit.remaining())
        try:
            return events.Events(connection, listener.Listener(self.socket, call))
        except TimeoutError:
            raise TimedOut(self.socket, limit.seconds) from None
        except OSError as error:
            raise unreachable(self.socket, error) from None

    def close(self) -> None:
        """End the connection, under calls that are open too; a later call opens another."""
        with self._connecting:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def forget(self) -> None:
        """In a child after a fork: the connection is its parent's, and so are the locks."""
        self._connecting = threading.Lock()
        link, self._link = self._link, None
        if link is not None:
            link.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _response(self, call: "Call[Answer]", within: float | None) -> "IncomingResponse":
        limit = _Limit(self.socket, self.timeout if within is None else within)
        attempts = core.Attempts(call, limit.deadline, known=self._known)
        while True:
            try:
                return core.accepted(self._connected(limit).exchange(call, limit))
            except (Unavailable, ConnectionLost, NotRunning) as error:
                time.sleep(attempts.pause(error, time.monotonic()))

    def _connected(self, limit: "_Limit") -> "_Link":
        if not self._connecting.acquire(timeout=limit.remaining()):
            raise TimedOut(self.socket, limit.seconds)
        try:
            if self._link is None or not self._link.usable:
                # A daemon that is not there any more is waited for once, not in every call.
                self._known = False
                self._link = _Link(self.socket, limit)
                self._known = True
            return self._link
        finally:
            self._connecting.release()


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
        return min(seconds, _LONGEST_WAIT_SECONDS)


class _Waiter:
    """One request's place among those that are open."""

    def __init__(self) -> None:
        self.response: IncomingResponse | None = None


class _Link:
    """One connection, over which any number of threads ask at the same time.

    There is no thread that listens. Of those that wait for an answer one listens for all of them,
    hands out what comes, and leaves that to another one when it has its own.
    """

    def __init__(self, socket: Path, limit: _Limit) -> None:
        self._ended = self._cut_off = False
        self._path = socket
        self._dialogue = core.Dialogue(socket)
        self._waiters: dict[int, _Waiter] = {}
        self._problem: str | None = None
        self._listened = False
        self._writing = threading.Lock()
        # Guards all of the above but the writing, and wakes who waits for an answer.
        self._changed = threading.Condition(threading.Lock())
        self._socket = _connected(socket, limit)

    @property
    def usable(self) -> bool:
        """Whether a new request may be sent."""
        return not (self._ended or self._cut_off)

    def close(self) -> None:
        """End it; what is open is lost."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            with contextlib.suppress(OSError):
                self._socket.shutdown(sockets.SHUT_RDWR)
            self._let_go()

    def forget(self) -> None:
        """Close the descriptor alone: the connection goes on in the parent."""
        self._socket.close()

    def exchange(self, call: "Call[Answer]", limit: _Limit) -> "IncomingResponse":
        """The answer to `call`; raises TimedOut or ConnectionLost."""
        with self._changed:
            if not self.usable:
                raise ConnectionLost(self._path, self._problem, sent=False)
            number, frame = self._dialogue.ask(call)
            waiter = self._waiters[number] = _Waiter()
        try:
            sent = self._send(frame, limit)
            self._wait(waiter, limit)
        finally:
            with self._changed:
                del self._waiters[number]
                self._dialogue.abandon(number)
                self._let_go()
        if waiter.response is None:
            raise ConnectionLost(self._path, self._problem, sent=sent)
        return waiter.response

    def _wait(self, waiter: _Waiter, limit: _Limit) -> None:
        """Until `waiter` has its answer or the connection has ended."""
        while self._must_listen(waiter, limit):
            try:
                self._listen(limit)
            finally:
                with self._changed:
                    self._listened = False
                    self._changed.notify_all()

    def _must_listen(self, waiter: _Waiter, limit: _Limit) -> bool:
        """Whether it is this thread's turn to listen; False where there is no need any more."""
        with self._changed:
            while waiter.response is None and not self._ended:
                if not self._listened:
                    self._listened = True
                    return True
                self._changed.wait(limit.remaining())
            return False

    def _listen(self, limit: _Limit) -> None:
        """Hand out what comes next."""
        self._until(select.POLLIN, limit)
        try:
            data = self._socket.recv(_CHUNK_BYTES, sockets.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        with self._changed:
            self._hand_out(data)

    def _hand_out(self, data: bytes) -> None:
        try:
            for number, response in self._dialogue.hear(data):
                self._waiters[number].response = response
        except ConnectionLost as garbled:
            self._problem = str(garbled)
            self._ended = True
        self._ended = self._ended or not data

    def _send(self, frame: bytes, limit: _Limit) -> bool:
        """Whether all was sent. Where it was not, the daemon may have said why before it left."""
        if not self._writing.acquire(timeout=limit.remaining()):
            raise TimedOut(self._path, limit.seconds)
        left = memoryview(frame)
        try:
            while left and not self._ended:
                self._until(select.POLLOUT, limit)
                left = left[self._write(left) :]
        except OSError:
            return False
        finally:
            if 0 < len(left) < len(frame):
                # Half a frame is out: nothing that followed it could be read.
                self._end_sending()
            self._writing.release()
        return not left

    def _write(self, data: memoryview) -> int:
        try:
            return self._socket.send(data, sockets.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _end_sending(self) -> None:
        """Nothing more goes out; what the daemon still says is heard."""
        self._cut_off = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(sockets.SHUT_WR)

    def _let_go(self) -> None:
        """Close what is of no more use, when nobody can be using the descriptor's number."""
        if not self.usable and not self._waiters:
            self._socket.close()

    def _until(self, event: int, limit: _Limit) -> None:
        """Wait until the socket can be read from or written to."""
        ready = select.poll()
        ready.register(self._socket, event)
        while not ready.poll(limit.remaining() * 1000):
            pass  # The time limit ends it.


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
