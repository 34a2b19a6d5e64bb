"""What people see: every screen in a terminal of 80 and of 200 columns, held to its capture.

After a change that is meant, write the captures anew and look at what git says:

    BUDDYD_REWRITE_SCREENS=1 pytest tests/cli/test_screens.py && git diff tests/cli/screens
"""

from collections.abc import Iterator

import pytest

from buddyd.domain.answers import AgentsStatus
from tests.support import gallery
from tests.support.buddyctl import PROGRAM, environment, on_terminal
from tests.support.peer import Peer, running
from tests.support.terminal import capture, kept

SCREENS = {
    "agents": ["agents"],
    "capacity": ["capacity"],
    "pipeline": ["pipeline"],
    "costs": ["costs"],
    "learning": ["learning"],
    "risks": ["risks"],
    "risk-history": ["risks", "--history"],
    "recommendations": ["recommendations"],
    "status": ["status"],
    "explain-tool": ["explain", "github.create_pull_request"],
    "explain-agent": ["explain", "scout"],
    "plot-tasks": ["plot", "tasks"],
    "plot-latency": ["plot", "latency", "--tool", "web_search", "--since", "5h"],
}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(gallery.script) as peer:
        yield peer


def screen(peer: Peer, *arguments: str, columns: int = 80, rows: int = 60, **changes: str) -> str:
    env = environment(peer.socket, PYTHONUTF8="1", **changes)
    return capture([*PROGRAM, *arguments], env=env, columns=columns, rows=rows)


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_as_it_was(peer: Peer, name: str, columns: int) -> None:
    seen = screen(peer, *SCREENS[name], columns=columns)
    assert seen == kept(f"{name}-{columns}", seen)


@pytest.mark.parametrize("name", ["capacity", "pipeline", "plot-tasks"])
def test_a_terminal_that_has_but_ascii_sees_as_much(peer: Peer, name: str) -> None:
    seen = screen(peer, *SCREENS[name], PYTHONIOENCODING="ascii")
    assert seen.isascii()
    assert seen == kept(f"{name}-ascii", seen)


@pytest.mark.parametrize("name", SCREENS)
def test_a_narrow_terminal_is_not_overrun(peer: Peer, name: str) -> None:
    """A line that is too long would be broken by the terminal, and stand there as two."""
    for columns in (100, 60):
        narrow, wide = screen(peer, *SCREENS[name], columns=columns), None
        lines = narrow.splitlines()
        assert len(lines) == len([line for line in lines if len(line) <= columns]), wide


def test_a_terminal_that_knows_no_size_is_taken_for_the_customary_one(peer: Peer) -> None:
    code, output = on_terminal("agents", "--no-color", socket=peer.socket, columns=0)
    assert code == 0
    assert output == on_terminal("agents", "--no-color", socket=peer.socket, columns=80)[1]
    told = on_terminal("agents", "--no-color", socket=peer.socket, columns=0, COLUMNS="80")[1]
    assert told == output


def test_the_header_of_a_long_table_stands_below_it_again(peer: Peer) -> None:
    one = gallery.AGENTS_STATUS.agents[0]
    agents = [
        type(one)(
            **{name: getattr(one, name) for name in one.__struct_fields__}
            | {"agent_id": f"agent-{n:03}"}
        )
        for n in range(300)
    ]
    peer.script = lambda _: AgentsStatus(
        timestamp=gallery.AGENTS_STATUS.timestamp, total_agents=300, agents=agents
    )
    lines = screen(peer, "agents", rows=24).splitlines()
    assert len(lines) == 1 + 1 + 300 + 1
    assert lines[1] == lines[-1]
    assert lines[1].startswith("Agent      Status")
    shorter = screen(peer, "agents", "--limit", "5", rows=24).splitlines()
    assert shorter[-1] == "\N{HORIZONTAL ELLIPSIS} and 295 more (--limit)"
