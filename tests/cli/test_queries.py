"""What the queries print: for a person, on a terminal and in a pipe, and as JSON."""

import csv
import json
from collections.abc import Iterator

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from buddyd.domain.answers import AgentsStatus, AgentStatus, RiskHistory
from buddyd.protocol.messages import GetRiskHistory
from tests.support.buddyctl import buddyctl, on_terminal, seen
from tests.support.peer import Asked, Peer, running
from tests.support.samples import AGENT, ANSWERS, HISTORY, NOW, TOOL

QUERIES = {
    "agents": "get_agents_status",
    "capacity": "get_predictive_capacity",
    "pipeline": "get_task_pipeline",
    "costs": "get_api_usage_and_costing",
    "learning": "get_system_learning",
    "risks": "get_risk_patterns",
    "recommendations": "get_tool_recommendations",
    "status": "get_daemon_status",
    "ping": "ping",
    "aggregate": "run_hourly_aggregation",
    "cleanup": "cleanup_old_data",
}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(lambda asked: ANSWERS[asked.method]) as peer:
        yield peer


@pytest.mark.parametrize("verb", QUERIES)
def test_json_is_the_answer_as_it_came(peer: Peer, verb: str) -> None:
    done = buddyctl(verb, "--json", socket=peer.socket)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == msgspec.to_builtins(ANSWERS[QUERIES[verb]])
    assert list(json.loads(done.stdout)) == list(msgspec.to_builtins(ANSWERS[QUERIES[verb]]))


@pytest.mark.parametrize("verb", QUERIES)
def test_a_terminal_of_80_columns_is_enough(peer: Peer, verb: str) -> None:
    code, output = on_terminal(verb, socket=peer.socket, columns=80)
    assert code == 0
    assert max(len(line) for line in seen(output).splitlines()) <= 80


@pytest.mark.parametrize("verb", ["agents", "learning", "risks"])
def test_colour_is_for_terminals_alone(peer: Peer, verb: str) -> None:
    assert "\x1b[" in on_terminal(verb, socket=peer.socket)[1]
    assert "\x1b" not in buddyctl(verb, socket=peer.socket).stdout
    assert "\x1b" not in on_terminal(verb, "--no-color", socket=peer.socket)[1]
    assert "\x1b" not in on_terminal(verb, socket=peer.socket, NO_COLOR="1")[1]
    assert "\x1b[" in on_terminal(verb, socket=peer.socket, NO_COLOR="")[1]


def test_the_agents(peer: Peer) -> None:
    done = buddyctl("agents", socket=peer.socket)
    title, header, scout, zoe = done.stdout.splitlines()
    assert title == "Agents: 2 (1 OFFLINE, 1 BUSY)"
    assert header.split("  ")[0] == "Agent"
    for shown in (AGENT, "BUSY", "task-77", "1,234", "12,510", "840 ms", "98.1 %", "2 min ago"):
        assert shown in scout
    assert zoe.split()[:3] == ["zoe", "OFFLINE", "\N{EN DASH}"]
    assert zoe.endswith("1 d ago")


@pytest.mark.parametrize("verb", QUERIES)
def test_no_line_ends_in_blanks(peer: Peer, verb: str) -> None:
    for line in buddyctl(verb, socket=peer.socket).stdout.splitlines():
        assert line == line.rstrip()


def test_a_long_name_is_cut_on_a_terminal_and_whole_in_a_pipe(peer: Peer) -> None:
    _, output = on_terminal("agents", socket=peer.socket)
    assert AGENT not in seen(output)
    assert "\N{HORIZONTAL ELLIPSIS}" in output
    assert AGENT in on_terminal("agents", socket=peer.socket, columns=200)[1]
    assert AGENT in buddyctl("agents", socket=peer.socket).stdout


@pytest.mark.parametrize("verb", ["agents", "capacity", "pipeline", "costs", "learning", "risks"])
def test_a_name_is_shown_as_it_is_and_never_as_markup(peer: Peer, verb: str) -> None:
    printed = buddyctl(verb, socket=peer.socket).stdout
    assert AGENT in printed or TOOL in printed


def test_the_capacity(peer: Peer) -> None:
    printed = buddyctl("capacity", socket=peer.socket).stdout
    for shown in ("next 1 h", "62 %", "48\N{EN DASH}75 %", "in 12 min", f"{TOOL} +1"):
        assert shown in printed


def test_the_pipeline_has_its_busiest_tool_first(peer: Peer) -> None:
    printed = buddyctl("pipeline", socket=peer.socket).stdout
    assert "93.0 %" in printed
    assert "60 low, 30 medium, 10 high" in printed
    assert printed.index(TOOL) < printed.index("seldom")
    assert "\N{FULL BLOCK}  at most 100, at 12:00 UTC" in printed


def test_the_costs_have_the_dearest_first(peer: Peer) -> None:
    printed = buddyctl("costs", socket=peer.socket).stdout
    for shown in ("$12.50", "123,456", "$0.0042", "<$0.0001", "1.25 MiB"):
        assert shown in printed
    assert printed.index(TOOL) < printed.index("cheap")


def test_the_costs_tell_what_is_left_of_the_budgets_and_what_trackers_count(peer: Peer) -> None:
    printed = buddyctl("costs", socket=peer.socket).stdout
    lines = printed.splitlines()
    (budget,) = (line for line in lines if line.startswith("agent "))
    (service,) = (line for line in lines if line.startswith("service "))
    for shown in (f"agent {AGENT}", "$20.00", "$12.50", "62.5 %", "$1.25", "in 6 h", "in 3 h"):
        assert shown in budget
    for shown in ("service maps[/]", "$1.00", "\N{EN DASH}"):
        assert shown in service
    (source,) = (line for line in lines if line.startswith("cost_tracker[/]"))
    for shown in ("$14.00", "2 of 3", "$13.00", "$12.50", "+$0.5000"):
        assert shown in source


def test_the_learning_tells_the_level_with_its_interval(peer: Peer) -> None:
    printed = buddyctl("learning", socket=peer.socket).stdout
    for shown in ("1 LOW", "50.0 %", "35\N{EN DASH}65 %", "LOW (99.9 %)", "degrading"):
        assert shown in printed


def test_the_risks(peer: Peer) -> None:
    printed = buddyctl("risks", socket=peer.socket).stdout
    for shown in ("streak, high failure rate", "timeout 18, unknown 2", "task-9", "spike", "18.0"):
        assert shown in printed


def test_the_findings_are_told_worst_first_and_their_history_with_when_they_ended(
    peer: Peer,
) -> None:
    printed = buddyctl("risks", socket=peer.socket).stdout
    assert "Current findings: 1" in printed
    assert "failed 4 times in a row." in printed
    printed = buddyctl("risks", "--history", "--since", "7d", socket=peer.socket).stdout
    assert "Findings of the last 30 days: 2" in printed
    for shown in ("ongoing", "now", "alarm", "loop", "31 times on task-9"):
        assert shown in printed
    wrong = buddyctl("risks", "--since", "7d", socket=peer.socket)
    assert wrong.returncode == 2
    assert "--since goes with --history" in wrong.stderr


def history_of(asked: Asked) -> RiskHistory:
    """As the daemon has it: of 1,200 findings, the newest of those that are asked for."""
    params = asked.params
    assert isinstance(params, GetRiskHistory)
    usual = HISTORY.findings[0]
    found = [
        replace(
            usual, summary=f"number {n}", tool_name=f"tool-{n % 3}", agent_id=f"agent-{n % 400}"
        )
        for n in range(1200)
        if params.tool_name in {UNSET, f"tool-{n % 3}"}
        if params.agent_id in {UNSET, f"agent-{n % 400}"}
    ]
    return RiskHistory(timestamp=NOW, total_findings=len(found), findings=found[: params.limit])


def test_the_history_of_one_tool_or_agent_has_all_that_was_found_of_it() -> None:
    def numbers(*options: str) -> list[int]:
        done = buddyctl("risks", "--history", "--format", "csv", *options, socket=peer.socket)
        rows = csv.DictReader(done.stdout.splitlines())
        return [int(row["summary"].removeprefix("number ")) for row in rows]

    with running(history_of) as peer:
        assert numbers("--agent", "agent-399") == [399, 799, 1199]
        assert numbers("--tool", "tool-1", "--agent", "agent-399") == [799]
        assert numbers("--agent", "agent-398", "--agent", "agent-399") == [398, 399, 798, 799]
        assert numbers("--tool", "tool-2", "--limit", "3") == [2, 5, 8]
        assert numbers("--tool", "tool-1", "--tool", "tool-2", "--limit", "3") == [1, 2, 4]
        assert numbers("--sort", "-agent_id", "--limit", "2") == [99, 499]
        assert numbers() == list(range(100))


def test_the_recommendations_are_sentences(peer: Peer) -> None:
    printed = buddyctl("recommendations", socket=peer.socket).stdout
    assert "20 of 40 executions failed, 18 of them with timeout." in printed
    assert "browser (succeeded on 90.0 % of these tasks)" in printed


def test_the_status_has_the_daemon_its_database_and_its_actors(peer: Peer) -> None:
    printed = buddyctl("status", socket=peer.socket).stdout
    for shown in ("4711", "1 d 1 h", "1.2 MiB", "registry", "ValueError: [oops]"):
        assert shown in printed


def test_where_there_is_nothing_a_sentence_says_so() -> None:
    nobody = AgentsStatus(timestamp=NOW, total_agents=0, agents=[])
    with running(lambda _: nobody) as peer:
        done = buddyctl("agents", socket=peer.socket)
    assert done.stdout.endswith("No agent was heard of in the last 24 hours.\n")


def test_control_characters_reach_no_terminal(peer: Peer) -> None:
    """A daemon of another version may let through what this one refuses."""
    agent = AgentStatus(
        agent_id="\x1b]0;owned\x07\u202egnp\x9b31m",
        status="IDLE",
        current_task_id=None,
        tasks_completed_today=1,
        executions_24h=1,
        avg_response_time=1.0,
        success_rate=1.0,
        queue_depth=0,
        last_activity=NOW,
    )
    answer = AgentsStatus(timestamp=NOW, total_agents=1, agents=[agent])
    peer.script = lambda _: answer
    printed = on_terminal("agents", "--no-color", socket=peer.socket, columns=200)[1]
    assert r"\x1b]0;owned\x07\u202egnp\x9b31m" in printed
    document = on_terminal("agents", "--json", socket=peer.socket)[1]
    assert not set(document) & set("\x1b\x07\x9b")
    assert json.loads(document)["agents"][0]["agent_id"] == agent.agent_id


def test_hundreds_of_rows_are_all_shown() -> None:
    agent = ANSWERS["get_agents_status"].agents[1]  # type: ignore[attr-defined]
    agents = [msgspec.structs.replace(agent, agent_id=f"agent-{n:03}") for n in range(500)]
    answer = AgentsStatus(timestamp=NOW, total_agents=500, agents=agents)
    with running(lambda _: answer) as peer:
        lines = buddyctl("agents", socket=peer.socket).stdout.splitlines()
    assert len(lines) == 502
    assert lines[-1].startswith("agent-499")
