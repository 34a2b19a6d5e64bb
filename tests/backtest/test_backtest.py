"""The backtest runs on any trace, and tells what the daemon's own answers tell."""

import math
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from buddyd.domain.capacity import Capacity
from buddyd.domain.forecast import Prediction
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from tests.backtest import confidence, forecasts, trends
from tests.backtest.traces import BEGIN, Trace, from_rates, read

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests/data/tau2_sample.jsonl"
HOURS = 100


def some_rates() -> Trace:
    random = Random(4)
    loads = [0.5 + 0.4 * math.sin(math.tau * hour / 24) for hour in range(HOURS)]
    return from_rates(
        "made",
        {
            "a": [
                (3600.0 * hour, min(0.5, load * random.random())) for hour, load in enumerate(loads)
            ]
        },
    )


def test_one_command_prints_every_table(tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("second,a,b\n" + "".join(f"{600 * n},{n % 7},0\n" for n in range(200)))
    written = tmp_path / "tables.md"
    files = [str(SAMPLE), str(rates), "--markdown", str(written)]
    command = [sys.executable, "-m", "tests.backtest", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for title in ("Forecast of the load", "Confidence", "Trend", "Cost spikes"):
        assert title in done.stdout
        assert f"**{title}" in written.read_text()
    assert [line for line in done.stdout.splitlines() if line.startswith("rates")]


def test_a_file_that_is_no_trace_is_named_with_the_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(SAMPLE.read_bytes().splitlines(keepends=True)[0] + b"{}\n")
    command = [sys.executable, "-m", "tests.backtest", str(broken), "--only", "forecast"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{broken}, line 2: ")


def test_the_error_is_the_one_that_the_daemon_tells_of_itself() -> None:
    trace = some_rates()
    end = BEGIN + 3600.0 * HOURS
    capacity = Capacity(DomainSettings())
    for segment in segments(trace.entries, 7):
        capacity.fold(segment)
    (told,) = capacity.answer(end).forecasts
    _, windows = forecasts.chosen(trace)
    found = forecasts.score(windows)
    assert found is not None
    assert found.windows == HOURS - 1
    assert found.errors[forecasts.OURS] == pytest.approx(told.forecast_error)
    assert found.coverage == pytest.approx(told.interval_coverage, abs=0.011)


def test_a_rule_that_is_right_has_no_error() -> None:
    trace = from_rates("flat", {"a": [(3600.0 * hour, 3.0) for hour in range(HOURS)]})
    found = forecasts.score(forecasts.chosen(trace)[1])
    assert found is not None
    assert found.errors["last value"] == pytest.approx(0.0, abs=1e-6)
    assert found.errors["always 100 %"] == pytest.approx(100.0)
    assert math.isnan(found.errors["response time"])


def test_the_table_tells_how_little_an_honest_interval_can_cover() -> None:
    def windows(last: float, loads: list[float]) -> list[forecasts.Window]:
        forecast = Prediction(0.0, 0.0, 0.4)
        return [forecasts.Window(load, forecast, (last, 0.0, 0.0, 0.0, 0.0)) for load in loads]

    after_idle = windows(0.0, [*[0.0] * 19, 0.5])
    after_busy = windows(0.3, [0.0, 0.1, 0.2, 0.3, 0.6])
    idle, busy, both = (
        forecasts.score(of) for of in (after_idle, after_busy, [*after_idle, *after_busy])
    )
    assert idle is not None
    assert busy is not None
    assert both is not None
    assert (idle.coverage, idle.least) == pytest.approx((0.95, 0.95))
    assert math.isnan(idle.after_busy)
    assert (busy.coverage, busy.after_busy, busy.least) == pytest.approx((0.8, 0.8, 0.8))
    assert (both.coverage, both.after_busy, both.least) == pytest.approx((0.92, 0.8, 0.92))


def test_an_execution_counts_as_the_rule_of_thumb_says() -> None:
    trace = read(SAMPLE)
    _, windows = forecasts.chosen(trace)
    # Their mean response takes 2 s: by that rule they are always free.
    assert {window.others[4] for window in windows} == {0.0}


def test_small_samples_make_more_false_verdicts_than_large_ones() -> None:
    table = confidence.table([read(SAMPLE)], rounds=3)
    assert [row[0] for row in table.rows] == [5, 5, 20, 20, 100, 100]


def test_where_nothing_fails_nothing_is_called_a_false_alarm() -> None:
    assert trends.false_alarms([True] * 300, Random(1)) == 0
