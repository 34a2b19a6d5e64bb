"""Keeps actors alive: starts them in order, restarts a crashed one alone, stops them in reverse."""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
import structlog
from msgspec import Struct

from buddyd.errors import ActorGaveUp, FatalError, Unavailable
from buddyd.runtime.actor import Actor
from buddyd.runtime.channels import Envelope, Mailbox
from buddyd.runtime.timer import Timer

log = structlog.get_logger()

T = TypeVar("T")


class State(StrEnum):
    """Where an actor is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    CRASHED = "crashed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


MOVES: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.RUNNING, State.CRASHED, State.STOPPED, State.FAILED}),
    State.RUNNING: frozenset({State.CRASHED, State.STOPPING, State.STOPPED, State.FAILED}),
    State.CRASHED: frozenset({State.STARTING, State.STOPPED, State.FAILED}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED}),
    State.STOPPED: frozenset(),
    State.FAILED: frozenset({State.STOPPED}),
}
"""The moves that there are; any other one is a fault of the supervisor."""


class RestartPolicy(Struct, frozen=True, kw_only=True):
    """How often an actor may crash, and how long it rests after each crash."""

    most_restarts: int = 6
    within_seconds: float = 60.0
    first_delay: float = 0.1
    """Seconds; doubled with each crash within the period."""
    longest_delay: float = 5.0

    def delay(self, crashes: int) -> float:
        """Seconds to rest after the last of `crashes` crashes within the period."""
        return min(self.longest_delay, self.first_delay * 2.0 ** (crashes - 1))


class Child:
    """One actor, its mailbox and its history."""

    def __init__(self, actor: Actor[Any], mailbox: Mailbox[Any], policy: RestartPolicy) -> None:
        self.actor = actor
        self.mailbox = mailbox
        self.state = State.STARTING
        self.restarts = 0
        self.last_error: str | None = None
        self._policy = policy
        self._crashes: deque[float] = deque()
        self._in_hand: list[Envelope[Any]] = []
        self._seconds_hung = 0.0
        self._progressed_at: float | None = None
        self._life_scope = anyio.CancelScope()
        self._watch = Timer(self._look)
        self._alarm = Timer(mailbox.wake)
        actor.on_progress = self._progress
        self._lives = False
        self._ready = anyio.Event()
        self._over = anyio.Event()
        self._scope = anyio.CancelScope()

    @property
    def name(self) -> str:
        """The actor's name."""
        return self.actor.name

    @property
    def seconds_without_progress(self) -> float:
        """For how long it has been at its start or a turn without getting on; 0 between turns."""
        return 0.0 if self._progressed_at is None else time.monotonic() - self._progressed_at

    async def live(self, escalate: Callable[[FatalError], None]) -> None:
        """Run until the mailbox is finished; what cannot be survived goes to `escalate`."""
        self._lives = True
        # Whatever is logged on its behalf, in whichever layer, bears its name.
        structlog.contextvars.bind_contextvars(actor=self.name)
        try:
            with self._scope:
                while not await self._life(escalate):
                    pass
        finally:
            # Also where it was cancelled: whoever waits for an answer, or for the end, is told.
            self._answer_in_hand(Unavailable("The daemon is stopping.", 2.0))
            self.mailbox.close()
            self._move(State.STOPPED)
            self._ready.set()
            self._over.set()

    async def ready(self) -> None:
        """Wait until it has started, or never will."""
        await self._ready.wait()

    async def stop(self, limit: float) -> None:
        """Let it handle what waits, and end it; after `limit` seconds, cancel it."""
        self.mailbox.finish()
        if not self._lives:
            return
        with anyio.move_on_after(limit):
            await self._over.wait()
            return
        log.error("actor did not stop in time", actor=self.name, seconds=limit)
        self._scope.cancel()
        await self._over.wait()

    async def _life(self, escalate: Callable[[FatalError], None]) -> bool:
        """From start to crash (False) or end (True)."""
        try:
            await self._start_and_serve()
        except FatalError as error:
            self._fail(error, escalate)
            return True
        except Exception as error:
            return await self._crashed(error, escalate)
        return True

    async def _start_and_serve(self) -> None:
        try:
            with anyio.CancelScope() as self._life_scope:
                await self._start()
                await self._serve()
                return
        finally:
            self._watch.stop()
            self._alarm.stop()
        self._seconds_hung += self.actor.turn_limit
        message = f"It made no progress for {self.actor.turn_limit:g} s."
        raise TimeoutError(message)

    async def _start(self) -> None:
        if self.state is not State.STARTING:
            self._move(State.STARTING)
        await self._watched(self.actor.start())
        self._move(State.RUNNING)
        if self.restarts:
            log.info("actor restarted", actor=self.name, restarts=self.restarts)
        self.mailbox.open()
        self._ready.set()

    async def _serve(self) -> None:
        wait: float | None = 0.0
        while True:
            envelopes = await self._next(wait)
            # What an earlier turn left to a later one is still owed an answer.
            self._in_hand = [e for e in self._in_hand if e.unanswered] + envelopes
            if self.mailbox.finished and not envelopes:
                break
            wait = await self._watched(self.actor.turn(envelopes))
        self._move(State.STOPPING)
        await self.actor.stop()

    async def _next(self, wait: float | None) -> list[Envelope[Any]]:
        """What waits, or comes within `wait` seconds (None: however long it takes)."""
        if wait is not None and wait <= 0:
            await anyio.lowlevel.checkpoint()
            return self.mailbox.waiting()
        if wait is not None:
            self._alarm.ring_within(wait)
        return await self.mailbox.take()

    async def _watched(self, work: Awaitable[T]) -> T:
        """Let the actor do something; its life is cancelled where it makes no progress."""
        self._progress()
        self._watch.ring_within(self.actor.turn_limit)
        try:
            return await work
        finally:
            self._progressed_at = None

    def _progress(self) -> None:
        self._progressed_at = time.monotonic()

    def _look(self) -> None:
        """See whether it hangs; done once in a while, so that a turn need not set a limit."""
        left = self.actor.turn_limit - self.seconds_without_progress
        if left > 0:
            self._watch.ring_within(left)
        else:
            self._life_scope.cancel()

    async def _crashed(self, error: Exception, escalate: Callable[[FatalError], None]) -> bool:
        """Rest after a crash; True where there were too many."""
        # What it hung does not count as time, or an actor that always hangs would never give up.
        now = time.monotonic() - self._seconds_hung
        self._crashes.append(now)
        while self._crashes[0] < now - self._policy.within_seconds:
            self._crashes.popleft()
        self.last_error = f"{type(error).__name__}: {error}"
        if len(self._crashes) > self._policy.most_restarts or self.state is State.STOPPING:
            self._fail(self._gave_up(), escalate)
            return True
        self._move(State.CRASHED)
        self.restarts += 1
        delay = self._policy.delay(len(self._crashes))
        log.error("actor crashed", actor=self.name, retry_seconds=delay, exc_info=error)
        self._refuse(delay)
        with anyio.move_on_after(delay):
            await self.mailbox.until_finished()
        return False

    def _refuse(self, delay: float) -> None:
        reason = Unavailable(f"The {self.name} actor is restarting after an error.", delay + 0.1)
        self._answer_in_hand(reason)
        self.mailbox.refuse(reason)

    def _answer_in_hand(self, reason: Unavailable) -> None:
        for envelope in self._in_hand:
            envelope.answer(reason)
        self._in_hand = []

    def _gave_up(self) -> ActorGaveUp:
        count, period = len(self._crashes), self._policy.within_seconds
        return ActorGaveUp(
            f"The {self.name} actor crashed {count} times within {period:g} s; "
            f"the last time with {self.last_error}"
        )

    def _fail(self, error: FatalError, escalate: Callable[[FatalError], None]) -> None:
        self._move(State.FAILED)
        self.last_error = str(error)
        self._refuse(1.0)
        escalate(error)

    def _move(self, state: State) -> None:
        if state not in MOVES[self.state]:
            message = f"The {self.name} actor cannot go from {self.state} to {state}."
            raise RuntimeError(message)
        self.state = state


class Supervisor:
    """A family of actors. `failure` is the reason why the daemon must end, once there is one."""

    def __init__(self, policy: RestartPolicy | None = None) -> None:
        self.children: list[Child] = []
        self.failure: FatalError | None = None
        self.failed = anyio.Event()
        self._policy = policy or RestartPolicy()

    def add(self, actor: Actor[Any], mailbox: Mailbox[Any]) -> None:
        """Take an actor in; consumers before the producers that feed them."""
        self.children.append(Child(actor, mailbox, self._policy))

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start the actors in order, each after the one before is ready."""
        for child in self.children:
            tasks.start_soon(child.live, self.escalate, name=f"actor {child.name}")
            await child.ready()

    async def stop(self, limit: float = 15.0) -> None:
        """Stop the actors in reverse order, so that consumers see all that producers sent.

        After `limit` seconds in all, those that have not stopped are cancelled.
        """
        deadline = anyio.current_time() + limit
        for child in reversed(self.children):
            await child.stop(max(0.0, deadline - anyio.current_time()))

    def stalled(self, limit: float) -> list[str]:
        """The actors that have made no progress for more than `limit` seconds."""
        return [child.name for child in self.children if child.seconds_without_progress > limit]

    def escalate(self, error: FatalError) -> None:
        """Say that the daemon must end, whoever has met the reason; the first one counts."""
        if self.failure is None:
            self.failure = error
            self.failed.set()
