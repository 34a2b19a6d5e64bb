"""The registry: the agents and the tools, as one projection."""

from buddyd.domain.agents import Agents
from buddyd.domain.projection import Projection
from buddyd.domain.segment import Segment
from buddyd.domain.settings import DomainSettings
from buddyd.domain.tools import Tools


class Registry(Projection):
    """Agents and tools, which are put away together."""

    def __init__(self, settings: DomainSettings) -> None:
        self.agents = Agents(settings)
        self.tools = Tools(settings)
        self.parts = {f"agents_{name}": part for name, part in self.agents.parts.items()} | {
            f"tools_{name}": part for name, part in self.tools.parts.items()
        }

    def fold(self, segment: Segment) -> None:
        """Take in the entries that come next."""
        self.agents.fold(segment)
        self.tools.fold(segment)

    def advance(self, now: float) -> None:
        """Let the windows end at `now`."""
        self.agents.advance(now)
        self.tools.advance(now)
