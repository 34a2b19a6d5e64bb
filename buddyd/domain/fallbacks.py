"""What helped after a tool had failed on a task."""

from msgspec import Struct, field

from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.names import join
from buddyd.domain.projection import Table
from buddyd.domain.segment import Segment
from buddyd.domain.windows import GRACE_HOURS, PairWindow, Window, hour_of, month_floor

MOST_TASKS = 10_000
MOST_FAILED_TOOLS = 8
MOST_ATTEMPTS = 32
"""What is told apart on one task; further tools and tries are passed over."""


class Attempt(Struct, array_like=True):
    """That a tool was tried on a task after another one had failed on it."""

    hour: int
    """When it was tried first."""
    succeeded: bool


class TroubledTask(Struct):
    """A task on which tools have failed."""

    seq: int
    """When it was touched last."""
    failed: list[str] = field(default_factory=list)
    attempts: dict[str, Attempt] = field(default_factory=dict)


class Fallback(Struct, frozen=True):
    """What helped after a tool had failed: on how many tasks it was tried, and succeeded."""

    tool: str
    tried: int
    succeeded: int
    first_tries: int
    """Of these tries the cost and the duration are known."""
    cost: int
    """Billionths of a dollar, of all of them together; and microseconds."""
    duration: int


class Fallbacks:
    """Which tool succeeded on the same task after another one failed, over 30 days."""

    def __init__(self) -> None:
        # Tasks on which it was tried, and on which it succeeded, by failed and tried tool.
        self.month = PairWindow(GRACE_HOURS)
        # First tries, what they cost and how long they took.
        self.means = Window(GRACE_HOURS)
        self.tasks: Table[TroubledTask] = Table(TroubledTask, MOST_TASKS)

    def fold(self, segment: Segment) -> None:
        """Take in the executions that come next."""
        troubled = self.tasks.rows
        for execution in segment.executions:
            if not execution.success or execution.task_id in troubled:
                self._take(execution)

    def _take(self, entry: ExecutionRecorded) -> None:
        task = self.tasks.touch(entry.task_id)
        if task is None:
            task = self.tasks.put(entry.task_id, TroubledTask(entry.seq))
        task.seq = entry.seq
        for failed in task.failed:
            if failed != entry.tool:
                self._attempt(task, join(failed, entry.tool), entry)
        if (
            not entry.success
            and entry.tool not in task.failed
            and len(task.failed) < MOST_FAILED_TOOLS
        ):
            task.failed.append(entry.tool)

    def advance(self, now: float) -> None:
        """Let the window end at `now`."""
        self.month.move(month_floor(now))
        self.means.move(month_floor(now))

    def best(self, failed: str) -> Fallback | None:
        """The tool that most often succeeded after `failed` had; None where none did."""
        helped = [
            (-succeeded, tried, tool)
            for tool, (tried, succeeded) in self.month.under(failed).items()
            if succeeded
        ]
        if not helped:
            return None
        succeeded, tried, tool = min(helped)
        means = self.means.totals.get(join(failed, tool), (0, 0, 0))
        return Fallback(tool, tried, -succeeded, *means)

    def _attempt(self, task: TroubledTask, pair: str, entry: ExecutionRecorded) -> None:
        attempt = task.attempts.get(pair)
        if attempt is None:
            if len(task.attempts) >= MOST_ATTEMPTS:
                return
            hour = hour_of(entry.finished_at)
            task.attempts[pair] = Attempt(hour, entry.success)
            self.month.add(hour, pair, (1, int(entry.success)))
            self.means.add(hour, pair, (1, entry.cost, entry.duration))
        elif entry.success and not attempt.succeeded:
            # In the hour of the first try, so that both leave the window together.
            attempt.succeeded = True
            self.month.add(attempt.hour, pair, (0, 1))
