"""A connected Unix socket, whose reads and writes can be cancelled at any moment.

anyio's own stream sets the future of a read from the selector: where bytes, or the end, come in the
very turn of the loop in which the read is cancelled, asyncio logs an InvalidStateError that says
nothing to anybody. `anyio.wait_readable` knows of that case, and all waiting here goes through it.
"""

import select
import socket
from typing import NoReturn

import anyio
import anyio.abc
import anyio.lowlevel


class Connection(anyio.abc.ByteStream):
    """The near end; `raw` does not block."""

    def __init__(self, raw: socket.socket) -> None:
        raw.settimeout(0)
        self.raw = raw

    async def says_something(self, within: float) -> bool:
        """Whether there is something to receive, be it the end, within so many seconds."""
        with anyio.move_on_after(within):
            await anyio.wait_readable(self.raw)
        # Where this process stood still meanwhile, the time is over before the bytes are seen.
        poll = select.poll()
        poll.register(self.raw, select.POLLIN)
        return bool(poll.poll(0))

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """What has come, at least a byte; raises EndOfStream, BrokenResourceError."""
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                data = self.raw.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self.raw)
            except OSError as error:
                self._fail(error)
            else:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        """Send all of `item`; raises BrokenResourceError."""
        await anyio.lowlevel.checkpoint()
        rest = memoryview(item)
        while rest:
            try:
                rest = rest[self.raw.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self.raw)
            except OSError as error:
                self._fail(error)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        self.raw.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Hang up; who waits on it is told."""
        if self.raw.fileno() >= 0:
            anyio.notify_closing(self.raw)
            self.raw.close()
        await anyio.lowlevel.checkpoint()

    def _fail(self, error: OSError) -> NoReturn:
        if self.raw.fileno() < 0:
            raise anyio.ClosedResourceError from None
        raise anyio.BrokenResourceError from error
