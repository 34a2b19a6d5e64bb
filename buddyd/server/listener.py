"""The listener: the socket's file, the accept loop, and the connections there are."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.abc
import msgspec
import structlog
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from buddyd.errors import AlreadyRunning, ConfigurationError, FatalError, Unavailable
from buddyd.protocol.messages import Role
from buddyd.server.peers import Peer, credentials
from buddyd.server.session import Session, SessionSettings

log = structlog.get_logger()

BACKLOG = 512
# sun_path holds 108 bytes, the last of which is zero.
LONGEST_PATH_BYTES = 107
SOCKET_UMASK = 0o117
"""Who may open the socket: its owner and its group, from the moment it is there."""
EXHAUSTED_SECONDS = 0.1
"""What is waited where no file descriptor is left for a connection."""
MOST_REFUSED = 64
"""Connections over the limit that are told so at once; further ones are closed."""

REFUSED_SECONDS = 2.0
"""For how long they are listened to."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Policy = Callable[[Peer], frozenset[Role]]


class SocketUnusable(FatalError):
    """The socket cannot be made."""

    exit_code = 74


@contextmanager
def listening_socket(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, taking over what a dead daemon left there.

    Raises AlreadyRunning where a daemon is alive behind it, ConfigurationError for a path that
    cannot be one, SocketUnusable where the folder does not allow it.
    """
    if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
        raise ConfigurationError(
            f"The socket path {path} has {len(os.fsencode(path))} bytes; at most "
            f"{LONGEST_PATH_BYTES} are possible."
        )
    with _sole_listener(path):
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind(listener, path)
            yield listener
        finally:
            listener.close()
            path.unlink(missing_ok=True)


@contextmanager
def _sole_listener(path: Path) -> Iterator[None]:
    """Hold the lock that says that this daemon has the socket; it is a file of its own."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        message = f"Another buddyd listens at {path}."
        raise AlreadyRunning(message) from None
    try:
        yield
    finally:
        os.close(lock)


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens at any more; raises AlreadyRunning where one does."""
    if not path.is_socket():
        if os.path.lexists(path):
            raise ConfigurationError(f"{path} is there and is no socket; it was not touched.")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            # It is alive, and too busy to accept.
            pass
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            log.info("stale socket removed", path=str(path))
            return
        except OSError as error:
            raise _unusable(path, error) from error
    message = f"Another program listens at {path}."
    raise AlreadyRunning(message)


def _bind(listener: socket.socket, path: Path) -> None:
    before = os.umask(SOCKET_UMASK)
    try:
        listener.bind(str(path))
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.umask(before)
    listener.listen(BACKLOG)


def _unusable(path: Path, error: OSError) -> SocketUnusable:
    return SocketUnusable(f"The socket {path} cannot be made: {error.strerror}.")


class Server:
    """Accepts connections and keeps a session for each."""

    def __init__(self, settings: SessionSettings, policy: Policy, most_connections: int) -> None:
        self.policy = policy
        self._settings = settings
        self._refusing = msgspec.structs.replace(settings, dispatch=_refuse)
        self._most = most_connections
        self._sessions: set[Session] = set()
        self._refused = 0
        self._accepting = anyio.CancelScope()
        self._change = anyio.Event()

    async def serve(self, sockets: Sequence[socket.socket], sessions: anyio.abc.TaskGroup) -> None:
        """Accept connections until `stop`; the sessions live in the group `sessions`."""
        listeners = [await SocketListener.from_socket(raw) for raw in sockets]
        with self._accepting:
            async with anyio.create_task_group() as tasks:
                for listener in listeners:
                    tasks.start_soon(self._accept_all, listener, sessions)

    async def stop(self, limit: float) -> None:
        """Accept nothing more, and wait up to `limit` seconds for what was received."""
        self._accepting.cancel()
        for session in self._sessions:
            session.drain()
        with anyio.move_on_after(limit):
            while self._sessions:
                self._change = anyio.Event()
                await self._change.wait()

    async def _accept_all(self, listener: SocketListener, sessions: anyio.abc.TaskGroup) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except anyio.BrokenResourceError as error:
                    await _survive(error)
                    continue
                sessions.start_soon(self._keep, stream)

    async def _keep(self, stream: SocketStream) -> None:
        async with stream:
            try:
                if len(self._sessions) >= self._most:
                    await self._turn_away(stream)
                else:
                    await self._serve_one(stream)
            except Exception:
                # A fault in one connection is no reason to leave the others.
                log.exception("session failed")

    async def _serve_one(self, stream: SocketStream) -> None:
        roles = self.policy(credentials(stream.extra(SocketAttribute.raw_socket)))
        session = Session(stream, roles, self._settings)
        self._sessions.add(session)
        self._settings.traffic.connections += 1
        if self._accepting.cancel_called:
            # It came in at the same moment as the order to stop.
            session.drain()
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            self._settings.traffic.connections -= 1
            self._change.set()

    async def _turn_away(self, stream: SocketStream) -> None:
        """Tell a connection over the limit that it is, in the encoding that it speaks."""
        if self._refused >= MOST_REFUSED:
            return
        log.warning("connection refused", reason="too many", limit=self._most)
        self._refused += 1
        try:
            with anyio.move_on_after(REFUSED_SECONDS):
                await Session(stream, frozenset(Role), self._refusing).run()
        finally:
            self._refused -= 1


async def _refuse(*_: object) -> None:
    raise Unavailable("There are too many connections.", 5.0)


async def _survive(error: anyio.BrokenResourceError) -> None:
    """Wait a little after an error of accept(), which says nothing about the next one."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in _EXHAUSTED:
        log.warning("no file descriptor is left for a connection")
    else:
        log.error("accept failed", exc_info=error)
    await anyio.sleep(EXHAUSTED_SECONDS)
