"""What a real daemon says of alarms that time makes, though nobody asks and nothing is recorded."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buddyd.client import Changed, Client
from tests.support.outside import ObservedDaemon

OFFLINE_SECONDS = 0.6


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ObservedDaemon]:
    config = tmp_path / "buddyd.toml"
    config.write_text(f"[agents]\noffline_after_seconds = {OFFLINE_SECONDS}\n")
    with ObservedDaemon(tmp_path, "--config", str(config)) as daemon:
        yield daemon


def silences(daemon: ObservedDaemon) -> int:
    """How often the log tells of a silence."""
    return sum(each.get("kind") == "silent" for each in daemon.events())


def test_an_agent_that_falls_silent_is_logged_and_subscribers_are_told(
    daemon: ObservedDaemon,
) -> None:
    with Client(daemon.socket) as client, Client(daemon.socket).subscribe("changed") as changes:
        client.report_agent("scout", queue_depth=2)
        heard = time.monotonic()
        assert isinstance(next(changes), Changed)
        said = daemon.wait_for("alarming finding")
        assert time.monotonic() - heard < OFFLINE_SECONDS + 5
        (finding,) = client.get_risk_patterns().findings
        assert (said["finding_id"], said["agent_id"]) == (finding.finding_id, "scout")
        assert said["summary"] == "scout fell silent with 2 tasks waiting or open."
        # The heartbeat was told; that it did not come again is, too, before the minute turns.
        assert any(isinstance(each, Changed) and "risks" in each.answers for each in changes)
        assert time.monotonic() - heard < OFFLINE_SECONDS + 20


def test_a_silence_that_goes_on_over_a_restart_is_logged_once(daemon: ObservedDaemon) -> None:
    daemon.call("report_agent", agent_id="scout", queue_depth=2)
    daemon.wait_for("alarming finding")
    daemon.stop()
    daemon.start()
    daemon.call("report_agent", agent_id="other", queue_depth=1)
    # By then it would have told of the first one, too.
    daemon.wait_for("alarming finding")
    assert silences(daemon) == 2
    assert [each["agent_id"] for each in daemon.events() if "agent_id" in each] == [
        "scout",
        "other",
    ]
