"""Budgets and reports over a real socket: from the configuration, through reloads and kills."""

import signal
import time
from pathlib import Path
from typing import Any

from tests.support.outside import ObservedDaemon
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


# Findings


def observed(folder: Path, configuration: str) -> ObservedDaemon:
    file = folder / "buddyd.toml"
    file.write_text(f'timezone = "Europe/Berlin"\n{configuration}')
    return ObservedDaemon(folder, "--config", str(file))


def lasting(daemon: DaemonProcess) -> list[dict[str, Any]]:
    """What all three answers tell of budgets that last."""
    patterns = daemon.call("get_risk_patterns")["result"]
    history = daemon.call("get_risk_history", kind="budget")["result"]
    everything = daemon.call("get_all")["result"]["risks"]
    found: list[dict[str, Any]] = patterns["findings"]
    assert everything["findings"] == found
    assert everything["total_findings"] == patterns["total_findings"] == len(found)
    of_budgets = [each for each in found if each["kind"] == "budget"]
    assert [each for each in history["findings"] if each["ended"] is None] == of_budgets
    return of_budgets


def warnings(daemon: ObservedDaemon) -> list[str]:
    """What the log told of budgets, when all that was found is told."""
    daemon.call("cleanup_old_data")
    told = [each for each in daemon.events() if each["event"] == "budget warning"]
    assert all(each["summary"].startswith("The budget of $") for each in told)
    return [f"{each['severity']} {each['finding_id']}" for each in told]


def test_a_budget_is_a_finding_before_it_is_used_up_through_kills(tmp_path: Path) -> None:
    of_scout = '[[budget]]\nlimit = 10.0\nperiod = "month"\nagent = "scout"\n'
    with observed(tmp_path, of_scout) as daemon:
        spend(daemon, 9.0, agent_id="scout", execution_id="dear")
        (warned,) = lasting(daemon)
        assert (warned["severity"], warned["agent_id"]) == ("warning", "scout")
        assert warned["evidence"]["execution_ids"] == ["dear"]
        found = warned["finding_id"]
        assert warnings(daemon) == [f"warning {found}"]
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert lasting(daemon) == [warned]
        # Another thing that lasts: the worst come first.
        for _ in range(3):
            spend(daemon, 0.0, agent_id="zoe", tool_name="broken", success=False)
        spend(daemon, 2.0, agent_id="scout", execution_id="last")
        (alarm,) = lasting(daemon)
        assert (alarm["finding_id"], alarm["severity"]) == (found, "alarm")
        assert alarm["evidence"]["value"] == 11.0
        assert alarm["evidence"]["execution_ids"] == ["dear", "last"]
        kinds = [each["kind"] for each in daemon.call("get_risk_patterns")["result"]["findings"]]
        assert (kinds[0], "streak" in kinds) == ("budget", True)
        told = [f"warning {found}", f"alarm {found}"]
        assert warnings(daemon) == told
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert lasting(daemon) == [alarm]
        # More is spent, and it is no news.
        spend(daemon, 2.0, agent_id="scout")
        assert warnings(daemon) == told


def test_the_budget_of_a_service_is_a_finding_and_ends_with_a_higher_limit(tmp_path: Path) -> None:
    with observed(tmp_path, "") as daemon:
        daemon.call("report_budget", **(LLM | {"spent_usd": 20.0}))
        (found,) = lasting(daemon)
        assert (found["service"], found["severity"]) == ("llm", "alarm")
        assert found["summary"] == "The budget of $20.00 for llm is used up: $20.00 is spent."
        daemon.call("report_budget", **(LLM | {"spent_usd": 20.0, "limit_usd": 100.0}))
        assert lasting(daemon) == []
