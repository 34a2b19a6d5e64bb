"""The registry: how the agents are, and what was learned about the tools (Tier 3)."""

import sqlite3

import structlog

from buddyd.actors.projecting import ProjectionActor
from buddyd.domain.answers import Answer, ToolProfile
from buddyd.domain.registry import Registry
from buddyd.protocol.messages import GetAgentsStatus, GetSystemLearning, Request
from buddyd.storage import tier3

log = structlog.get_logger()


class RegistryActor(ProjectionActor[Registry]):
    """Answers for agents and tools, and keeps Tier 3."""

    def _begin(self) -> None:
        super()._begin()
        self._profiles: dict[str, ToolProfile | None] = {}
        # The tools that were LOW when it was last told; None before it is known.
        self._low: frozenset[str] | None = None

    async def answer(self, request: Request, now: float) -> Answer:
        """Answer a request."""
        match request:
            case GetAgentsStatus():
                return self.projection.agents.answer(now)
            case GetSystemLearning():
                return self.projection.tools.answer(now)
        raise TypeError(request)

    def collect(self) -> None:
        """Gather the profiles that changed."""
        present, gone = self.projection.tools.stale_profiles()
        self._profiles |= {profile.tool_name: profile for profile in present}
        self._profiles |= dict.fromkeys(gone)

    def write_tier(self, connection: sqlite3.Connection) -> int:
        """Write the profiles that changed; returns how many left."""
        tier3.save(connection, [p for p in self._profiles.values() if p is not None])
        return tier3.delete(connection, [n for n, p in self._profiles.items() if p is None])

    def collected(self) -> None:
        """They are committed."""
        self._profiles.clear()

    def take_as_known(self, *, rebuilt: bool) -> None:  # noqa: ARG002
        """The tools that are LOW are known to be."""
        self._low = frozenset(self.projection.tools.low())

    def report(self) -> None:
        """Log the tools that have become LOW."""
        if self._low is None:
            return
        low = self.projection.tools.low()
        for name in sorted(low.keys() - self._low):
            tally = low[name]
            log.warning(
                "tool became LOW",
                tool_name=name,
                executions=tally.executions,
                failed=tally.executions - tally.successes,
            )
        self._low = frozenset(low)
