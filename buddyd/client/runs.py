"""One execution while it lasts: a block, or the call of a function."""

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from functools import wraps
from types import TracebackType
from typing import Any, Self, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])


class Run:
    """What a `with` block of `Recorder.execution` may tell about itself while it runs."""

    def __init__(
        self,
        task_id: str,
        agent_id: str,
        tool_name: str,
        begun: Callable[["Run"], None],
        ended: Callable[["Run"], None],
    ) -> None:
        self.task_id = task_id
        self.agent_id = agent_id
        self.tool_name = tool_name
        self.cost = 0.0
        """What it cost, in dollars."""
        self.cost_estimate = 0.0
        """What it should cost, in dollars."""
        self.tokens = 0
        self.human_effort_level: object = "MEDIUM"
        """`LOW`, `MEDIUM` or `HIGH`, as a string or an enum."""
        self.browser_used = False
        self.error_type: str | None = None
        """A class of failures; where it is set, the run has failed."""
        self.started_at = 0.0
        """Unix seconds."""
        self.duration_seconds = 0.0
        """How long it took; known at its end."""
        self.ended = False
        self._clock = 0.0
        self._tell_begun = begun
        self._tell_ended = ended

    def __enter__(self) -> Self:
        self.started_at = time.time()
        self._clock = time.perf_counter()
        self._tell_begun(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.duration_seconds = time.perf_counter() - self._clock
        # To close a generator before its end is no failure of it.
        if kind is not None and not issubclass(kind, GeneratorExit) and self.error_type is None:
            self.error_type = kind.__name__
        self.ended = True
        self._tell_ended(self)


def recorded(function: F, run: Callable[..., Run]) -> F:
    """`function` with every call of it inside a run, which `run` makes from its arguments."""
    import inspect  # for those who decorate; it takes as long as all the rest.

    if inspect.isasyncgenfunction(function):
        return cast("F", _async_generator(function, run))
    if inspect.iscoroutinefunction(function):
        return cast("F", _coroutine(function, run))
    if inspect.isgeneratorfunction(function):
        return cast("F", _generator(function, run))

    @wraps(function)
    def called(*args: object, **kwargs: object) -> object:
        with run(*args, **kwargs):
            return function(*args, **kwargs)

    return cast("F", called)


def _coroutine(function: Callable[..., Any], run: Callable[..., Run]) -> Callable[..., Any]:
    @wraps(function)
    async def called(*args: object, **kwargs: object) -> object:
        with run(*args, **kwargs):
            return await function(*args, **kwargs)

    return called


def _generator(function: Callable[..., Any], run: Callable[..., Run]) -> Callable[..., Any]:
    @wraps(function)
    def called(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        with run(*args, **kwargs):
            return (yield from function(*args, **kwargs))

    return called


def _async_generator(function: Callable[..., Any], run: Callable[..., Run]) -> Callable[..., Any]:
    @wraps(function)
    async def called(*args: object, **kwargs: object) -> AsyncGenerator[Any, None]:
        with run(*args, **kwargs):
            # What a caller sends into it does not get through; few async generators listen.
            async with aclosing(function(*args, **kwargs)) as items:
                async for item in items:
                    yield item

    return called
