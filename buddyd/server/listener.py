"""The listener: the socket's file, the accept loop, and the connections there are."""

import errno
import fcntl
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import msgspec
import structlog

from buddyd.errors import AlreadyRunning, ConfigurationError, FatalError, Unavailable
from buddyd.protocol.messages import Role
from buddyd.server.connection import Connection
from buddyd.server.descriptors import SpareDescriptor, room_for
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
"""Connections over the limit that are told so side by side; further ones wait their turn."""
REFUSED_SECONDS = 2.0
"""How long one of them may take to say something, which tells its encoding."""
WATCH_SECONDS = 5.0
"""How often it is looked whether the socket's file is still there."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Policy = Callable[[Peer], Awaitable[frozenset[Role]]]


class SocketUnusable(FatalError):
    """The socket cannot be made."""

    exit_code = 74


@contextmanager
def listening_socket(
    path: Path, make_folder: Callable[[Path], None] = lambda _: None
) -> Iterator[socket.socket]:
    """A socket that listens at `path`, taking over what a dead daemon left there.

    `make_folder` makes the folder of a path where it is missing. Raises AlreadyRunning where a
    daemon is alive behind it, ConfigurationError for a path that cannot be one, SocketUnusable
    where the folder does not allow it.
    """
    if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
        raise ConfigurationError(
            f"The socket path {path} has {len(os.fsencode(path))} bytes; at most "
            f"{LONGEST_PATH_BYTES} are possible."
        )
    try:
        make_folder(path)
    except OSError as error:
        raise _unusable(path, error) from error
    with _sole_listener(path):
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made = _bind(listener, path)
            try:
                yield listener
            finally:
                # What somebody else has put there meanwhile is theirs.
                if _identity(path) == made:
                    path.unlink(missing_ok=True)
        finally:
            listener.close()


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


def _bind(listener: socket.socket, path: Path) -> tuple[int, int] | None:
    """Listen at `path`; returns which file that made."""
    before = os.umask(SOCKET_UMASK)
    try:
        listener.bind(str(path))
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return _identity(path)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at `path`; None where there is none, or it cannot be seen."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _unusable(path: Path, error: OSError) -> SocketUnusable:
    return SocketUnusable(f"The socket {path} cannot be made: {error.strerror}.")


class Server:
    """Accepts connections and keeps a session for each."""

    def __init__(self, settings: SessionSettings, policy: Policy, most_connections: int) -> None:
        self.policy = policy
        self._settings = settings
        self._most = most_connections
        self._sessions: set[Session] = set()
        # Connections of which it is not known yet what they may do.
        self._unknown = 0
        # Connections that were accepted and have not ended, those included that wait for a session.
        self._accepted = 0
        self._refused = 0
        self._accepting = anyio.CancelScope()
        self._change = anyio.Event()

    async def serve(self, sockets: Sequence[socket.socket], sessions: anyio.abc.TaskGroup) -> None:
        """Accept connections until `stop`; the sessions live in the group `sessions`."""
        self._most = room_for(self._most)
        with self._accepting:
            async with anyio.create_task_group() as tasks:
                for listener in sockets:
                    tasks.start_soon(self._accept_all, listener, sessions)
                    tasks.start_soon(_watch, listener)

    async def stop(self, limit: float) -> None:
        """Accept nothing more, and wait up to `limit` seconds for what was received."""
        self._accepting.cancel()
        for session in self._sessions:
            session.drain()
        with anyio.move_on_after(limit):
            # Nothing was received from those of whom it is not even known what they may do.
            while self._accepted > self._unknown:
                await self._changed()

    async def _accept_all(self, listener: socket.socket, sessions: anyio.abc.TaskGroup) -> None:
        listener.settimeout(0)
        spare = SpareDescriptor()
        try:
            while True:
                try:
                    connection = await _accept(listener)
                except OSError as error:
                    await self._survive(error, listener, spare)
                    continue
                self._accepted += 1
                sessions.start_soon(self._keep, connection)
                while self._refused >= MOST_REFUSED:
                    await self._changed()
        finally:
            spare.give_up()
            listener.close()

    async def _survive(
        self, error: OSError, listener: socket.socket, spare: SpareDescriptor
    ) -> None:
        """Outlive an error of accept(), which says nothing about the next one."""
        if error.errno not in _EXHAUSTED:
            log.error("accept failed", exc_info=error)
        else:
            log.warning("no file descriptor is left for a connection")
            if spare.give_up():
                await self._turn_away_next(listener)
                spare.take_back()
        await anyio.sleep(EXHAUSTED_SECONDS)

    async def _turn_away_next(self, listener: socket.socket) -> None:
        try:
            raw, _ = listener.accept()
        except OSError:
            # It has gone, or somebody else has taken the descriptor.
            return
        async with Connection(raw) as connection:
            await self._turn_away(connection, EXHAUSTED_SECONDS)

    async def _keep(self, connection: Connection) -> None:
        try:
            async with connection:
                if len(self._sessions) + self._unknown >= self._most:
                    log.warning("connection refused", reason="too many", limit=self._most)
                    await self._turn_away(connection, REFUSED_SECONDS)
                else:
                    await self._serve_one(connection)
        except Exception:
            # A fault in one connection is no reason to leave the others.
            log.exception("session failed")
        finally:
            self._accepted -= 1
            self._tell()

    async def _serve_one(self, connection: Connection) -> None:
        session = Session(connection, await self._roles(connection), self._settings)
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

    async def _roles(self, connection: Connection) -> frozenset[Role]:
        self._unknown += 1
        self._tell()
        try:
            return await self.policy(credentials(connection.raw))
        finally:
            self._unknown -= 1

    async def _turn_away(self, connection: Connection, patience: float) -> None:
        """Tell a connection that there are too many, in the encoding that it speaks."""

        async def refuse(*_: object) -> None:
            # What has come with this request is told the same; more is not listened to.
            session.drain()
            raise Unavailable("There are too many connections.", 5.0)

        settings = msgspec.structs.replace(self._settings, dispatch=refuse)
        session = Session(connection, frozenset(Role), settings)
        self._refused += 1
        try:
            if await connection.says_something(patience):
                with anyio.move_on_after(patience):
                    await session.run()
        finally:
            self._refused -= 1
            self._tell()

    async def _changed(self) -> None:
        """Wait until a connection has ended."""
        await self._change.wait()

    def _tell(self) -> None:
        change, self._change = self._change, anyio.Event()
        change.set()


async def _accept(listener: socket.socket) -> Connection:
    """The next connection; raises OSError."""
    await anyio.lowlevel.checkpoint()
    while True:
        try:
            raw, _ = listener.accept()
        except BlockingIOError:
            await anyio.wait_readable(listener)
        else:
            return Connection(raw)


async def _watch(listener: socket.socket) -> None:
    """Say it when the socket's file has gone: no new client finds the daemon then."""
    name = os.fsdecode(listener.getsockname())
    if not name or name.startswith("\0"):
        # It has no file.
        return
    path = Path(name)
    made = known = _identity(path)
    while True:
        await anyio.sleep(WATCH_SECONDS)
        known, before = _identity(path), known
        if known not in (made, before):
            advice = "new clients cannot reach this daemon; restart it"
            found = "nothing" if known is None else "another file"
            log.error("the socket's file is gone", path=str(path), found=found, advice=advice)
        elif known == made and known != before:
            log.info("the socket's file is back", path=str(path))
