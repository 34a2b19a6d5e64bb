"""buddyctl metrics, read by Prometheus' own parser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import gallery
from tests.support.buddyctl import buddyctl
from tests.support.peer import Odd, Peer, running

# https://prometheus.io/docs/practices/naming/
UNITS = {"seconds", "bytes", "ratio", "dollars", "info"}
SUSPECT = re.compile(r"(_ms|_minutes|_hours|_percent|_mb|_kb|_megabytes|_count|_total_)")


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(gallery.script) as peer:
        yield peer


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, frozenset(labels.items())]


@pytest.fixture
def text(peer: Peer) -> str:
    done = buddyctl("metrics", socket=peer.socket)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_numbers_are_the_answers_in_base_units(text: str) -> None:
    crawler = "crawler-eu-west-1-production-0a7c3b"
    assert value(text, "buddyd_info", version="0.1.0", protocol="1") == 1
    assert value(text, "buddyd_records_total", result="duplicate") == 12
    assert value(text, "buddyd_uptime_seconds") == 90_000
    assert value(text, "buddyd_database_size_bytes") == 3_932_160
    assert value(text, "buddyd_last_commit_timestamp_seconds") == gallery.NOW - 3
    assert value(text, "buddyd_actor_running", actor="risk") == 0
    assert value(text, "buddyd_actor_restarts_total", actor="risk") == 2
    assert value(text, "buddyd_agent_status", agent=crawler, status="BUSY") == 1
    assert value(text, "buddyd_agent_status", agent=crawler, status="IDLE") == 0
    assert value(text, "buddyd_agent_capacity_ratio", agent=crawler) == 0.09
    assert value(text, "buddyd_agent_capacity_high_ratio", agent=crawler) == 0.31
    assert value(text, "buddyd_agent_completion_timestamp_seconds", agent="scout") == (
        gallery.NOW + 12
    )
    assert value(text, "buddyd_tool_confidence", tool="python", level="HIGH") == 1
    assert value(text, "buddyd_tool_month_executions", tool="python", outcome="failure") == 11
    assert value(text, "buddyd_tool_day_cost_dollars", tool="web_search") == 4.2
    assert (
        value(
            text,
            "buddyd_tool_day_failures",
            tool="github.create_pull_request",
            error_type="http_422",
        )
        == 15
    )
    assert value(text, "buddyd_day_cost_anomalies") == 2


def test_what_is_not_known_is_left_out(text: str) -> None:
    found = samples(text)
    assert ("buddyd_agent_forecast_error_ratio", frozenset({("agent", "ingénieur")})) not in found
    assert ("buddyd_agent_completion_timestamp_seconds", frozenset({("agent", "ci")})) not in found


def test_names_and_types_are_by_the_conventions(text: str) -> None:
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    for family in families:
        assert family.name.startswith("buddyd")
        assert family.documentation.endswith(".")
        assert not SUSPECT.search(family.name)
        assert family.type in {"counter", "gauge"}
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            if sample.name.endswith("_ratio"):
                assert 0 <= sample.value <= 1
    assert {name.rsplit("_", 1)[-1] for name in names} >= UNITS


def test_a_file_is_there_whole_or_not_at_all(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "buddyd.prom"
    file.write_text("old")
    before = file.stat().st_ino
    done = buddyctl("metrics", "--output", str(file), socket=peer.socket)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert value(file.read_text(), "buddyd_connections") == 3
    assert file.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [file]


def test_where_nobody_answers_the_file_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "buddyd.prom"
    file.write_text("old")
    with running(lambda _: Odd.HANG_UP) as peer:
        done = buddyctl("metrics", "--output", str(file), "--timeout", "1", socket=peer.socket)
    assert done.returncode == 69
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_written_is_named(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "missing" / "buddyd.prom"
    done = buddyctl("metrics", "--output", str(file), socket=peer.socket)
    assert done.returncode == 1
    assert done.stderr == f"buddyctl: {file}: No such file or directory.\n"
