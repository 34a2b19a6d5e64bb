"""What happens to a record after the agent's call has returned, up to the spool.

A queue in memory, and a thread that empties it. What does the rest, `outbox.py`, is loaded by that
thread: an agent is not to wait for it.
"""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from buddyd.client import forks
from buddyd.client.complaints import Complaints
from buddyd.client.runs import Run

if TYPE_CHECKING:
    from buddyd.client.outbox import Outbox

_MOST_QUEUED = 100_000
_MOST_STARTS = 1_000


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
    """Lost: the spool was full, or another program has truncated it."""


class Place(NamedTuple):
    """Where records go."""

    socket: Path
    folder: Path
    most_bytes: int


class Background:
    """Takes records from any thread, and puts them away `linger` seconds after the first one.

    It begins with the first record, and anew with the first one after it was closed. `begun` is
    called with each beginning.
    """

    def __init__(self, place: Place, linger: float, begun: Callable[[], None]) -> None:
        self._place = place
        self._linger = linger
        self._tell_begun = begun
        self._begin()

    def _begin(self) -> None:
        self.complaints = Complaints()
        self._queue: deque[Told] = deque()
        self._starts: deque[Run] = deque(maxlen=_MOST_STARTS)
        self._starting = threading.Lock()
        self._writing = threading.RLock()
        self._outbox: Outbox | None = None
        self._before = Statistics(0, 0, 0, 0, 0)
        self._counting = threading.Lock()
        self._await_first()

    def _await_first(self) -> None:
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, told: Told) -> bool:
        """Put it away soon; False where there is no room for it."""
        if len(self._queue) >= _MOST_QUEUED:
            self._count(dropped=1)
            self.complaints.say("Executions are lost: the disk does not keep up with them")
            return False
        self._queue.append(told)
        if not self._bell.is_set():
            self._ring()
        return True

    def announce(self, run: Run) -> None:
        """Tell the daemon soon that a run has begun."""
        self._starts.append(run)
        self._ring()

    def refuse(self, problem: str) -> None:
        """Say that something could not be recorded, and count it."""
        self._count(refused=1)
        self.complaints.say(f"An execution was not recorded: {problem}", problem)

    def put_away(self, durable: Told | None = None) -> bool:
        """Write what has come to the spool; whether `durable`, which comes last, is safe there."""
        try:
            with self._writing:
                return self._write(durable)
        except Exception as error:  # No descriptor is left, say; the threads must outlive it all.
            self.complaints.say(f"Executions stay in memory for now: {error!r}")
            if durable is not None:
                self._queue.append(durable)
            return False

    def flush(self, timeout: float | None) -> bool:
        """Wait until the daemon has all that has come; False where it has not in time."""
        self.put_away()
        outbox = self._outbox
        return outbox is None or outbox.drain(timeout, give_up=False)

    def close(self, timeout: float) -> None:
        """Put all away, deliver it while the daemon takes it, and end the threads."""
        with self._starting:
            thread = self._thread
            self._stopping.set()
            self._bell.set()
            self._await_first()
        if thread is not None:
            thread.join(timeout)
        with self._writing:
            self.put_away()
            outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close(timeout)
            self._count(outbox.delivered, outbox.refused, outbox.dropped)

    def forget(self) -> None:
        """In a child after a fork: what was told the parent, the parent delivers."""
        if self._outbox is not None:
            self._outbox.forget()
        self._begin()

    @property
    def statistics(self) -> Statistics:
        """What became of the records so far."""
        before, outbox = self._before, self._outbox
        return Statistics(
            queued=len(self._queue),
            spooled=outbox.waiting if outbox else 0,
            delivered=before.delivered + (outbox.delivered if outbox else 0),
            refused=before.refused + (outbox.refused if outbox else 0),
            dropped=before.dropped + (outbox.dropped if outbox else 0),
        )

    def _count(self, delivered: int = 0, refused: int = 0, dropped: int = 0) -> None:
        with self._counting:
            _, _, *before = self._before
            sums = map(sum, zip(before, (delivered, refused, dropped), strict=True))
            self._before = Statistics(0, 0, *sums)

    def _ring(self) -> None:
        """Tell the thread that there is something to write."""
        # A bell that `close` has replaced meanwhile may ring: `close` writes what came before.
        bell = self._bell
        if self._thread is not None or self._start():
            bell.set()

    def _start(self) -> bool:
        """Start the thread; where that cannot be, do its work here."""
        with self._starting:
            if self._thread is not None:
                return True
            thread = threading.Thread(
                target=self._work,
                args=(self._bell, self._stopping),
                name="buddyd-recorder",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:
                # The host has no thread left, or the interpreter is at its end.
                self.put_away()
                return False
            self._thread = thread
        self._tell_begun()
        return True

    def _work(self, bell: threading.Event, stopping: threading.Event) -> None:
        # The first record is not to wait for what is loaded as well as for its companions.
        self.put_away()
        while not stopping.is_set():
            bell.wait()
            # More may come that can be written together.
            stopping.wait(self._linger)
            bell.clear()
            self.put_away()

    def _write(self, durable: Told | None) -> bool:
        if self._queue:
            self._write_queue(self._opened())
        while self._starts:
            self._opened().announce(self._starts.popleft())
        return durable is not None and self._opened().put_away([durable], sync=True)

    def _write_queue(self, outbox: "Outbox") -> None:
        records = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            outbox.put_away(records)
        except BaseException:
            self._queue.extendleft(reversed(records))
            raise

    def _opened(self) -> "Outbox":
        if self._outbox is None:
            with forks.loading:
                # msgspec, sockets, the protocol: in the background, and with the first record.
                from buddyd.client.outbox import Outbox

            self._outbox = Outbox(*self._place, self.complaints)
        return self._outbox
