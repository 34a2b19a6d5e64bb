"""What goes out on a connection: the answers, and notifications for which there is room."""

from collections.abc import Callable, Sized

import anyio

from buddyd.protocol.framing import Encoding
from buddyd.server.connection import Connection
from buddyd.server.outlet import Outlet

WRITE_BYTES = 65_536
WRITE_SECONDS = 30.0
"""How long a client may go without reading."""


class Unsent:
    """What waits on all connections together for their clients to read it."""

    def __init__(self, most: int) -> None:
        self.most = most
        """Bytes; with more than this, memory is for those who read."""
        self.bytes = 0

    def has_room(self, more: int = 0) -> bool:
        """Whether `more` bytes may wait as well."""
        return self.bytes + more <= self.most


class Sender:
    """Sends what it is given, in order. While something is in `due`, further answers are.

    `on_room` is called when something has left, and there may be room for more.
    """

    def __init__(
        self, stream: Connection, due: Sized, on_room: Callable[[], None], in_all: Unsent
    ) -> None:
        self.unsent_bytes = 0
        """What waits for the client to read it; part of what does so `in_all`."""
        self._in_all = in_all
        self._stream = stream
        self._due = due
        self._on_room = on_room
        self._unsent: list[bytes] = []
        # Those of the unsent bytes that are answers.
        self._owed_bytes = 0
        self._outlet: Outlet | None = None
        self._news = anyio.Event()
        self._writing = anyio.CancelScope()
        self._is_flushing = False
        self._is_finishing = False
        self._is_closed = False

    @property
    def owes_nothing(self) -> bool:
        """Whether every answer has left, and none is due."""
        return not self._owed_bytes and not self._due

    async def run(self) -> None:
        """Send until it is finished, and everything has left.

        Raises BrokenResourceError where the client has gone, TimeoutError where it does not read.
        """
        with self._writing:
            while self._unsent or self._due or not self._is_finishing:
                if self._unsent:
                    await self._flush()
                else:
                    await self._wait_for_news()

    def send(self, answer: bytes) -> None:
        """Send an answer, unless the connection has ended."""
        if self._is_closed:
            return
        self._unsent.append(answer)
        self._count(len(answer))
        self._owed_bytes += len(answer)
        # With the last answer that is due, all goes out at once, and nobody has to be woken.
        if self._due or self._is_flushing:
            self._news.set()
        else:
            self._send_now()

    def outlet(self, encoding: Encoding) -> Outlet:
        """The place for what the client is told without having asked."""
        if self._outlet is None:
            self._outlet = Outlet(encoding, lambda: self.unsent_bytes, self._notify)
        return self._outlet

    def end_outlet(self) -> None:
        """Notify the client of nothing more."""
        if self._outlet is not None:
            self._outlet.end()

    def finish(self) -> None:
        """No request comes any more: what is due is the last that is sent."""
        self._is_finishing = True
        self.end_outlet()
        self._news.set()

    def fewer_come(self) -> None:
        """A request that wants no answer has ended, which may have been the last one."""
        if self._is_finishing:
            self._news.set()

    def cut_off(self) -> None:
        """Send nothing more, whatever waits."""
        self._writing.cancel()

    def close(self) -> None:
        """The connection has ended: what still waits goes with it, and what still comes."""
        self._is_closed = True
        self.end_outlet()
        self._unsent.clear()
        self._count(-self.unsent_bytes)

    def _count(self, change: int) -> None:
        self.unsent_bytes += change
        self._in_all.bytes += change

    def _notify(self, notification: bytes) -> None:
        self._unsent.append(notification)
        self._count(len(notification))
        self._news.set()

    def _send_now(self) -> None:
        data = b"".join(self._unsent)
        rest = data[self._stream.send_now(data) :]
        self._unsent = [rest] if rest else []
        self._count(len(rest) - self.unsent_bytes)
        self._owed_bytes = len(rest)
        if rest or self._is_finishing:
            self._news.set()
        if not rest:
            self._sent_all()

    async def _wait_for_news(self) -> None:
        self._news = anyio.Event()
        await self._news.wait()

    async def _flush(self) -> None:
        data, self._unsent = b"".join(self._unsent), []
        owed = self._owed_bytes
        self._is_flushing = True
        for begin in range(0, len(data), WRITE_BYTES):
            with anyio.fail_after(WRITE_SECONDS):
                await self._stream.send(data[begin : begin + WRITE_BYTES])
        self._is_flushing = False
        self._count(-len(data))
        self._owed_bytes -= owed
        self._sent_all()

    def _sent_all(self) -> None:
        self._on_room()
        if self._outlet is not None:
            self._outlet.emptied()
