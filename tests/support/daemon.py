"""A whole daemon in this process: a real socket, a real database, and the clock of the test."""

import itertools
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Struct

from buddyd import daemon
from buddyd.config import Settings
from buddyd.domain.execution import Execution
from buddyd.protocol.framing import HEADER_BYTES, Encoding, frame
from buddyd.protocol.messages import Request

READY_SECONDS = 20.0
ANSWER_SECONDS = 20.0
MOST_BYTES = 64 * 2**20


class Running(Struct, frozen=True):
    """A daemon that answers."""

    socket: Path
    database: Path


@asynccontextmanager
async def running_daemon(
    folder: Path, settings: Settings | None = None, clock: Callable[[], float] | None = None
) -> AsyncIterator[Running]:
    """A daemon whose database is in `folder`; afterwards it has stopped by itself.

    By default it keeps UTC, and the time of the host.
    """
    stop, ready = anyio.Event(), anyio.Event()
    # The path of a socket has room for 107 bytes, which a test's own folder may exceed.
    sockets = Path(tempfile.mkdtemp(prefix="buddyd-"))
    place = Running(sockets / "s", folder / "analytics.db")
    options = daemon.Options(socket_path=place.socket, database=place.database)
    if clock is not None:
        options = msgspec.structs.replace(options, clock=clock)
    settings = settings or Settings(timezone="UTC")
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(daemon.run, settings, options, stop=stop, ready=ready))
            with anyio.fail_after(READY_SECONDS):
                await ready.wait()
            try:
                yield place
            finally:
                stop.set()
    finally:
        shutil.rmtree(sockets)


def copy_as_it_is(database: Path, folder: Path) -> None:
    """What a daemon that is killed now would leave in `folder`: its database files as they are.

    Another process copies them, for closing a file of the database in this one would drop the
    daemon's locks; and nothing is written meanwhile, as nothing is after a kill.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        files = [file for file in (database, Path(f"{database}-wal")) if file.exists()]
        subprocess.run(["cp", *files, folder], check=True)
        connection.execute("ROLLBACK")


class Refused(Exception):
    """The daemon answered with an error, which is `error`."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


class RawClient:
    """A client that knows nothing but the two encodings: what a stranger would write."""

    def __init__(self, encoding: Encoding, stream: ByteStream) -> None:
        self.encoding = encoding
        self._stream = stream
        self._incoming = BufferedByteReceiveStream(stream)
        self._ids = itertools.count(1)

    async def ask(self, method: str, params: Request | Execution | dict[str, Any]) -> Any:  # noqa: ANN401 - as it comes
        """The result of a method, as plain data; raises Refused."""
        number = next(self._ids)
        encode = msgspec.json.encode if self.encoding is Encoding.JSON else msgspec.msgpack.encode
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        with anyio.fail_after(ANSWER_SECONDS):
            await self._stream.send(frame(self.encoding, encode(request)))
            answer = await self._receive()
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == number
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    async def _receive(self) -> dict[str, Any]:
        if self.encoding is Encoding.JSON:
            line = await self._incoming.receive_until(b"\n", MOST_BYTES)
            json: dict[str, Any] = msgspec.json.decode(line)
            return json
        length = int.from_bytes(await self._incoming.receive_exactly(HEADER_BYTES))
        answer: dict[str, Any] = msgspec.msgpack.decode(
            await self._incoming.receive_exactly(length)
        )
        return answer


@asynccontextmanager
async def raw_client(
    socket: str | os.PathLike[str], encoding: Encoding = Encoding.JSON
) -> AsyncIterator[RawClient]:
    """A connection of its own."""
    async with await anyio.connect_unix(socket) as stream:
        yield RawClient(encoding, stream)
