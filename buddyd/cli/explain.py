"""buddyctl explain."""

from collections.abc import Iterable, Mapping
from typing import Literal

import click

from buddyd.cli import completing, params
from buddyd.cli.app import App, examples, global_options, pass_app
from buddyd.cli.explaining import agent, tool
from buddyd.cli.explaining.agent import AgentEvidence
from buddyd.cli.explaining.sentences import Explanation
from buddyd.cli.explaining.tool import ToolEvidence
from buddyd.cli.render import cells
from buddyd.cli.render.cells import printable
from buddyd.cli.render.view import Facts, View
from buddyd.client import Client
from buddyd.domain.answers import Everything
from buddyd.domain.settings import DomainSettings

Kind = Literal["tool", "agent"]

_RECORDS = _FINDINGS = 1000
_DEFAULTS = DomainSettings()


@click.command(
    epilog=examples(
        "buddyctl explain web_search",
        "buddyctl explain agent scout",
        "buddyctl explain tool scout",
    )
)
@click.argument(
    "words",
    metavar="[tool|agent] NAME",
    nargs=-1,
    required=True,
    type=params.NAME,
    shell_complete=completing.agents_and_tools,
)
@global_options
@pass_app
def command(app: App, words: tuple[str, ...]) -> None:
    """Say why a tool or an agent is judged as it is.

    A tool's confidence and trend, or an agent's status and capacity, from the records themselves.
    If a tool and an agent have the same name, say which one you mean.
    """
    with app.client() as client:
        everything = client.get_all()
        kind, name = _meant(words, everything)
        if kind == "tool":
            explanation = tool.explain(_about_tool(client, everything, name))
        else:
            explanation = agent.explain(_about_agent(client, everything, name))
    if app.json:
        app.write({"kind": kind, "name": name, "explanation": explanation})
    else:
        app.draw(_view(kind, name, explanation))


def _view(kind: Kind, name: str, explanation: Explanation) -> View:
    paragraphs = {about: cells.said(" ".join(text)) for about, text in explanation.items()}
    return [Facts(f"{kind.capitalize()} {printable(name)}", paragraphs)]


def _meant(words: tuple[str, ...], everything: Everything) -> tuple[Kind, str]:
    tools = [profile.tool_name for profile in everything.learning.tool_profiles]
    agents = [status.agent_id for status in everything.agents.agents]
    match words:
        case ("tool" | "agent" as kind, name):
            known = tools if kind == "tool" else agents
            if name not in known:
                raise click.ClickException(_unknown(f"No {kind} is", name, known))
            return kind, name
        case (name,):
            return _kind_of(name, tools, agents), name
    raise click.UsageError("Give one name, or `tool` or `agent` and a name.")


def _kind_of(name: str, tools: list[str], agents: list[str]) -> Kind:
    shown = printable(name)
    if name in tools and name in agents:
        raise click.UsageError(
            f"A tool and an agent are called '{shown}': say "
            f"`buddyctl explain tool {shown}` or `buddyctl explain agent {shown}`."
        )
    if name not in tools and name not in agents:
        raise click.ClickException(
            _unknown("Neither a tool nor an agent is", name, [*tools, *agents])
        )
    return "tool" if name in tools else "agent"


def _unknown(who: str, name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # Only where a name was mistyped.

    near = get_close_matches(name, known, n=3)
    hint = (
        f"did you mean {' or '.join(map(printable, near))}?"
        if near
        else "see `buddyctl learning` and `buddyctl agents`."
    )
    return f"{who} called '{printable(name)}'; {hint}"


def _about_tool(client: Client, everything: Everything, name: str) -> ToolEvidence:
    profile = next(p for p in everything.learning.tool_profiles if p.tool_name == name)
    answer = client.get_tool_recommendations()
    advice = answer.recommendations + answer.watch
    return ToolEvidence(
        profile=profile,
        pattern=everything.risks.failure_patterns.get(name),
        history=client.get_risk_history(tool_name=name, limit=_FINDINGS),
        recommendation=next((each for each in advice if each.tool == name), None),
        records=client.get_executions(tool_name=name, limit=_RECORDS).executions,
        settings=_settings(client),
    )


def _about_agent(client: Client, everything: Everything, name: str) -> AgentEvidence:
    capacity = everything.capacity
    return AgentEvidence(
        timestamp=everything.timestamp,
        status=next(each for each in everything.agents.agents if each.agent_id == name),
        forecast=next(each for each in capacity.forecasts if each.agent_id == name),
        window_seconds=capacity.window_seconds,
        history=client.get_risk_history(agent_id=name, limit=_FINDINGS),
        records=client.get_executions(agent_id=name, limit=_RECORDS).executions,
        settings=_settings(client),
    )


def _settings(client: Client) -> DomainSettings:
    """What of the daemon's settings the rules go by."""
    settings = client.get_daemon_status().settings
    learning, agents = settings.get("learning"), settings.get("agents")
    return DomainSettings(
        offline_after_seconds=_number(
            agents, "offline_after_seconds", _DEFAULTS.offline_after_seconds
        ),
        learning_min_executions=int(
            _number(learning, "min_executions", _DEFAULTS.learning_min_executions)
        ),
        high_success_rate=_number(learning, "high_success_rate", _DEFAULTS.high_success_rate),
        medium_success_rate=_number(learning, "medium_success_rate", _DEFAULTS.medium_success_rate),
    )


def _number(section: object, key: str, otherwise: float) -> float:
    value = section.get(key) if isinstance(section, Mapping) else None
    return value if isinstance(value, int | float) else otherwise
