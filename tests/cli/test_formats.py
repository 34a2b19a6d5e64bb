"""Filters, order, limits and formats, from the command line."""

import csv
import io
import json
from collections.abc import Iterator

import pytest

from tests.support import gallery
from tests.support.buddyctl import buddyctl, on_terminal
from tests.support.peer import Peer, running

QUERIES = [
    *("agents", "capacity", "pipeline", "costs"),
    *("learning", "risks", "recommendations", "status"),
]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(gallery.script) as peer:
        yield peer


def rows(peer: Peer, *arguments: str) -> list[dict[str, str]]:
    done = buddyctl(*arguments, "--format", "csv", socket=peer.socket)
    assert (done.returncode, done.stderr) == (0, "")
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.mark.parametrize("verb", QUERIES)
def test_every_query_has_every_format(peer: Peer, verb: str) -> None:
    json_, csv_, markdown = (
        buddyctl(verb, "--format", name, socket=peer.socket).stdout
        for name in ("json", "csv", "markdown")
    )
    assert json.loads(json_)["timestamp"] == gallery.AGENTS_STATUS.timestamp
    assert len(list(csv.reader(io.StringIO(csv_)))) > 1
    assert "| --- |" in markdown


def test_sorting_filtering_and_limits_come_together(peer: Peer) -> None:
    agents = rows(peer, "agents", "--sort", "-executions_24h", "--limit", "2")
    assert [row["agent_id"] for row in agents] == ["crawler-eu-west-1-production-0a7c3b", "ci"]
    agents = rows(peer, "agents", "--agent", "scout", "--agent", "ci")
    assert [row["agent_id"] for row in agents] == ["ci", "scout"]
    tools = rows(peer, "learning", "--tool", "python")
    assert [row["tool_name"] for row in tools] == ["python"]
    failures = rows(peer, "risks", "--table", "failures", "--agent", "scout")
    assert [row["task_id"] for row in failures] == ["t-70"]


def test_a_filter_shows_no_sums_of_all(peer: Peer) -> None:
    printed = buddyctl("costs", "--agent", "scout", socket=peer.socket).stdout
    assert printed.splitlines()[0] == "By agent"
    assert "ci" not in printed


def test_the_hours_of_a_day_are_there_for_who_asks(peer: Peer) -> None:
    hours = rows(peer, "pipeline", "--table", "hours")
    assert [int(row["total_tasks"]) for row in hours] == [
        hour.total_tasks for hour in gallery.PIPELINE.hourly
    ]


def test_an_unknown_column_names_the_ones_there_are(peer: Peer) -> None:
    done = buddyctl("capacity", "--sort", "size", socket=peer.socket)
    assert done.returncode == 2
    assert done.stderr == (
        "buddyctl: There is no column 'size'; there are: agent_id, "
        "estimated_available_capacity, capacity_low, capacity_high, current_queue_depth, "
        "predicted_completion_time, forecast_error, bottleneck_tools. "
        "See `buddyctl capacity --help`.\n"
    )


@pytest.mark.parametrize("option", [["--sort", "agent"], ["--limit", "1"], ["--agent", "ci"]])
@pytest.mark.parametrize("as_json", [["--json"], ["--format", "json"]])
def test_json_is_never_cut_in_silence(peer: Peer, option: list[str], as_json: list[str]) -> None:
    done = buddyctl("agents", *option, *as_json, socket=peer.socket)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unchanged answer" in done.stderr
    assert peer.connections == 0


def test_json_and_another_format_contradict_each_other(peer: Peer) -> None:
    done = buddyctl("agents", "--json", "--format", "csv", socket=peer.socket)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("format_", ["csv", "markdown", "json"])
def test_documents_have_no_colours_on_a_terminal_either(peer: Peer, format_: str) -> None:
    code, output = on_terminal("agents", "--format", format_, socket=peer.socket)
    assert code == 0
    assert "\x1b" not in output


def test_a_dumb_terminal_gets_no_colours(peer: Peer) -> None:
    assert "\x1b" not in on_terminal("agents", socket=peer.socket, TERM="dumb")[1]
