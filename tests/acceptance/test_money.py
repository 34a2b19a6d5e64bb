"""Budgets and reports over a real socket: from the configuration, through reloads and kills."""

import signal
import time
from pathlib import Path
from typing import Any

from tests.support.process import DaemonProcess, execution

MONTH = '[[budget]]\nlimit = 10.0\nperiod = "month"\n'
OF_SCOUT = '[[budget]]\nlimit = 1.0\nperiod = "day"\nagent = "scout"\n'
LLM = {"service": "llm", "limit_usd": 20.0, "period": "total", "spent_usd": 8.0}


def daemon_with(folder: Path, configuration: str) -> DaemonProcess:
    file = folder / "buddyd.toml"
    file.write_text(f'timezone = "Europe/Berlin"\n{configuration}')
    return DaemonProcess(folder, "--config", str(file))


def spend(daemon: DaemonProcess, dollars: float, **given: object) -> None:
    answer = daemon.call("record_execution", **execution(cost_actual=dollars, **given))
    assert answer["result"]["accepted"] == 1


def costs(daemon: DaemonProcess) -> dict[str, Any]:
    answer: dict[str, Any] = daemon.call("get_api_usage_and_costing")["result"]
    return answer


def used(daemon: DaemonProcess) -> dict[tuple[str, str | None], float]:
    return {(each["scope"], each["name"]): each["used"] for each in costs(daemon)["budgets"]}


def reload(daemon: DaemonProcess, configuration: str) -> None:
    (daemon.folder / "buddyd.toml").write_text(configuration)
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("configuration reloaded")


def test_budgets_are_counted_through_kills_stops_and_reloads(tmp_path: Path) -> None:
    daemon = daemon_with(tmp_path, MONTH + OF_SCOUT)
    with daemon:
        spend(daemon, 0.5, agent_id="scout")
        spend(daemon, 0.25, agent_id="zoe")
        assert used(daemon) == {("all", None): 0.75, ("agent", "scout"): 0.5}
        daemon.stop(signal.SIGKILL)
        daemon.start()
        spend(daemon, 0.75, agent_id="scout")
        assert used(daemon) == {("all", None): 1.5, ("agent", "scout"): 1.25}
        assert costs(daemon)["budgets"][1]["warning"]["severity"] == "alarm"
        daemon.stop()
        daemon.start()
        assert used(daemon) == {("all", None): 1.5, ("agent", "scout"): 1.25}
        reload(daemon, f'{MONTH}tool = "tool"\n')
        found = costs(daemon)["budgets"]
        assert [(each["scope"], each["name"]) for each in found] == [("tool", "tool")]
        reload(daemon, MONTH + OF_SCOUT)
        assert used(daemon)["agent", "scout"] == 1.25


def test_what_trackers_report_survives_a_kill_and_comes_again_without_effect(
    tmp_path: Path,
) -> None:
    now = time.time()
    report = {
        "source": "tracker",
        "mission_id": "m-1",
        "total_actual_usd": 1.0,
        "since": now - 60,
        "until": now,
    }
    with daemon_with(tmp_path, "") as daemon:
        spend(daemon, 0.75, finished_at=now - 30)
        assert daemon.call("report_costs", **report)["result"] == {}
        assert daemon.call("report_budget", **LLM)["result"] == {}
        before = costs(daemon)
        assert before["reconciliation"][0]["compared"]["difference_actual"] == 0.25
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert costs(daemon)["reconciliation"] == before["reconciliation"]
        daemon.call("report_costs", **report)
        daemon.call("report_budget", **LLM)
        assert costs(daemon)["reconciliation"] == before["reconciliation"]
        assert used(daemon) == {("service", "llm"): 8.0}
        assert daemon.stop() == 0


WRONG: list[tuple[str, dict[str, object], str]] = [
    ("report_costs", {"since": 9.0, "until": 8.0}, "$.since"),
    ("report_costs", {"since": 9e9}, "$.since"),
    ("report_costs", {"until": 9e9}, "$.until"),
    ("report_costs", {"total_actual_usd": -1.0}, "$.total_actual_usd"),
    ("report_costs", {"mission_id": "a\x1fb"}, "$.mission_id"),
    ("report_costs", {"mission": "a"}, "$.mission"),
    ("report_budget", {"limit_usd": 0.0}, "$.limit_usd"),
    ("report_budget", {"period": "week"}, "$.period"),
    ("report_budget", {"spent_usd": 1e10}, "$.spent_usd"),
]


def test_a_wrong_report_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    right = {"report_budget": LLM, "report_costs": {"source": "t", "total_actual_usd": 1.0}}
    with DaemonProcess(tmp_path) as daemon:
        answers = daemon.call_all(
            [(method, {**right[method], **given}) for method, given, _ in WRONG]
        )
        errors = [answer["error"] for answer in answers]
        assert [error["data"]["path"] for error in errors] == [path for _, _, path in WRONG]
        assert {error["code"] for error in errors} == {-32602}
        assert "expected a number, at least 1e-09" in errors[6]["message"]
        assert "expected day, month or total" in errors[7]["message"]
        assert costs(daemon)["reconciliation"] == costs(daemon)["budgets"] == []
