"""What an agent calls after every task, and never notices.

    recorder = Recorder("scout")
    recorder.record_execution("order-17", "scout", "web_search", 1.8, True, cost_actual=0.002)

    with recorder.execution("order-17", "web_search") as run:
        answer = search("…")
        run.tokens = answer.tokens

A call leaves its record in memory and returns. One thread writes what has come to the spool
(`background.py`) every quarter of `flush_interval`; another one delivers from the spool to the
daemon, in order, for as long as it takes (`outbox.py`). Both begin with the first record, and what
they need is loaded by them: to import this module costs next to nothing.
"""

import atexit
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar
from weakref import WeakSet

from buddyd.client import forks
from buddyd.client.background import Background, Place, Statistics, Told
from buddyd.client.names import default_agent
from buddyd.client.runs import Run, recorded
from buddyd.paths import find_socket, spool_folder

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])

MOST_BYTES = 256 * 2**20
"""What the spool of a socket may take on disk unless it is told otherwise."""

_EXIT_SECONDS = 2.0


def _never_raises(
    method: Callable[Concatenate["Recorder", P], bool],
) -> Callable[Concatenate["Recorder", P], bool]:
    @wraps(method)
    def recording(self: "Recorder", /, *args: P.args, **kwargs: P.kwargs) -> bool:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # The agent's work is worth more than its record.
            self._background.refuse(f"{type(error).__name__}: {error}")
            return False

    return recording


class Recorder:
    """Records executions in the background; threads may share it, and it outlives forks.

    `agent_id` is whose executions `execution` and `tool` record (by default $BUDDYD_AGENT, else
    user@host). `socket` is found as `buddyctl` finds it. `spool` is the folder where records wait
    while the daemon is away (by default one in the user's state folder), and `most_bytes` bounds
    what all processes together keep there. A process that is killed loses nothing that it recorded
    more than `flush_interval` seconds before.

    What is wrong is said by the logger `buddyd.client`, once for each reason.
    """

    def __init__(
        self,
        agent_id: str | None = None,
        *,
        socket: str | Path | None = None,
        spool: str | Path | None = None,
        flush_interval: float = 0.2,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.agent_id = agent_id or default_agent()
        self.socket = find_socket(None if socket is None else str(socket))
        self.folder = spool_folder(self.socket) if spool is None else Path(spool)
        place = Place(self.socket, self.folder, most_bytes)
        self._background = Background(place, flush_interval / 4, _deliver_at_exit)
        forks.forget_in_children(self)
        _recorders.add(self)

    @_never_raises
    def record_execution(  # noqa: PLR0917 -- the arguments that agents know.
        self,
        task_id: str,
        agent_id: str,
        tool_name: str,
        duration_seconds: float,
        success: bool,  # noqa: FBT001 -- the same.
        cost_actual: float = 0.0,
        tokens_used: int = 0,
        human_effort_level: object = "MEDIUM",
        browser_used: bool = False,  # noqa: FBT001, FBT002 -- the same.
        *,
        cost_estimate: float = 0.0,
        error_type: str | None = None,
        finished_at: float | None = None,
        execution_id: str | None = None,
        durable: bool = False,
    ) -> bool:
        """Record one execution; returns at once, and never raises.

        `human_effort_level` is a string or a member of an enum, `finished_at` is in Unix seconds
        (by default now). With `durable` it returns when the record would survive the loss of
        power. False means that the record was not taken, or is not as durable as was asked.
        """
        told = Told(
            task_id,
            agent_id,
            tool_name,
            duration_seconds,
            success,
            cost_actual,
            tokens_used,
            human_effort_level,
            browser_used,
            cost_estimate,
            error_type,
            time.time() if finished_at is None else finished_at,
            execution_id,
        )
        return self._background.put_away(told) if durable else self._background.take(told)

    def execution(self, task_id: str, tool_name: str, *, agent_id: str | None = None) -> Run:
        """A block to be measured: `with recorder.execution("order-17", "web_search") as run`.

        The agent counts as busy while it lasts. What it raises goes on its way, and its class is
        the record's `error_type`.
        """
        return Run(
            task_id, agent_id or self.agent_id, tool_name, self._background.announce, self._ended
        )

    def tool(
        self,
        tool_name: str,
        *,
        task_id: str | Callable[..., str] | None = None,
        agent_id: str | None = None,
    ) -> Callable[[F], F]:
        """Record every call of a function, a coroutine function or a generator function.

        `task_id` may be worked out from the call's arguments by a function; without it, each call
        is a task of its own. A generator lasts until its end, or until it is closed.
        """

        def run(*args: object, **kwargs: object) -> Run:
            task = self._worked_out(task_id, args, kwargs) if callable(task_id) else task_id
            return self.execution(task or _task_of_its_own(), tool_name, agent_id=agent_id)

        return lambda function: recorded(function, run)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the daemon has all that was recorded; False where it has not in time."""
        return self._background.flush(timeout)

    def close(self, timeout: float = _EXIT_SECONDS) -> None:
        """Put everything away, deliver it for as long as the daemon takes it, and stop.

        What is not delivered then waits for the next recorder of this user. Recording again
        begins anew.
        """
        self._background.close(timeout)

    @property
    def statistics(self) -> Statistics:
        """What became of the records so far."""
        return self._background.statistics

    def forget(self) -> None:
        """In a child after a fork: what the parent recorded, the parent delivers."""
        self._background.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _worked_out(
        self,
        task_id: Callable[..., str],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> str | None:
        """The task of a call; None where the agent's own function for it fails."""
        try:
            return task_id(*args, **kwargs)
        except Exception as error:  # Without it the call would have gone well.
            self._background.complaints.say(f"The task of a call is not known: {error!r}")
            return None

    def _ended(self, run: Run) -> None:
        self.record_execution(
            run.task_id,
            run.agent_id,
            run.tool_name,
            run.duration_seconds,
            run.error_type is None,
            run.cost,
            run.tokens,
            run.human_effort_level,
            run.browser_used,
            cost_estimate=run.cost_estimate,
            error_type=run.error_type,
        )


# At the end of the process

_recorders: WeakSet[Recorder] = WeakSet()


def _close_all() -> None:
    for recorder in list(_recorders):
        recorder.close()


def _deliver_at_exit() -> None:
    # A child of multiprocessing ends without atexit, but not without this.
    if (util := sys.modules.get("multiprocessing.util")) is not None:
        util.Finalize(None, _close_all, exitpriority=100)


def _task_of_its_own() -> str:
    from buddyd.domain.execution import new_execution_id  # msgspec

    return new_execution_id()


atexit.register(_close_all)
