"""A client's end of a connection, byte by byte, and a dispatch that follows a script."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import msgspec
from anyio.abc import SocketStream, UNIXSocketStream

from buddyd.domain.answers import Pong
from buddyd.domain.execution import Execution
from buddyd.protocol.framing import Encoding, Framer, frame
from buddyd.protocol.messages import Request, Role
from buddyd.runtime.channels import Deliver
from buddyd.server.connection import Connection
from buddyd.server.outlet import Outlet
from buddyd.server.places import Places
from buddyd.server.sender import Unsent
from buddyd.server.session import (
    MOST_LARGE,
    MOST_UNSENT_IN_ALL,
    Session,
    SessionSettings,
    Traffic,
)

PONG = Pong(version="1", protocol=1, uptime_seconds=1.0)
LIMIT = 4096
PATIENCE_SECONDS = 10.0


class Script:
    """Takes requests on as it is told to; `asked` are those that came."""

    def __init__(self, outcome: object = PONG) -> None:
        self.outcome = outcome
        """What is delivered at once; None: nothing is, until `deliver`."""
        self.raises: Exception | None = None
        self.asked: list[Request | Execution] = []
        self.delivers: list[Deliver] = []
        self.waits = False
        """Whether requests are never taken on."""
        self.outlet: Outlet | None = None
        """Of the last one that came."""

    async def __call__(
        self, request: Request | Execution, deliver: Deliver, outlet: Outlet
    ) -> None:
        self.asked.append(request)
        self.outlet = outlet
        if self.raises is not None:
            raise self.raises
        if self.waits:
            await anyio.sleep_forever()
        self.delivers.append(deliver)
        if self.outcome is not None:
            deliver(self.outcome)


class Conversation:
    """What a client says and hears."""

    def __init__(self, stream: SocketStream, encoding: Encoding = Encoding.JSON) -> None:
        self.stream = stream
        self.encoding = encoding
        self._framer = Framer(2**30, encoding)
        self._heard: list[Any] = []

    def encoded(self, *requests: object) -> bytes:
        json = self.encoding is Encoding.JSON
        encode = msgspec.json.encode if json else msgspec.msgpack.encode
        return b"".join(frame(self.encoding, encode(request)) for request in requests)

    async def say(self, *requests: object) -> None:
        """Send requests in one go."""
        await self.stream.send(self.encoded(*requests))

    async def hear(self) -> Any:  # noqa: ANN401 - whatever the daemon said
        """The next answer."""
        decode = msgspec.json.decode if self.encoding is Encoding.JSON else msgspec.msgpack.decode
        with anyio.fail_after(PATIENCE_SECONDS):
            while not self._heard:
                data = await self.stream.receive()
                self._heard += [decode(message) for message in self._framer.feed(data)]
        return self._heard.pop(0)

    async def rest(self) -> list[Any]:
        """Every answer up to the end of the connection."""
        found = []
        try:
            while True:
                found.append(await self.hear())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return found


async def pair() -> tuple[SocketStream, Connection]:
    """The two ends of a connection, the client's first."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return await UNIXSocketStream.from_socket(left), Connection(right)


@asynccontextmanager
async def session(
    script: Script,
    *,
    encoding: Encoding = Encoding.JSON,
    roles: frozenset[Role] = frozenset(Role),
    traffic: Traffic | None = None,
    large: Places | None = None,
    unsent: Unsent | None = None,
) -> AsyncIterator[tuple[Conversation, Session]]:
    """A session and its client; afterwards the client hangs up, and the session has ended."""
    near, far = await pair()
    places = large or Places(MOST_LARGE)
    waiting = unsent or Unsent(MOST_UNSENT_IN_ALL)
    settings = SessionSettings(script, LIMIT, traffic or Traffic(), places, waiting)
    served = Session(far, roles, settings)

    async def serve() -> None:
        async with far:
            await served.run()

    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            async with near:
                yield Conversation(near, encoding), served
            for deliver in script.delivers:
                deliver(PONG)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks bring about."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - it is nobody's business to tell tests
            await anyio.sleep(0.001)
