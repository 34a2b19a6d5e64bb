"""The asynchronous client, on anyio."""

import os
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.abc import ByteStream, TaskGroup

from buddyd.client import calls, core
from buddyd.client.async_events import AsyncEvents
from buddyd.client.calls import Call
from buddyd.client.errors import ConnectionLost, NotRunning, TimedOut, unreachable
from buddyd.client.listener import Listener
from buddyd.client.methods import DEFAULT_TIMEOUT, AwaitableMethods
from buddyd.domain.answers import Answer, EventName
from buddyd.errors import Unavailable
from buddyd.paths import find_socket
from buddyd.protocol.framing import IncomingResponse

R = TypeVar("R", bound=Answer)


class AsyncClient(AwaitableMethods):
    """Asks the daemon; many tasks may call at once, over one connection.

    It is used as `async with AsyncClient() as client`, and behaves as `Client` does: it connects
    with the first call, and every call ends within `timeout` seconds with its answer or with
    DaemonError, Unavailable or Unreachable. A child of a fork opens a client of its own: tasks do
    not survive the fork.
    """

    def __init__(
        self, socket: str | Path | None = None, *, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.socket = find_socket(None if socket is None else str(socket))
        self.timeout = timeout
        self._known = False
        self._connecting = anyio.Lock()
        self._link: _Link | None = None
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup | None = None
        self._process = 0

    async def call(self, call: Call[R], *, within: float | None = None) -> R:
        """The answer to `call`."""
        return core.typed(self.socket, call, await self._response(call, within))

    async def call_plain(
        self, call: Call[Answer], *, within: float | None = None
    ) -> dict[str, Any]:
        """The answer to `call` as it came, with members that this version does not know."""
        return core.plain(self.socket, call, await self._response(call, within))

    async def subscribe(
        self,
        *events: EventName,
        agent_id: str | None = None,
        tool_name: str | None = None,
        task_id: str | None = None,
        success: bool | None = None,
    ) -> AsyncEvents:
        """Be told of `events`; like that of `Client`, for `async for`.

        It is closed by its `aclose`, which leaving `async with` does.
        """
        call = calls.subscribe(
            *events, agent_id=agent_id, tool_name=tool_name, task_id=task_id, success=success
        )
        with anyio.move_on_after(self.timeout):
            heard = AsyncEvents(await _connect(self.socket), Listener(self.socket, call))
            try:
                await heard.begin()
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await heard.aclose()
                raise
            return heard
        raise TimedOut(self.socket, self.timeout)

    async def __aenter__(self) -> Self:
        self._process = os.getpid()
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
        self._tasks = self._link = None
        # The caller's own error is not handed on to the task group, which would wrap it.
        await self._stack.aclose()

    async def _response(self, call: Call[Answer], within: float | None) -> IncomingResponse:
        seconds = self.timeout if within is None else within
        with anyio.move_on_after(seconds) as limit:
            attempts = core.Attempts(call, limit.deadline, known=self._known)
            while True:
                try:
                    return core.accepted(await (await self._connected()).exchange(call))
                except (Unavailable, ConnectionLost, NotRunning) as error:
                    await anyio.sleep(attempts.pause(error, anyio.current_time()))
        raise TimedOut(self.socket, seconds)

    async def _connected(self) -> "_Link":
        async with self._connecting:
            if self._tasks is None or self._process != os.getpid():
                raise RuntimeError(
                    "Use it as `async with AsyncClient() as client`, in this very process."
                )
            if self._link is None or self._link.ended:
                # A daemon that is not there any more is waited for once, not in every call.
                self._known = False
                self._link = _Link(self.socket, await _connect(self.socket))
                self._known = True
                self._tasks.start_soon(self._link.listen)
            return self._link


class _Waiter:
    """One request's place in the queue of answers; `response` stays None if it was lost."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.response: IncomingResponse | None = None

    def settle(self, response: IncomingResponse | None) -> None:
        self.response = response
        self.done.set()


class _Link:
    """One connection: any number of tasks ask, one listens for them all."""

    def __init__(self, socket: Path, stream: ByteStream) -> None:
        self.ended = False
        self._socket = socket
        self._stream = stream
        self._dialogue = core.Dialogue(socket)
        self._writing = anyio.Lock()
        self._waiters: dict[int, _Waiter] = {}
        self._problem: str | None = None

    async def exchange(self, call: Call[Answer]) -> IncomingResponse:
        number, frame = self._dialogue.ask(call)
        waiter = self._waiters[number] = _Waiter()
        try:
            sent = await self._send(frame)
            await waiter.done.wait()
        finally:
            del self._waiters[number]
            self._dialogue.abandon(number)
        if waiter.response is None:
            raise ConnectionLost(self._socket, self._problem, sent=sent)
        return waiter.response

    async def listen(self) -> None:
        """Hand out answers until the connection ends; what is open then is lost."""
        try:
            async with self._stream:
                async for data in self._stream:
                    self._hand_out(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        except ConnectionLost as garbled:
            self._problem = str(garbled)
        finally:
            self.ended = True
            for waiter in self._waiters.values():
                waiter.done.set()

    def _hand_out(self, data: bytes) -> None:
        for number, response in self._dialogue.hear(data):
            self._waiters[number].settle(response)

    async def _send(self, frame: bytes) -> bool:
        """Whether all was sent. Where it was not, the daemon may have said why before it left."""
        async with self._writing:
            if self.ended:
                return False
            try:
                await self._stream.send(frame)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return False
            except anyio.get_cancelled_exc_class():
                # Half a frame may be out: nothing that followed it could be read.
                with anyio.CancelScope(shield=True):
                    await self._stream.aclose()
                raise
            return True


async def _connect(socket: Path) -> ByteStream:
    try:
        return await anyio.connect_unix(str(socket))
    except OSError as error:
        raise unreachable(socket, error) from None
