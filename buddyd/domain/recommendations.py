"""What to do about a tool that fails, as far as its own data support it."""

from collections.abc import Iterable

from msgspec import Struct

from buddyd.domain.answers import Recommendation
from buddyd.domain.confidence import level
from buddyd.domain.fallbacks import Fallback
from buddyd.domain.findings import Case
from buddyd.domain.journal import ratio
from buddyd.domain.settings import DomainSettings
from buddyd.domain.watched import UNKNOWN
from buddyd.domain.windows import in_words, rfc3339
from buddyd.domain.wording import significant

AGENTS_TOLD = 5
FEW_TASKS = 3
"""On fewer tasks than this, a fallback has not shown that it helps."""


class Trouble(Struct, frozen=True):
    """What is known about a tool that fails, over the 30-day window."""

    tool: str
    executions: int
    failed: int
    means: tuple[int, int, int]
    """Executions, what they cost and how long they took together."""
    errors: dict[str, int]
    """Its failures by class and by agent, the most frequent first."""
    agents: dict[str, int]
    cases: list[Case]
    """What was found about it and lasts."""
    fallback: Fallback | None

    @property
    def since(self) -> float | None:
        """Since when it has been failing so, where that was noticed."""
        return min((case.began for case in self.cases), default=None)

    @property
    def success_rate(self) -> float:
        """Over the window."""
        return ratio(self.executions - self.failed, self.executions)


def recommend(trouble: Trouble, settings: DomainSettings) -> Recommendation:
    """The recommendation for one tool."""
    fallback, since = trouble.fallback, trouble.since
    successes = trouble.executions - trouble.failed
    return Recommendation(
        tool=trouble.tool,
        confidence_level=level(successes, trouble.executions, settings),
        reason=f"{trouble.failed} of {trouble.executions} executions failed in the last 30 days: "
        f"a success rate of {trouble.success_rate:.1%}.",
        executions=trouble.executions,
        failed=trouble.failed,
        recommendation=" ".join(_sentences(trouble)),
        fallback_tool=fallback.tool if fallback else None,
        fallback_success_rate=ratio(fallback.succeeded, fallback.tried) if fallback else None,
        since=None if since is None else rfc3339(since),
        agents=dict(list(trouble.agents.items())[:AGENTS_TOLD]),
        fallback_tried=fallback.tried if fallback else None,
        fallback_cost_ratio=_compared(trouble, "cost"),
        fallback_duration_ratio=_compared(trouble, "duration"),
        missing=list(_missing(trouble)),
    )


def _sentences(trouble: Trouble) -> Iterable[str]:
    known = _known(trouble)
    if known:
        name, count = known[0]
        yield f"Look at `{name}` first: it is behind {count} of its {trouble.failed} failures."
    else:
        yield "Its failures have no error type: record one to see what fails."
    if trouble.since is not None:
        yield f"It has been failing like this since {in_words(trouble.since)}."
    if len(trouble.agents) == 1 and trouble.failed > 1:
        yield f"All of its failures happened with agent {next(iter(trouble.agents))}."
    elif trouble.agents and trouble.failed > 1:
        name, count = next(iter(trouble.agents.items()))
        yield f"{len(trouble.agents)} agents are affected, {name} most often ({count} failures)."
    yield _what_helps(trouble)


def _what_helps(trouble: Trouble) -> str:
    tool, fallback = trouble.tool, trouble.fallback
    if fallback is None:
        return f"No other tool has succeeded on a task after {tool} failed on it."
    tasks, them = ("1 task", "it") if fallback.tried == 1 else (f"{fallback.tried} tasks", "them")
    tried = f"it was tried on {tasks} after {tool} had failed on {them}, "
    compared = _in_words(trouble)
    if not _is_supported(trouble):
        return f"{fallback.tool} may help: {tried}and succeeded on {fallback.succeeded}{compared}."
    return f"Fall back on {fallback.tool}: {tried}and succeeded on {fallback.succeeded}{compared}."


def _in_words(trouble: Trouble) -> str:
    said = [
        f"{significant(times, 2)} times the {what}"
        for what in ("cost", "duration")
        if (times := _compared(trouble, what)) is not None
    ]
    return f", at {' and '.join(said)}" if said else ""


def _is_supported(trouble: Trouble) -> bool:
    """Whether the fallback has done better than the tool itself, and often enough to tell."""
    fallback = trouble.fallback
    return (
        fallback is not None
        and fallback.tried >= FEW_TASKS
        and ratio(fallback.succeeded, fallback.tried) > trouble.success_rate
    )


def _missing(trouble: Trouble) -> Iterable[str]:
    if not _known(trouble):
        yield "No error type was recorded with its failures."
    if trouble.since is None:
        yield "No finding says since when it has been failing."
    fallback = trouble.fallback
    if fallback is None:
        yield "No other tool has succeeded on a task on which it failed."
    elif fallback.tried < FEW_TASKS:
        yield f"{fallback.tool} was tried on fewer than {FEW_TASKS} such tasks."
    elif not _is_supported(trouble):
        yield f"{fallback.tool} succeeded on such tasks no more often than the tool itself."
    if fallback is not None and _compared(trouble, "cost") is None:
        yield "There are no costs to compare."


def _known(trouble: Trouble) -> list[tuple[str, int]]:
    return [(name, count) for name, count in trouble.errors.items() if name != UNKNOWN]


def _compared(trouble: Trouble, what: str) -> float | None:
    """What an execution of the fallback costs, or how long it takes, to one of the tool."""
    fallback = trouble.fallback
    executions, cost, duration = trouble.means
    if fallback is None or not fallback.first_tries:
        return None
    own, other = (cost, fallback.cost) if what == "cost" else (duration, fallback.duration)
    return (other / fallback.first_tries) / (own / executions) if own else None
