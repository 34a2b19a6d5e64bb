"""The part of a recorder that is loaded with its first record: the spool, and its delivery."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from buddyd.client import calls
from buddyd.client.complaints import Complaints
from buddyd.client.core import Backoff
from buddyd.client.delivery import DeadLetters, Delivery
from buddyd.client.encoding import Unfit, encoded
from buddyd.client.runs import Run
from buddyd.client.segments import line_of
from buddyd.client.spool import Spool, SpoolFull
from buddyd.client.sync import Client
from buddyd.errors import BuddydError

_START_SECONDS = 0.5
_MOST_STARTS = 1000
_ADOPT_SECONDS = 30.0
_OUTAGE = "outage"


class Outbox:
    """Puts records into the spool, and delivers them in a thread of its own until it is closed."""

    def __init__(self, socket: Path, folder: Path, most_bytes: int, complaints: Complaints) -> None:
        self.delivered = 0
        # Two threads count, each its own.
        self._unfit = self._refused = self._turned_away = self._lost = 0
        self._complaints = complaints
        self._client = Client(socket)
        self._spool = Spool(folder, most_bytes, complaints.say)
        self._dead_letters = DeadLetters(folder, complaints)
        self._delivery = Delivery(self._client, self._dead_letters)
        self._starts: deque[Run] = deque(maxlen=_MOST_STARTS)
        self._adopt_at = 0.0
        self._news = threading.Event()
        self._urgent = threading.Event()
        self._moved = threading.Condition()
        self._failures = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="buddyd-delivery", daemon=True)
        # An interpreter that is at its end starts no thread any more; `drain` does its work then.
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    @property
    def waiting(self) -> int:
        """Records on disk that the daemon does not have yet."""
        return self._spool.waiting

    @property
    def refused(self) -> int:
        """Records that were wrong, seen here or by the daemon."""
        return self._unfit + self._refused

    @property
    def dropped(self) -> int:
        """Records that found no room, or were lost with their segment."""
        return self._turned_away + self._lost

    def put_away(self, records: Sequence[NamedTuple], *, sync: bool = False) -> bool:
        """Write records to the spool; with `sync`, whether they would survive the loss of power."""
        lines = [line for record in records if (line := self._line(record)) is not None]
        if not lines:
            return False
        try:
            safe = self._spool.put(lines, sync=sync)
        except SpoolFull:
            self._turned_away += len(lines)
            self._complaints.say(
                f"The spool {self._spool.folder} is full: executions are lost until the daemon "
                "takes what is in it"
            )
            return False
        self._news.set()
        return safe and len(lines) == len(records)

    def announce(self, run: Run) -> None:
        """Tell the daemon that a run has begun, if it can be told before the run ends."""
        self._starts.append(run)
        self._news.set()

    def drain(self, timeout: float | None, *, give_up: bool) -> bool:
        """Wait until the daemon has all that is here; with `give_up`, only while it takes some."""
        deadline = time.monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
        if not self._thread.is_alive():
            self._attempt()
        failures, last = self._failures, self._spool.taken
        self._news.set()
        self._urgent.set()
        with self._moved:
            while self._spool.settled < last:
                left = deadline - time.monotonic()
                if left <= 0 or (give_up and self._failures > failures):
                    return False
                self._moved.wait(min(left, threading.TIMEOUT_MAX))
        return True

    def close(self, timeout: float) -> None:
        """Deliver while the daemon takes some, then stop, and leave the rest to another process."""
        end = time.monotonic() + timeout
        self.drain(timeout, give_up=True)
        self._closing = True
        self._news.set()
        self._urgent.set()
        if self._thread.is_alive():
            # Where it waits for an answer for longer, it has its segments until then.
            self._thread.join(max(0.0, end - time.monotonic()))
        else:
            self._leave()

    def forget(self) -> None:
        """In a child after a fork: the segments are its parent's."""
        self._spool.forget()

    def _line(self, record: NamedTuple) -> bytes | None:
        try:
            return line_of(encoded(record))
        except Unfit as unfit:
            self._unfit += 1
            self._dead_letters.add(_as_told(record), str(unfit))
            return None

    def _work(self) -> None:
        try:
            self._deliver_on()
        finally:
            self._leave()

    def _leave(self) -> None:
        self._client.close()
        self._spool.close()

    def _deliver_on(self) -> None:
        backoff = Backoff()
        while not self._closing:
            if self._attempt():
                backoff.reset()
                self._news.wait(_ADOPT_SECONDS)
                self._news.clear()
            else:
                self._urgent.wait(backoff.pause())
                self._urgent.clear()

    def _attempt(self) -> bool:
        """Deliver all that there is; False where something stands in the way."""
        try:
            self._deliver()
        except BuddydError as error:
            self._complain(str(error), _OUTAGE)
        except Exception as error:  # The thread must outlive what nobody foresaw.
            self._complain(repr(error), repr(error))
        else:
            self._complaints.settle(_OUTAGE)
            return True
        with self._moved:
            self._failures += 1
            self._moved.notify_all()
        return False

    def _complain(self, problem: str, reason: str) -> None:
        # Who closes it does not want to hear of what was broken off.
        if not self._closing:
            self._complaints.say(f"Executions wait in {self._spool.folder}: {problem}", reason)

    def _deliver(self) -> None:
        self._adopt()
        self._tell_starts()
        while not self._closing and (segment := self._spool.oldest()):
            settled = self._delivery.step(segment)
            with self._moved:
                self._spool.settle(segment, sum(settled))
                self.delivered += settled.delivered
                self._refused += settled.refused
                self._lost += settled.lost
                self._moved.notify_all()
            self._tell_starts()

    def _adopt(self) -> None:
        now = time.monotonic()
        if now >= self._adopt_at:
            self._adopt_at = now + _ADOPT_SECONDS
            self._spool.adopt()

    def _tell_starts(self) -> None:
        while self._starts:
            run = self._starts.popleft()
            # The record of a run that has ended may be on its way: then it is too late.
            if not run.ended:
                with contextlib.suppress(BuddydError):
                    self._client.call(
                        calls.start_execution(
                            run.task_id, run.agent_id, run.tool_name, started_at=run.started_at
                        ),
                        within=_START_SECONDS,
                    )


def _as_told(record: NamedTuple) -> bytes:
    try:
        return msgspec.json.encode(record._asdict(), enc_hook=repr)
    except (ValueError, TypeError, RecursionError):
        return repr(record).encode(errors="backslashreplace")
