"""Names for the shell to complete, from the daemon that runs. Where none does, there are none."""

import time
from collections.abc import Callable, Iterator

import click

from buddyd.cli.app import App
from buddyd.client import Call, calls
from buddyd.domain.answers import AgentsStatus, Answer, SystemLearning
from buddyd.errors import BuddydError

_PATIENCE_SECONDS = 0.3
"""Somebody has pressed a key and waits."""

Completion = Callable[[click.Context, click.Parameter, str], list[str]]


def names_of(*described: Call[Answer]) -> Completion:
    """Completes with the names in the answers to these calls."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        names = set(_names(context.ensure_object(App), described))
        # What cannot be printed cannot be completed on a terminal either.
        return sorted(n for n in names if n.startswith(incomplete) and n.isprintable())

    return complete


def _names(app: App, described: tuple[Call[Answer], ...]) -> Iterator[str]:
    end = time.monotonic() + _PATIENCE_SECONDS
    try:
        with app.client() as client:
            for call in described:
                left = end - time.monotonic()
                if left <= 0:
                    return
                yield from _named(client.call(call, within=left))
    except (BuddydError, OSError):
        return


def _named(answer: Answer) -> Iterator[str]:
    match answer:
        case AgentsStatus(agents=agents):
            yield from (agent.agent_id for agent in agents)
        case SystemLearning(tool_profiles=tools):
            yield from (tool.tool_name for tool in tools)


agents = names_of(calls.get_agents_status())
tools = names_of(calls.get_system_learning())
agents_and_tools = names_of(calls.get_agents_status(), calls.get_system_learning())
