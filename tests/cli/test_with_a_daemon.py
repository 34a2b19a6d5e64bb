"""The verbs against a daemon that was given records: their numbers are those of the records."""

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.buddyctl import buddyctl
from tests.support.process import DaemonProcess, execution

RECORDS = 40
FAILED = 8


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("d")) as daemon:
        now = time.time()
        records = [
            execution(
                agent_id="scout",
                tool_name="fetch",
                task_id=f"t-{n}",
                finished_at=now - 2 * n,
                duration_seconds=1.0 + n % 3,
                cost_actual=0.25,
                success=n % 5 != 0,
                error_type=None if n % 5 else "timeout",
            )
            for n in range(RECORDS)
        ]
        daemon.call("record_executions", executions=records)
        yield daemon


def answered(daemon: DaemonProcess, *arguments: str) -> str:
    done = buddyctl(*arguments, socket=daemon.socket)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_table_and_the_csv_have_the_counts(daemon: DaemonProcess) -> None:
    (row,) = csv.DictReader(io.StringIO(answered(daemon, "learning", "--format", "csv")))
    assert (row["tool_name"], int(row["total_executions"])) == ("fetch", RECORDS)
    assert float(row["success_rate"]) == 1 - FAILED / RECORDS


@pytest.mark.parametrize("narrowed", [[], ["--tool", "fetch"], ["--agent", "scout"]])
@pytest.mark.parametrize(("what", "total"), [("tasks", RECORDS), ("costs", RECORDS * 0.25)])
def test_a_plot_adds_up(
    daemon: DaemonProcess, what: str, total: float, narrowed: list[str]
) -> None:
    document = json.loads(answered(daemon, "plot", what, *narrowed, "--json"))
    values = [point["value"] for point in document["points"]]
    assert sum(values) == pytest.approx(total)


def test_the_explanations_name_the_counts(daemon: DaemonProcess) -> None:
    of_tool = answered(daemon, "explain", "fetch")
    assert f"ran {RECORDS} times in the last 30 days: 32 succeeded and {FAILED} failed" in of_tool
    assert f"{FAILED} of {RECORDS} executions failed. The most frequent error is timeout" in of_tool
    of_agent = answered(daemon, "explain", "scout")
    assert f"It finished {RECORDS} executions, 80.0 % of them successfully" in of_agent


def test_the_metrics_have_them_too(daemon: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "buddyd.prom"
    answered(daemon, "metrics", "--output", str(file))
    found = {
        (sample.name, sample.labels.get("outcome") or sample.labels.get("result")): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }
    assert found["buddyd_tool_month_executions", "failure"] == FAILED
    assert found["buddyd_records_total", "accepted"] == RECORDS
    assert found["buddyd_day_cost_dollars", None] == RECORDS * 0.25
