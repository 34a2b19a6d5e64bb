"""Work in a thread that may hang for good, as asking a user database may: no end waits for it."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T]) -> asyncio.Future[T]:
    """Do `work` in a thread of its own. Who waits for it may be cancelled, and it goes on alone."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            tell = partial(future.set_result, work())
        except Exception as error:
            tell = partial(future.set_exception, error)
        # Where the loop has ended, nobody is left to be told.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_unless_done, future, tell)

    threading.Thread(target=run, name="in the background", daemon=True).start()
    return future


def _unless_done(future: asyncio.Future[T], tell: Callable[[], None]) -> None:
    if not future.done():
        tell()
