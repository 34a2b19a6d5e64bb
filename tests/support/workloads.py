"""What clients may send: workloads for property-based tests, drawn where things break.

A workload is a list of steps at times of the daemon's clock. Its records lie on the edges of
minutes, hours, days and windows, come late, twice or ahead of time, bear odd names, and cost
nothing or a fortune.
"""

import os
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import UNSET, Struct, UnsetType

from buddyd import config
from buddyd.config import Settings
from buddyd.domain.execution import Execution
from buddyd.protocol.messages import (
    RecordExecutions,
    ReportAgent,
    ReportBudget,
    ReportCosts,
    StartExecution,
)
from tests.oracle import DAY, HOUR, MINUTE, Submission

F = TypeVar("F", bound=Callable[..., Any])

FACTOR = int(os.environ.get("BUDDYD_TEST_EXAMPLES_FACTOR", "1"))
"""Times the usual number of examples. The usual run is the same each time, a larger one is not."""


def examples(usual: int) -> Callable[[F], F]:
    """How many examples a property is tried on."""
    chosen: Callable[[F], F] = hypothesis_settings(
        max_examples=usual * FACTOR,
        derandomize=FACTOR == 1,
        deadline=None,
        database=None,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return chosen


# Summer time begins or ends in Berlin, New York, Santiago and Cairo (there at midnight), on Lord
# Howe by half an hour; a turn of the year; a leap day; and any Tuesday.
MOMENTS = (
    1774746000.0,
    1792890000.0,
    1772953200.0,
    1793512800.0,
    1775358000.0,
    1788667200.0,
    1776981600.0,
    1793307600.0,
    1775314800.0,
    1798761600.0,
    1835395200.0,
    1780394645.678,
)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
)
AGENTS = ("scout", "ünï 😀", "[red]x[/red]", "~other", "a b", "Scout", "é", "x" * 256)
TOOLS = ("search", "🛠", "[bold]", "~other", "web search", "'; --", "e\u0301", "y" * 256)
TASKS = ("t1", "t2", "t3", "[/]", "t" * 256)
IDS = (
    "1",
    "a\nb",
    "0190b7a2-7c1e-7d3e-8000-0123456789ab",
    "0190B7A2-7C1E-7D3E-8000-0123456789AB",
    "x" * 36,
    "😀" * 64,
)
ERRORS = (None, None, "timeout", "rate limit", "unknown", "~other", "é" * 128)
DURATIONS = (0.0, 4e-7, 1e-6, 0.01, 0.010001, 1.5, 30.0, 299.999999, 3600.0, 90_000.0, 2_592_000.0)
COSTS = (0.0, 4e-10, 1e-9, 0.01, 0.02, 0.020000001, 0.3, 1e6)
TOKENS = (0, 1, 999, 10**12)

Then = Literal["go on", "ask", "put away", "restart", "crash"]


class Step(Struct, frozen=True):
    """Something that is received at a time of the daemon's clock, and what happens after it."""

    at: float
    request: Submission
    then: Then


class Workload(Struct, frozen=True):
    """A life of a daemon."""

    settings: Settings
    steps: list[Step]
    end: float
    """When the last questions are asked."""


BUDGETS = (
    st.builds(
        config.Budget,
        limit=st.sampled_from((1e-9, 0.02, 1.5, 400.0, 5e6)),
        period=st.sampled_from(("day", "month")),
    )
    | st.builds(
        config.Budget,
        limit=st.sampled_from((0.02, 1.5, 400.0, 5e6)),
        period=st.sampled_from(("day", "month")),
        agent=st.sampled_from(AGENTS),
    )
    | st.builds(
        config.Budget,
        limit=st.sampled_from((0.02, 1.5, 400.0, 5e6)),
        period=st.sampled_from(("day", "month")),
        tool=st.sampled_from(TOOLS),
    )
)


@st.composite
def configurations(draw: st.DrawFn) -> Settings:
    """Settings that matter to the arithmetic."""
    few = st.sampled_from((1000, 1000, 1, 2))
    return Settings(
        timezone=draw(st.sampled_from(ZONES)),
        limits=config.Limits(max_agents=draw(few), max_tools=draw(few)),
        retention=config.Retention(tier1_hours=draw(st.sampled_from((24, 24, 48)))),
        budget=tuple(draw(st.lists(BUDGETS, max_size=4))),
        capacity=config.Capacity(window_seconds=draw(st.sampled_from((3600, 3600, 300, 5400)))),
    )


@st.composite
def workloads(
    draw: st.DrawFn,
    *,
    most_steps: int = 12,
    most_days: int = 25,
    back: bool = True,
    starts_and_reports: bool = True,
    thens: tuple[Then, ...] = ("go on", "go on", "ask", "put away", "restart", "crash"),
) -> Workload:
    """A workload that takes up to `most_days`; with `back`, the clock may be put back a little."""
    settings = draw(configurations())
    start = draw(st.sampled_from(MOMENTS)) + draw(st.sampled_from((0.0, -0.001, -60.0, 3599.5)))
    clock = Clock(start, most_days, back=back)
    steps = []
    for _ in range(draw(st.integers(1, most_steps))):
        kind = draw(st.integers(0, 5)) if starts_and_reports else 0
        at = clock.now
        if kind == 2:
            request: Submission = draw(_starts(at))
        elif kind == 3:
            request = draw(REPORTS)
        elif kind == 4:
            request = draw(costs(at))
        elif kind == 5:
            request = draw(BUDGET_REPORTS)
        else:
            request = draw(batches(at))
        steps.append(Step(at, request, draw(st.sampled_from(thens))))
        clock.turn(draw(PAUSES))
    return Workload(settings, steps, clock.now)


class Clock:
    """The daemon's clock; it may be put back by less than the grace of two hours."""

    def __init__(self, now: float, most_days: int = 25, *, back: bool = True) -> None:
        self.now = self._latest = now
        self._end = now + most_days * DAY
        self._back = back

    def __call__(self) -> float:
        return self.now

    def turn(self, by: float) -> None:
        """Let some time pass, or put the clock back."""
        earliest = self._latest - (7199.0 if self._back else 0.0)
        self.now = min(self._end, max(earliest, self.now + by))
        self._latest = max(self._latest, self.now)


MOMENTS_LATER = (0.0, 0.001, 1.0, 59.999, 60.0, 119.9, 120.0, 600.0)
HOURS_LATER = (3599.0, HOUR, 3 * HOUR, 13 * HOUR, DAY - 1.0, DAY + 0.5, 6 * DAY + HOUR)
EARLIER = (-0.5, -90.0, -HOUR, -7199.0)
PAUSES = st.sampled_from((*MOMENTS_LATER, *HOURS_LATER, *EARLIER))


@st.composite
def batches(draw: st.DrawFn, now: float) -> RecordExecutions:
    """One to six executions, or many alike."""
    batch = draw(st.lists(executions(now), min_size=1, max_size=6))
    if batch[0].execution_id is UNSET and draw(st.integers(0, 9)) == 0:
        batch = batch[:1] * draw(st.integers(10, 40)) + batch[1:]
    return RecordExecutions(executions=batch)


@st.composite
def executions(draw: st.DrawFn, now: float) -> Execution:
    """One execution that arrives at `now`."""
    given: dict[str, Any] = {}
    if draw(st.integers(0, 2)) == 0:
        given["execution_id"] = draw(st.sampled_from(IDS))
    if (finished_at := draw(_finishes(now))) is not UNSET:
        given["finished_at"] = finished_at
    return Execution(
        task_id=draw(st.sampled_from(TASKS)),
        agent_id=draw(st.sampled_from(AGENTS)),
        tool_name=draw(st.sampled_from(TOOLS)),
        duration_seconds=draw(st.sampled_from(DURATIONS) | MILLIONTHS),
        success=draw(st.booleans()),
        cost_actual=draw(st.sampled_from(COSTS) | BILLIONTHS),
        cost_estimate=draw(st.sampled_from(COSTS)),
        tokens_used=draw(st.sampled_from(TOKENS)),
        human_effort_level=draw(st.sampled_from(("LOW", "MEDIUM", "HIGH"))),
        browser_used=draw(st.booleans()),
        error_type=draw(st.sampled_from(ERRORS)),
        **given,
    )


MILLIONTHS = st.integers(0, 10**9).map(lambda n: n / 10**6)
BILLIONTHS = st.integers(1, 10**12).map(lambda n: n / 10**9)


@st.composite
def _finishes(draw: st.DrawFn, now: float) -> float | UnsetType:
    """When an execution ended: on the edges of everything, or anywhere in the last 30 days."""
    minute, hour = now // MINUTE * MINUTE, now // HOUR * HOUR
    edges = (now, now + 300.0, minute, hour, minute - 1439 * MINUTE, hour - 719 * HOUR)
    where = draw(st.integers(0, 3))
    if where == 0:
        return UNSET
    if where == 1:
        return draw(st.sampled_from(edges)) - draw(st.sampled_from((0.0, 0.001, 59.5, 3600.0)))
    ago = 2 * HOUR if where == 2 else 31 * DAY
    return now - draw(st.integers(0, ago * 1000)) / 1000


@st.composite
def _starts(draw: st.DrawFn, now: float) -> StartExecution:
    given: dict[str, Any] = {}
    if draw(st.booleans()):
        ago = draw(st.sampled_from((-300.0, 0.0, 0.5, 600.0, 3599.9, 3600.0, 10.0 * DAY)))
        given["started_at"] = now - ago
    return StartExecution(
        task_id=draw(st.sampled_from(TASKS)),
        agent_id=draw(st.sampled_from(AGENTS)),
        tool_name=draw(st.sampled_from(TOOLS)),
        **given,
    )


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(UNSET) | strategy


REPORTS = st.builds(
    ReportAgent,
    agent_id=st.sampled_from(AGENTS),
    queue_depth=_maybe(st.sampled_from((0, 1, 7))),
    status=_maybe(st.sampled_from(("IDLE", "BUSY", "ERROR"))),
    concurrency=_maybe(st.sampled_from((1, 2, 8))),
)

BUDGET_REPORTS = st.builds(
    ReportBudget,
    service=st.sampled_from(("llm", "maps")),
    limit_usd=st.sampled_from((1e-9, 0.5, 20.0, 1e9)),
    period=st.sampled_from(("day", "day", "month", "total")),
    spent_usd=st.sampled_from((0.0, 0.1, 7.25, 19.999999999, 1e9)),
)


@st.composite
def costs(draw: st.DrawFn, now: float) -> ReportCosts:
    """What a cost tracker reports at `now`: of a mission, or of all."""
    given: dict[str, Any] = {}
    if draw(st.booleans()):
        given["since"] = now - draw(st.sampled_from((0.0, 59.5, HOUR, DAY - MINUTE, 2.0 * DAY)))
    if draw(st.integers(0, 2)) == 0:
        given["until"] = max(now - 30.0, given.get("since", -1e9))
    return ReportCosts(
        source=draw(st.sampled_from(("tracker", "[/]"))),
        mission_id=draw(_maybe(st.sampled_from(("m1", "m2")))),
        total_actual_usd=draw(st.sampled_from((0.0, 0.25, 0.250000001, 3.0, 1e9))),
        total_estimated_usd=draw(_maybe(st.sampled_from((0.0, 0.5, 4.0)))),
        **given,
    )
