"""A subscription of the asynchronous client: an iterator over a connection of its own."""

from collections import deque
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import ByteStream

from buddyd.client.listener import CHUNK_BYTES, Listener
from buddyd.domain.answers import Subscribed
from buddyd.protocol.notifications import Event


class AsyncEvents:
    """`Events`, to be awaited."""

    subscribed: Subscribed

    def __init__(self, stream: ByteStream, listener: Listener) -> None:
        self._stream = stream
        self._listener = listener
        self._heard: deque[Event] = deque()

    async def begin(self) -> None:
        """Subscribe, and hear the daemon's answer."""
        await self._stream.send(self._listener.request)
        while (subscribed := self._listener.subscribed) is None:
            await self._hear()
        self.subscribed = subscribed

    async def aclose(self) -> None:
        """End the subscription, and its connection."""
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._heard:
            await self._hear()
        return self._heard.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _hear(self) -> None:
        try:
            data = await self._stream.receive(CHUNK_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            data = b""
        self._heard += self._listener.hear(data)
