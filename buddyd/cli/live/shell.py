"""Runs the live screen: keys, time, the window and the daemon on one side, frames on the other."""

import os
import signal
import sys

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from buddyd.cli.live.keys import Keys
from buddyd.cli.live.picture import picture
from buddyd.cli.live.screen import Screen
from buddyd.cli.live.state import (
    FEWEST_EXECUTIONS,
    Answered,
    Event,
    Focus,
    Key,
    Lost,
    Resized,
    State,
    Ticked,
    Told,
    update,
)
from buddyd.client import AsyncClient
from buddyd.client.async_events import AsyncEvents
from buddyd.errors import BuddydError

TICK_SECONDS = 1.0
ESCAPE_SECONDS = 0.05
"""How long the rest of a key may take; what is alone for longer is the escape key."""
RETRY_SECONDS = 1.0
REFRESH_SECONDS = 1.0
"""The least time between two questions to the daemon..."""
REFRESH_FACTOR = 20.0
"""... and how many times longer than its answer took, so that it is busy with others."""


async def run(client: AsyncClient, state: State, *, color: bool) -> int:
    """Show the live screen until it is quit; the signal that ended it, or 0."""
    send, receive = anyio.create_memory_object_stream[Event](1000)
    with send, receive, Screen(color=color) as screen:
        async with client, anyio.create_task_group() as tasks:
            link = _Link(client, send)
            shell = _Shell(screen, link, state)
            tasks.start_soon(_read_keys, send)
            tasks.start_soon(_tick, send)
            tasks.start_soon(link.run)
            tasks.start_soon(shell.obey_signals, send, tasks)
            await shell.show(receive)
            tasks.cancel_scope.cancel()
    return shell.ended_by


class _Shell:
    """Keeps the state, and draws it."""

    def __init__(self, screen: Screen, link: "_Link", state: State) -> None:
        self.ended_by = 0
        self._screen = screen
        self._link = link
        columns, rows = screen.size
        self._state = update(state, Resized(columns, rows))

    async def show(self, events: MemoryObjectReceiveStream[Event]) -> None:
        """Draw after every event, or after several that came together."""
        self._draw()
        async for event in events:
            self._state = update(self._state, event)
            if self._state.ended:
                return
            self._link.look_into(self._state.focus, self._state.rows)
            if not events.statistics().current_buffer_used:
                self._draw()

    def _draw(self) -> None:
        self._screen.show(picture(self._state))

    async def obey_signals(self, send: MemoryObjectSendStream[Event], tasks: TaskGroup) -> None:
        """The window changes, or somebody wants this to end or to rest."""
        ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        with anyio.open_signal_receiver(signal.SIGWINCH, signal.SIGTSTP, *ending) as signals:
            async for number in signals:
                if number in ending:
                    self.ended_by = number
                    tasks.cancel_scope.cancel()
                    return
                if number == signal.SIGTSTP:
                    self._rest()
                self._screen.forget()
                columns, rows = self._screen.size
                await send.send(Resized(columns, rows))

    def _rest(self) -> None:
        """Give the terminal back for as long as the job is stopped."""
        self._screen.__exit__(None, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._screen.__enter__()


class _Link:
    """What the daemon says: it is asked when it has told that something changed."""

    def __init__(self, client: AsyncClient, send: MemoryObjectSendStream[Event]) -> None:
        self._client = client
        self._send = send
        self._wanted: tuple[Focus | None, int] = (None, 0)
        self._news = anyio.Event()
        self._focus_news = anyio.Event()

    def look_into(self, focus: Focus | None, rows: int) -> None:
        """Ask for its last executions too, from now on."""
        wanted = (focus, max(FEWEST_EXECUTIONS, rows))
        if wanted != self._wanted:
            self._wanted = wanted
            self._focus_news.set()

    async def run(self) -> None:
        """Ask whenever it is worth it; where there is no daemon, wait for one."""
        while True:
            try:
                await self._watch()
            except* BuddydError as errors:
                await self._send.send(Lost(_first(errors)))
            await anyio.sleep(RETRY_SECONDS)

    async def _watch(self) -> None:
        async with (
            await self._client.subscribe("changed") as events,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._hear, events)
            tasks.start_soon(self._follow_focus)
            tasks.start_soon(self._keep_up)

    async def _hear(self, events: AsyncEvents) -> None:
        async for _ in events:
            self._news.set()

    async def _keep_up(self) -> None:
        while True:
            self._news = anyio.Event()
            asked = anyio.current_time()
            answers = await self._client.get_all()
            answered = anyio.current_time()
            await self._send.send(Answered(answers, answered))
            await self._ask_for_focus()
            await anyio.sleep(max(REFRESH_SECONDS, REFRESH_FACTOR * (answered - asked)))
            await self._news.wait()

    async def _follow_focus(self) -> None:
        while True:
            await self._focus_news.wait()
            self._focus_news = anyio.Event()
            await self._ask_for_focus()

    async def _ask_for_focus(self) -> None:
        focus, limit = self._wanted
        if focus is None:
            return
        by_agent = focus.kind == "agent"
        page = await self._client.get_executions(
            limit=limit,
            agent_id=focus.name if by_agent else None,
            tool_name=None if by_agent else focus.name,
        )
        await self._send.send(Told(focus, page.executions))


async def _read_keys(send: MemoryObjectSendStream[Event]) -> None:
    keys, descriptor = Keys(), sys.stdin.fileno()
    while True:
        with anyio.move_on_after(ESCAPE_SECONDS if keys.waiting else None):
            await anyio.wait_readable(descriptor)
            data = os.read(descriptor, 4096)
            if not data:
                # The terminal has gone.
                await send.send(Key("q"))
                return
            for key in keys.feed(data):
                await send.send(Key(key))
            continue
        for key in keys.flush():
            await send.send(Key(key))


async def _tick(send: MemoryObjectSendStream[Event]) -> None:
    while True:
        await send.send(Ticked(anyio.current_time()))
        await anyio.sleep(TICK_SECONDS)


def _first(errors: BaseExceptionGroup[BuddydError]) -> str:
    """The sentence of the first error in a group."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return str(first)
