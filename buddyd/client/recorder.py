"""What an agent calls after every task, and never notices.

    recorder = Recorder("scout")
    recorder.record_execution("order-17", "scout", "web_search", 1.8, True, cost_actual=0.002)

    with recorder.execution("order-17", "web_search") as run:
        answer = search("…")
        run.tokens = answer.tokens

A call leaves its record in memory and returns. One thread writes what has come to the spool
(`spool.py`) every quarter of `flush_interval`; another one delivers from the spool to the daemon,
in order, for as long as it takes (`outbox.py`). Both begin with the first record, and what they
need is loaded by them: to import this module costs next to nothing.
"""

import atexit
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, NamedTuple, ParamSpec, Self, TypeVar
from weakref import WeakSet

from buddyd.client import forks
from buddyd.client.complaints import Complaints
from buddyd.client.names import default_agent
from buddyd.client.runs import Run, recorded
from buddyd.paths import find_socket, spool_folder

if TYPE_CHECKING:
    from buddyd.client.outbox import Outbox

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])

MOST_BYTES = 256 * 2**20
"""What the spool of a socket may take on disk unless it is told otherwise."""

_MOST_QUEUED = 100_000
_EXIT_SECONDS = 2.0


class Told(NamedTuple):
    """One execution as the agent told it; nothing of it has been checked."""

    task_id: object
    agent_id: object
    tool_name: object
    duration_seconds: object
    success: object
    cost_actual: object
    tokens_used: object
    human_effort_level: object
    browser_used: object
    cost_estimate: object
    error_type: object
    finished_at: object
    execution_id: object


class Statistics(NamedTuple):
    """What became of the records of a recorder."""

    queued: int
    """In memory, not on disk yet."""
    spooled: int
    """On disk, not with the daemon yet."""
    delivered: int
    """With the daemon; among them what processes that have died had left."""
    refused: int
    """Wrong: kept in the spool's `refused.jsonl` where there was anything to keep."""
    dropped: int
    """Lost, for the spool was full."""


def _never_raises(
    method: Callable[Concatenate["Recorder", P], bool],
) -> Callable[Concatenate["Recorder", P], bool]:
    @wraps(method)
    def recording(self: "Recorder", /, *args: P.args, **kwargs: P.kwargs) -> bool:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # The agent's work is worth more than its record.
            self._report(f"{type(error).__name__}: {error}")
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
        self._linger = flush_interval / 4
        self._most_bytes = most_bytes
        self._complaints = Complaints()
        self._settled = Statistics(0, 0, 0, 0, 0)
        self._queue: deque[Told] = deque()
        self._begin()
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
        if durable:
            return self._put_away(told)
        if len(self._queue) >= _MOST_QUEUED:
            self._overrun += 1
            self._complaints.say("Executions are lost: the disk does not keep up with them")
            return False
        self._queue.append(told)
        if not self._bell.is_set():
            self._ring()
        return True

    def execution(self, task_id: str, tool_name: str, *, agent_id: str | None = None) -> Run:
        """A block to be measured: `with recorder.execution("order-17", "web_search") as run`.

        The agent counts as busy while it lasts. What it raises goes on its way, and its class is
        the record's `error_type`.
        """
        return Run(task_id, agent_id or self.agent_id, tool_name, self._begun, self._ended)

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
        self._put_away()
        return self._outbox is None or self._outbox.drain(timeout, give_up=False)

    def close(self, timeout: float = _EXIT_SECONDS) -> None:
        """Put everything away, deliver it for as long as the daemon takes it, and stop.

        What is not delivered then waits for the next recorder of this user. Recording again
        begins anew.
        """
        end = time.monotonic() + timeout
        with self._starting:
            self._stopping.set()
            self._bell.set()
            if self._writer is not None:
                self._writer.join(timeout)
            self._put_away()
            if self._outbox is not None:
                self._outbox.drain(end - time.monotonic(), give_up=True)
                self._outbox.close(max(0.0, end - time.monotonic()))
            self._settled = self.statistics._replace(queued=0, spooled=0)
            self._begin()
        if self._queue:
            # Recorded by another thread meanwhile.
            self._ring()

    @property
    def statistics(self) -> Statistics:
        """What became of the records so far."""
        before, outbox = self._settled, self._outbox
        return Statistics(
            queued=len(self._queue),
            spooled=outbox.waiting if outbox else 0,
            delivered=before.delivered + (outbox.delivered if outbox else 0),
            refused=before.refused + self._misused + (outbox.refused if outbox else 0),
            dropped=before.dropped + self._overrun + (outbox.dropped if outbox else 0),
        )

    def forget(self) -> None:
        """In a child after a fork: what the parent recorded, the parent delivers."""
        if self._outbox is not None:
            self._outbox.forget()
        self._settled = Statistics(0, 0, 0, 0, 0)
        self._complaints = Complaints()
        self._queue = deque()
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self) -> None:
        self._starts: deque[Run] = deque(maxlen=1000)
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._starting = threading.RLock()
        self._writing = threading.Lock()
        self._writer: threading.Thread | None = None
        self._outbox: Outbox | None = None
        self._misused = self._overrun = 0

    def _report(self, problem: str) -> None:
        self._misused += 1
        self._complaints.say(f"An execution was not recorded: {problem}", problem)

    # Runs

    def _begun(self, run: Run) -> None:
        self._starts.append(run)
        self._ring()

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
            self._complaints.say(f"The task of a call is not known: {error!r}")
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

    # The thread that writes

    def _ring(self) -> None:
        """Tell the writer that there is something to write."""
        if self._writer is not None or self._start():
            self._bell.set()

    def _start(self) -> bool:
        """Start the writer; where that cannot be, do its work here."""
        with self._starting:
            if self._writer is not None:
                return True
            writer = threading.Thread(
                target=self._work,
                args=(self._bell, self._stopping),
                name="buddyd-recorder",
                daemon=True,
            )
            try:
                writer.start()
            except RuntimeError:
                # The host has no thread left, or the interpreter is at its end.
                self._put_away()
                return False
            self._writer = writer
            _deliver_at_exit()
            return True

    def _work(self, bell: threading.Event, stopping: threading.Event) -> None:
        # The first record is not to wait for what is loaded as well as for its companions.
        self._put_away()
        while not stopping.is_set():
            bell.wait()
            # More may come that can be written together.
            stopping.wait(self._linger)
            bell.clear()
            self._put_away()

    def _put_away(self, durable: Told | None = None) -> bool:
        """Write what has come to the spool; whether `durable`, which comes last, is safe there."""
        try:
            with self._writing:
                return self._write(durable)
        except Exception as error:  # The threads must outlive what nobody foresaw.
            self._report(repr(error))
            return False

    def _write(self, durable: Told | None) -> bool:
        if self._queue:
            outbox = self._opened()
            outbox.put_away([self._queue.popleft() for _ in range(len(self._queue))])
        while self._starts:
            self._opened().announce(self._starts.popleft())
        return durable is not None and self._opened().put_away([durable], sync=True)

    def _opened(self) -> "Outbox":
        if self._outbox is None:
            with forks.loading:
                # msgspec, sockets, the protocol: in the background, and with the first record.
                from buddyd.client.outbox import Outbox  # noqa: PLC0415

            self._outbox = Outbox(self.socket, self.folder, self._most_bytes, self._complaints)
        return self._outbox


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
    from buddyd.domain.execution import new_execution_id  # noqa: PLC0415 -- msgspec

    return new_execution_id()


atexit.register(_close_all)
