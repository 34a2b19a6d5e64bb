"""A connected Unix socket, whose reads and writes can be cancelled at any moment.

It stays with the selector from one read to the next: to sign in and out for each of them costs more
than the reads. And where bytes, or the end, come in the very turn of the loop in which a read is
cancelled, nobody is told: anyio's own stream has asyncio log an InvalidStateError then.
"""

import asyncio
import select
import socket
from typing import NoReturn

import anyio
import anyio.abc
import anyio.lowlevel

MOST_IN_VAIN = 10
"""Turns of the loop in which there may be something to read that nobody reads."""


class Connection(anyio.abc.ByteStream):
    """The near end; `raw` does not block."""

    def __init__(self, raw: socket.socket) -> None:
        raw.settimeout(0)
        self.raw = raw
        self._watched = False
        self._waiter: asyncio.Future[None] | None = None
        self._in_vain = 0

    async def says_something(self, within: float) -> bool:
        """Whether there is something to receive, be it the end, within so many seconds."""
        with anyio.move_on_after(within):
            await self._until_readable()
        # Where this process stood still meanwhile, the time is over before the bytes are seen.
        poll = select.poll()
        poll.register(self.raw, select.POLLIN)
        return bool(poll.poll(0))

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """What has come, at least a byte; raises EndOfStream, BrokenResourceError."""
        # Others have their turn, also where there is always something.
        await asyncio.sleep(0)
        while True:
            try:
                data = self.raw.recv(max_bytes)
            except BlockingIOError:
                await self._until_readable()
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

    def send_now(self, item: bytes) -> int:
        """Send as much of `item` as the socket takes at once; returns how many bytes.

        That is 0 where the other end has gone, too: `send` is told of that.
        """
        try:
            return self.raw.send(item)
        except OSError:
            return 0

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        self.raw.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Hang up; who waits on it is told."""
        if self.raw.fileno() >= 0:
            self._unwatch()
            self._wake()
            anyio.notify_closing(self.raw)
            self.raw.close()
        await anyio.lowlevel.checkpoint()

    async def _until_readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        if not self._watched:
            loop.add_reader(self.raw.fileno(), self._wake)
            self._watched, self._in_vain = True, 0
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is None:
            # Nobody wants to know now; the selector tells in every turn, until somebody reads.
            self._in_vain += 1
            if self._in_vain == MOST_IN_VAIN:
                self._unwatch()
        elif not self._waiter.done():
            self._in_vain = 0
            self._waiter.set_result(None)

    def _unwatch(self) -> None:
        if self._watched:
            asyncio.get_running_loop().remove_reader(self.raw.fileno())
            self._watched = False

    def _fail(self, error: OSError) -> NoReturn:
        if self.raw.fileno() < 0:
            raise anyio.ClosedResourceError from None
        raise anyio.BrokenResourceError from error
