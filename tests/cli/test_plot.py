"""buddyctl plot."""

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from buddyd.protocol.messages import GetExecutions, GetHourlySummaries
from tests.support import gallery
from tests.support.buddyctl import buddyctl
from tests.support.peer import Peer, running


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(gallery.script) as peer:
        yield peer


def test_all_executions_together_come_from_the_hourly_summaries(peer: Peer) -> None:
    document = json.loads(buddyctl("plot", "tasks", "--json", socket=peer.socket).stdout)
    assert peer.methods == ["get_daemon_status", "get_hourly_summaries"]
    assert document["step_seconds"] == 3600
    shown = {point["time"]: point["value"] for point in document["points"]}
    for hour in gallery.PIPELINE.hourly:
        assert shown[hour.hour] == hour.total_tasks


def test_a_week_is_asked_for_as_a_week(peer: Peer) -> None:
    buddyctl("plot", "costs", "--since", "7d", socket=peer.socket)
    asked = peer.asked[-1].params
    assert isinstance(asked, GetHourlySummaries)
    assert isinstance(asked.since, float)
    assert 0 <= gallery.NOW - 7 * 86_400 - asked.since < 10_800


@pytest.mark.parametrize("option", ["--tool", "--agent"])
def test_one_tool_or_agent_comes_from_the_records(peer: Peer, option: str) -> None:
    done = buddyctl("plot", "latency", option, "scout", "--json", socket=peer.socket)
    asked = peer.asked[-1].params
    assert isinstance(asked, GetExecutions)
    assert "scout" in {asked.tool_name, asked.agent_id}
    assert json.loads(done.stdout)["unit"] == "seconds"


def test_the_records_do_not_go_back_for_ever(peer: Peer) -> None:
    done = buddyctl("plot", "tasks", "--tool", "x", "--since", "7d", socket=peer.socket)
    assert done.returncode == 1
    assert done.stderr == (
        "buddyctl: For one tool or agent the daemon has records of the last 24 h: "
        "give --since 24h or less, or plot all of them together.\n"
    )


@pytest.mark.parametrize("span", ["31d", "100000000d", "9" * 400 + "d"])
def test_nor_do_the_summaries(peer: Peer, span: str) -> None:
    done = buddyctl("plot", "tasks", "--since", span, socket=peer.socket)
    assert done.returncode == 1
    assert (
        done.stderr
        == "buddyctl: The daemon has summaries of the last 30 d: give --since 30d or less.\n"
    )


def test_an_svg_is_a_picture(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "costs.svg"
    done = buddyctl("plot", "costs", "--output", str(file), socket=peer.socket)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    root = ET.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_a_png_is_a_picture_whatever_the_tool_is_called(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "latency.png"
    done = buddyctl(
        *("plot", "latency", "--tool", "a$b$_{x", "--output", str(file)), socket=peer.socket
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_names_the_extra(peer: Peer, tmp_path: Path) -> None:
    # A folder that comes first on the path hides the installed one.
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    root = Path(__file__).parents[2]
    done = buddyctl(
        *("plot", "costs", "--output", str(tmp_path / "costs.svg")),
        socket=peer.socket,
        PYTHONPATH=f"{tmp_path}:{root}",
    )
    assert done.returncode == 1
    assert done.stderr == (
        "buddyctl: Files need matplotlib, which is not installed: pip install 'buddyd[plot]', "
        "or leave --output out to plot on the terminal.\n"
    )


@pytest.mark.parametrize(
    "arguments", [["--output", "x.gif"], ["--since", "soon"], ["--since", "0d"]]
)
def test_wrong_usage_says_what_is_right(peer: Peer, arguments: list[str]) -> None:
    done = buddyctl("plot", "costs", *arguments, socket=peer.socket)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert ".svg or .png" in done.stderr or "24h or 7d" in done.stderr


def test_a_plot_in_a_pipe_is_text(peer: Peer) -> None:
    printed = buddyctl("plot", "success", socket=peer.socket).stdout
    assert "\x1b" not in printed
    assert printed.splitlines()[0] == "Success rate in steps of 1 h (UTC)"
    assert " 100 % " in printed
