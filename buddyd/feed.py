"""The feed: tells subscribers what was committed, as fast as each of them reads.

The collector hands over what it committed and goes on. The last executions wait in one queue that
all subscriptions share, each with its own place in it: a connection that has room is given what
follows its place, and one that does not read falls behind. What leaves the queue before it got
there is missed, which is counted, and told as soon as there is room. So a slow reader costs a few
bytes and nobody's time.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import get_args

import anyio
import anyio.lowlevel
import msgspec
import structlog
from msgspec import UNSET

from buddyd.domain.answers import AnswerName, Done, StoredExecution, Subscribed
from buddyd.domain.execution import Execution
from buddyd.domain.journal import JournalEntry, MoneyReported
from buddyd.errors import InvalidParams, Unavailable
from buddyd.protocol.framing import Encoding
from buddyd.protocol.messages import Subscribe
from buddyd.protocol.notifications import (
    Changed,
    Missed,
    encode_committed,
    encode_execution,
    encode_notification,
)
from buddyd.server.outlet import Outlet
from buddyd.storage.appending import Appended, stored

log = structlog.get_logger()

MOST_WAITING = 4096
"""Executions that are kept for those who have not read them yet."""
MOST_PER_CONNECTION = 16
MOST_IN_ALL = 256
CHANGED_SECONDS = 0.5
"""The least time between two notifications that answers changed."""
AT_ONCE = 256
"""Executions that are handed out before others get a turn."""
MINUTE = 60.0

SIX: tuple[AnswerName, ...] = get_args(AnswerName)
# A start or a heartbeat changes no count of executions, but may end a silence; a report of money
# may be of a budget that is used up.
BY_EVENTS: tuple[AnswerName, ...] = ("agents", "capacity", "pipeline", "risks")
BY_MONEY: tuple[AnswerName, ...] = ("costs", "risks")


class _Item:
    """An execution in the queue, encoded when it is first wanted."""

    __slots__ = ("_encoded", "commit", "execution")

    def __init__(self, commit: int, execution: StoredExecution) -> None:
        self.commit = commit
        self.execution = execution
        self._encoded: dict[Encoding, msgspec.Raw] = {}

    def encoded(self, encoding: Encoding) -> msgspec.Raw:
        if encoding not in self._encoded:
            self._encoded[encoding] = encode_execution(encoding, self.execution)
        return self._encoded[encoding]


class _Subscription:
    """What one subscriber wants, and how far it has been told."""

    def __init__(self, number: int, outlet: Outlet, request: Subscribe, after: int) -> None:
        self.number = number
        self.outlet = outlet
        self.executions = "execution" in request.events
        self.changes = "changed" in request.events
        self.place = 0
        """Of the next execution, in the queue since it began."""
        self.missed = 0
        self.changed: set[AnswerName] = set()
        self._after = after
        self._wanted = [
            (field, value)
            for field in ("agent_id", "tool_name", "task_id", "success")
            if (value := getattr(request, field)) is not UNSET
        ]

    def wants(self, item: _Item) -> bool:
        """Whether this execution is to be told."""
        if item.commit <= self._after:
            return False
        execution = item.execution
        return all(getattr(execution, field) == value for field, value in self._wanted)


class Feed:
    """Who has subscribed to what. `clock` tells the time in Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._subscriptions: dict[int, _Subscription] = {}
        self._news: list[Appended] = []
        self._queue: deque[_Item] = deque()
        self._gone = 0
        self._changes: set[AnswerName] = set()
        self._commits = 0
        self._tell_from = -math.inf
        self._minute = self._clock() // MINUTE
        self._event = anyio.Event()

    def subscribe(self, request: Subscribe, outlet: Outlet, commits: int) -> Subscribed:
        """Tell `outlet` of what follows commit number `commits`; raises where it has too many."""
        if len(self._of(outlet)) >= MOST_PER_CONNECTION:
            raise InvalidParams(
                f"This connection has {MOST_PER_CONNECTION} subscriptions; it may have no more", "$"
            )
        if len(self._subscriptions) >= MOST_IN_ALL:
            raise Unavailable("There are too many subscriptions.", 5.0)
        if not self._subscriptions:
            self._minute = self._clock() // MINUTE
        subscription = _Subscription(next(self._numbers), outlet, request, commits)
        subscription.place = self._end
        self._subscriptions[subscription.number] = subscription
        outlet.on_room = self._wake
        outlet.on_end = lambda: self._forget(outlet)
        self._commits = max(self._commits, commits)
        self._wake()
        return Subscribed(subscription=subscription.number, commits=commits)

    def unsubscribe(self, number: int, outlet: Outlet) -> Done:
        """Tell it no more of this subscription; raises InvalidParams where it has none such."""
        if number not in self._of(outlet):
            raise InvalidParams("This connection has no such subscription", "$.subscription")
        del self._subscriptions[number]
        self._tidy()
        return Done()

    def publish(self, appended: Appended) -> None:
        """Take over what was committed; it is handed out in a while."""
        if self._subscriptions:
            self._news.append(appended)
            self._wake()

    def all_changed(self) -> None:
        """Every answer may be another one now, though nothing was committed."""
        if self._subscriptions:
            self._changes.update(SIX)
            self._wake()

    async def run(self) -> None:
        """Hand out what comes, until it is cancelled."""
        while True:
            with anyio.move_on_after(self._seconds_to_wait()):
                await self._event.wait()
            self._event = anyio.Event()
            try:
                await self._take_in_all()
                self._note_changes()
                self._hand_out()
            except Exception:
                # No subscriber is worth the daemon.
                log.exception("news were lost")
                await anyio.sleep(CHANGED_SECONDS)
                self._wake()

    @property
    def _end(self) -> int:
        """The place of the execution that comes next."""
        return self._gone + len(self._queue)

    def _of(self, outlet: Outlet) -> list[int]:
        return [n for n, each in self._subscriptions.items() if each.outlet is outlet]

    def _forget(self, outlet: Outlet) -> None:
        for number in self._of(outlet):
            del self._subscriptions[number]
        self._tidy()

    def _tidy(self) -> None:
        """Keep nothing for nobody."""
        if not any(each.executions for each in self._subscriptions.values()):
            self._gone += len(self._queue)
            self._queue.clear()
        if not self._subscriptions:
            self._news.clear()
            self._changes.clear()

    def _wake(self) -> None:
        self._event.set()

    # What was committed

    async def _take_in_all(self) -> None:
        while self._news:
            appended = self._news.pop(0)
            if not appended.count:
                continue
            self._commits = appended.last_seq
            self._changes.update(SIX if appended.executions else _changed_by(appended.events))
            committed = list(zip(appended.seqs, appended.executions, strict=True))
            for begin in range(0, len(committed), AT_ONCE):
                if begin:
                    # Whoever reads as fast as it comes gets the chance to.
                    self._hand_out()
                    await anyio.lowlevel.checkpoint()
                self._take_in(committed[begin : begin + AT_ONCE])

    def _take_in(self, committed: Sequence[tuple[int, Execution]]) -> None:
        if not any(each.executions for each in self._subscriptions.values()):
            return
        for seq, execution in committed:
            if len(self._queue) >= MOST_WAITING:
                self._let_go()
            self._queue.append(_Item(seq, stored(execution)))

    def _let_go(self) -> None:
        """The oldest one makes room; who has not read it has missed it."""
        oldest = self._queue.popleft()
        self._gone += 1
        for each in self._subscriptions.values():
            if each.executions and each.place < self._gone:
                each.place = self._gone
                each.missed += each.wants(oldest)

    # What changed

    def _note_changes(self) -> None:
        """Pass on what changed, at most so often."""
        minute = self._clock() // MINUTE
        if minute != self._minute:
            # The windows have moved on.
            self._minute = minute
            self._changes.update(SIX)
        now = anyio.current_time()
        if self._changes and now >= self._tell_from:
            self._tell_from = now + CHANGED_SECONDS
            for each in self._subscriptions.values():
                if each.changes:
                    each.changed |= self._changes
            self._changes.clear()

    def _seconds_to_wait(self) -> float:
        if not any(each.changes for each in self._subscriptions.values()):
            return math.inf
        if self._changes:
            return max(0.0, self._tell_from - anyio.current_time())
        return MINUTE - self._clock() % MINUTE

    # Telling

    def _hand_out(self) -> None:
        for each in list(self._subscriptions.values()):
            while each.outlet.room and self._tell(each):
                pass

    def _tell(self, to: _Subscription) -> bool:
        """Tell a subscriber one thing; False where there is nothing."""
        if to.missed:
            count, to.missed = to.missed, 0
            self._say(to, Missed(subscription=to.number, count=count))
        elif to.executions and to.place < self._end:
            item = self._queue[to.place - self._gone]
            to.place += 1
            if to.wants(item):
                self._say_committed(to, item)
        elif to.changed:
            names = [name for name in SIX if name in to.changed]
            to.changed.clear()
            self._say(to, Changed(subscription=to.number, answers=names, commits=self._commits))
        else:
            return False
        return True

    def _say(self, to: _Subscription, notification: Changed | Missed) -> None:
        to.outlet.send(encode_notification(to.outlet.encoding, notification))

    def _say_committed(self, to: _Subscription, item: _Item) -> None:
        try:
            execution = item.encoded(to.outlet.encoding)
        except Exception:
            # Whatever it is, it must not cost the others their news.
            log.exception("an execution cannot be told", commit=item.commit)
            to.missed += 1
            return
        to.outlet.send(encode_committed(to.outlet.encoding, to.number, item.commit, execution))


def _changed_by(entries: Iterable[JournalEntry]) -> set[AnswerName]:
    """The answers that entries without an execution among them change."""
    by_entry = (BY_MONEY if isinstance(entry, MoneyReported) else BY_EVENTS for entry in entries)
    return set(chain.from_iterable(by_entry))
