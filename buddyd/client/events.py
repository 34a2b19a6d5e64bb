"""A subscription of the blocking client: an iterator over a connection of its own."""

import socket as sockets
from collections import deque
from types import TracebackType
from typing import Self

from buddyd.client.listener import CHUNK_BYTES, Listener
from buddyd.domain.answers import Subscribed
from buddyd.protocol.notifications import Event


class Events:
    """What the daemon tells, as it happens: ExecutionCommitted, Changed, and Missed.

    `subscribed` has the number of the last commit before the first one that is told. Waiting for
    the next event has no time limit. ConnectionLost is raised when the daemon hangs up, as it does
    when it stops, and when nothing was read for 30 s while there was something to read.
    """

    subscribed: Subscribed

    def __init__(self, connection: sockets.socket, listener: Listener) -> None:
        """`connection` may have a time limit, which holds until the daemon has subscribed."""
        self._connection = connection
        self._listener = listener
        self._heard: deque[Event] = deque()
        try:
            self._begin()
        except BaseException:
            connection.close()
            raise

    @property
    def ready(self) -> bool:
        """Whether the next event has come already."""
        return bool(self._heard)

    def fileno(self) -> int:
        """The connection's descriptor: where it is readable, more may have come."""
        return self._connection.fileno()

    def close(self) -> None:
        """End the subscription, and its connection."""
        self._connection.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._heard:
            self._hear()
        return self._heard.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self) -> None:
        self._connection.sendall(self._listener.request)
        while (subscribed := self._listener.subscribed) is None:
            self._hear()
        self.subscribed = subscribed
        self._connection.settimeout(None)

    def _hear(self) -> None:
        try:
            data = self._connection.recv(CHUNK_BYTES)
        except ConnectionError:
            data = b""
        self._heard += self._listener.hear(data)
