"""The drop-in answers like the engine that it stands in for, whatever the daemon does."""

import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import msgspec
import pytest

from buddyd.client import NotRunning, Recorder, TimedOut, buddy
from buddyd.client.buddy import AnalyticsEngine
from buddyd.protocol.messages import METHODS, ErrorCode
from tests.support.outside import until
from tests.support.peer import Asked, Ledger, Odd, Reply, refusal, running
from tests.support.process import DaemonProcess
from tests.support.samples import ANSWERS

QUERIES = [
    "get_agents_status",
    "get_predictive_capacity",
    "get_task_pipeline",
    "get_api_usage_and_costing",
    "get_system_learning",
    "get_risk_patterns",
    "get_tool_recommendations",
    "run_hourly_aggregation",
    "cleanup_old_data",
]


def engine(socket: Path, folder: Path, **options: object) -> AnalyticsEngine:
    recorder = Recorder(socket=socket, spool=folder / "spool")
    return AnalyticsEngine(recorder=recorder, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


def test_it_has_the_documented_arguments_with_their_defaults() -> None:
    parameters = list(inspect.signature(AnalyticsEngine.record_execution).parameters.values())[1:]
    assert [(each.name, each.default) for each in parameters] == [
        ("task_id", inspect.Parameter.empty),
        ("agent_id", inspect.Parameter.empty),
        ("tool_name", inspect.Parameter.empty),
        ("duration_seconds", inspect.Parameter.empty),
        ("success", inspect.Parameter.empty),
        ("cost_actual", 0.0),
        ("tokens_used", 0),
        ("human_effort_level", "MEDIUM"),
        ("browser_used", False),
    ]


@pytest.mark.parametrize("method", QUERIES)
def test_an_answer_is_the_daemons_as_a_plain_dictionary(tmp_path: Path, method: str) -> None:
    with running(lambda asked: ANSWERS[asked.method]) as peer, engine(peer.socket, tmp_path) as e:
        assert getattr(e, method)() == msgspec.to_builtins(ANSWERS[method])


def test_what_an_agent_records_is_what_its_dashboard_shows(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    class Effort(Enum):
        HIGH = "high"

    with engine(daemon.socket, tmp_path) as e:
        e.record_execution("t1", "scout", "web_search", 2.0, True, 0.5, 100, Effort.HIGH, True)
        for number in range(4):
            e.record_execution(f"t{number}", "scout", "broken", 1.0, success=False)
        assert e.recorder.flush(20)
        [status] = e.get_agents_status()["agents"]
        assert (status["agent_id"], status["executions_24h"]) == ("scout", 5)
        assert e.get_task_pipeline()["last_24_hours"]["failed_tasks"] == 4
        assert e.get_api_usage_and_costing()["costing"]["execution_costs_24h"] == 0.5
        assert e.tool_registry.get_tool_confidence("broken") == "LOW"
        assert e.tool_registry.get_tool_confidence("never-seen") == "MEDIUM"
        assert e.tool_registry.get_tools_by_confidence("low") == ["broken"]
        assert e.tool_registry.get_tools_by_confidence(Effort.HIGH) == []
        metrics = e.metrics_collector.get_recent_metrics(1)
        assert [each["task_id"] for each in metrics] == ["t3", "t2", "t1", "t0", "t1"]
        assert metrics[-1]["human_effort_level"] == "HIGH"
        assert e.metrics_collector.get_recent_metrics(0) == []


def test_what_its_trackers_count_is_in_the_costs(daemon: DaemonProcess, tmp_path: Path) -> None:
    class Tracker:
        def get_actual_costs(self) -> dict[str, float]:
            return {"total_actual_usd": 1.25, "total_estimated_usd": 1.5}

    budgets = tmp_path / "budgets.jsonl"
    budgets.write_text('{"service": "maps", "limit_usd": 5.0, "period": "day", "spent_usd": 2.0}\n')
    with engine(daemon.socket, tmp_path, cost_tracker=Tracker(), budget_tracker=budgets) as e:

        def told() -> list[object]:
            costs = e.get_api_usage_and_costing()
            sources = [each["reported_actual"] for each in costs["reconciliation"]]
            return [*sources, *(each["used"] for each in costs["budgets"])]

        until(lambda: told() == [1.25, 2.0], "the trackers' reports")


def test_a_tracker_of_no_known_shape_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cost_tracker"):
        AnalyticsEngine(socket=tmp_path / "none", cost_tracker=42)


def test_recent_metrics_come_from_as_many_pages_as_there_are(tmp_path: Path) -> None:
    ledger = Ledger()
    with running(ledger) as peer, engine(peer.socket, tmp_path) as e:
        for number in range(2500):
            e.record_execution(f"t{number}", "scout", "x", 1.0, success=True)
        assert e.recorder.flush(20)
        assert len(e.metrics_collector.get_recent_metrics(24)) == 2500


@pytest.mark.parametrize("method", QUERIES)
def test_without_a_daemon_an_answer_has_all_members_and_says_why(
    tmp_path: Path, method: str
) -> None:
    with engine(tmp_path / "none", tmp_path) as e:
        answer = getattr(e, method)()
    why = answer.pop("unavailable")
    assert str(tmp_path / "none") in why
    found = msgspec.convert(answer, METHODS[method].result)
    assert msgspec.to_builtins(found) == answer
    assert answer["timestamp"].endswith("Z")


def test_without_a_daemon_the_others_say_nothing_too(tmp_path: Path) -> None:
    with engine(tmp_path / "none", tmp_path) as e:
        assert e.metrics_collector.get_recent_metrics(24) == []
        assert e.tool_registry.get_tool_confidence("x") == "MEDIUM"
        assert e.tool_registry.get_tools_by_confidence("HIGH") == []


def test_a_daemon_that_hangs_holds_a_dashboard_up_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(lambda _: Odd.SILENCE) as peer, engine(peer.socket, tmp_path, timeout=0.5) as e:
        began = time.monotonic()
        answers = [getattr(e, query)() for query in QUERIES]
        assert time.monotonic() - began < 0.5 * len(QUERIES)
        assert all("gave no answer within 0.5 s" in answer["unavailable"] for answer in answers)
        assert len(peer.asked) < len(QUERIES)
    assert len(caplog.records) == 1


def test_an_administrators_call_may_take_longer_and_is_no_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()

    def script(asked: Asked) -> Reply:
        if asked.method == "cleanup_old_data":
            done.wait()
        return ANSWERS[asked.method]

    with running(script) as peer, engine(peer.socket, tmp_path, timeout=0.1) as e:
        slow = threading.Timer(0.3, done.set)
        slow.start()
        assert e.cleanup_old_data() == msgspec.to_builtins(ANSWERS["cleanup_old_data"])
        done.clear()
        monkeypatch.setattr(buddy, "_ADMIN_SECONDS", 0.2)
        assert "within 0.2 s" in e.cleanup_old_data()["unavailable"]
        done.set()
        assert "unavailable" not in e.get_agents_status()


def test_a_daemon_that_is_back_is_asked_again(tmp_path: Path) -> None:
    with running(lambda asked: ANSWERS[asked.method]) as peer:
        peer.stop()
        with engine(peer.socket, tmp_path) as e:
            assert "unavailable" in e.get_agents_status()
            peer.start()
            e._daemon._ask_again_at = 0.0
            assert e.get_agents_status() == msgspec.to_builtins(ANSWERS["get_agents_status"])


def test_what_is_not_permitted_is_said_and_the_rest_is_answered(tmp_path: Path) -> None:
    def script(asked: Asked) -> Reply:
        if asked.method == "cleanup_old_data":
            return refusal(ErrorCode.NOT_PERMITTED, "The role admin is needed.")
        return ANSWERS[asked.method]

    with running(script) as peer, engine(peer.socket, tmp_path) as e:
        assert e.cleanup_old_data()["unavailable"] == "The role admin is needed."
        assert "unavailable" not in e.get_agents_status()


def test_strict_raises(tmp_path: Path) -> None:
    with engine(tmp_path / "none", tmp_path, strict=True) as e, pytest.raises(NotRunning):
        e.get_agents_status()
    with (
        running(lambda _: Odd.SILENCE) as peer,
        engine(peer.socket, tmp_path, strict=True, timeout=0.1) as e,
        pytest.raises(TimedOut),
    ):
        e.get_agents_status()


def test_the_paths_of_databases_may_be_assigned_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    e = engine(tmp_path / "none", tmp_path)
    e.metrics_collector.db_path = "/data/metrics.db"
    e.storage_manager.db_path = Path("/data/storage.db")
    assert e.metrics_collector.db_path == "/data/metrics.db"
    assert e.storage_manager.db_path == Path("/data/storage.db")
    [warning] = caplog.records
    assert "buddyd owns the database" in warning.getMessage()


def test_an_agent_that_only_records_loads_little() -> None:
    program = (
        "import sys; from buddyd.client.buddy import AnalyticsEngine; AnalyticsEngine();"
        "print({'msgspec', 'socket', 'logging', 'inspect', 'anyio'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"set()\n"
