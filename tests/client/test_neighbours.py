"""Cost trackers, budget trackers and energy models as agents have them: objects, modules, files."""

import json
import logging
import os
import time
import types
from collections.abc import Iterator
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import pytest

from buddyd.client import Client
from buddyd.client.calls import Call
from buddyd.client.neighbours import Misshapen, Neighbours
from buddyd.domain.answers import Done
from buddyd.errors import BuddydError, Unavailable
from buddyd.protocol.messages import ReportBudget, ReportCosts
from tests.support.process import PATIENCE_SECONDS, DaemonProcess


class Heard:
    """In the place of a client: what was reported, while the daemon is not away."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.away: BuddydError | None = None

    def call(self, call: Call[Done]) -> Done:
        if self.away is not None:
            raise self.away
        self.reports.append(call.params)
        return Done()


class Tracker:
    def __init__(self, given: object) -> None:
        self.given = given

    def get_actual_costs(self) -> object:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def get_budgets(self) -> object:
        return self.get_actual_costs()


def heard_of(**neighbours: object) -> tuple[list[Any], list[str]]:
    """What is reported of neighbours, and what is said of them."""
    heard, said = Heard(), list[str]()
    Neighbours(**neighbours, say=said.append).sync(heard)  # type: ignore[arg-type]
    return heard.reports, said


TOTALS = {"total_actual_usd": 1.5, "total_estimated_usd": 2.0}


@pytest.mark.parametrize(
    ("given", "missions"),
    [
        (TOTALS, [None]),
        (1.5, [None]),
        ({"m-1": TOTALS, "m-2": TOTALS}, ["m-1", "m-2"]),
        ([{"mission_id": "m-1", **TOTALS}, {"mission": 2, **TOTALS}], ["m-1", "2"]),
        ([], []),
    ],
)
def test_a_cost_tracker_may_give_a_total_or_missions(
    given: object, missions: list[str | None]
) -> None:
    reports, said = heard_of(cost_tracker=Tracker(given), source="mine")
    assert said == []
    assert [r.mission_id or None for r in reports] == missions
    assert all((r.source, r.total_actual_usd) == ("mine", 1.5) for r in reports)


def test_a_module_is_as_good_as_an_object() -> None:
    module = types.ModuleType("tracker")
    module.get_actual_costs = lambda: TOTALS  # type: ignore[attr-defined]
    module.get_budget_status = lambda: {"llm": {"limit": 5, "spent": 1, "period": "daily"}}  # type: ignore[attr-defined]
    reports, _ = heard_of(cost_tracker=module, budget_tracker=module)
    assert reports == [
        ReportCosts(source="cost_tracker", total_actual_usd=1.5, total_estimated_usd=2.0),
        ReportBudget(service="llm", limit_usd=5.0, period="day", spent_usd=1.0),
    ]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "NoneType is no cost"),
        ({"total_actual_usd": "much"}, "total_actual_usd is 'much'"),
        ({"total_actual_usd": -1.0}, "must not be negative"),
        ({"total_actual_usd": 1.0, "since": "yesterday"}, "'yesterday' is no time"),
        (True, "bool is no cost"),
        (ZeroDivisionError("oops"), "oops"),
    ],
)
def test_what_a_tracker_gives_that_is_no_cost_is_said_once(given: object, reason: str) -> None:
    heard, said = Heard(), list[str]()
    neighbours = Neighbours(cost_tracker=Tracker(given), say=said.append)
    assert [neighbours.sync(heard), neighbours.sync(heard)] == [0, 0]
    assert len(said) == 1
    assert reason in said[0]
    assert "get_actual_costs()" in said[0]


@pytest.mark.parametrize("name", ["cost_tracker", "budget_tracker", "human_energy_model"])
def test_what_is_no_neighbour_is_refused_at_once(name: str) -> None:
    with pytest.raises(Misshapen, match=name.replace("_", ".") + " is 5|5 is no human energy"):
        Neighbours(**{name: 5})  # type: ignore[arg-type]


def write(path: Path, *lines: object, end: str = "\n") -> None:
    with path.open("a") as file:
        for line in lines:
            file.write((line if isinstance(line, str) else json.dumps(line)) + end)


def mission(number: int, **more: object) -> dict[str, object]:
    return {"mission_id": f"m-{number}", "total_actual_usd": float(number), **more}


def follow(path: Path) -> Iterator[list[str]]:
    """The missions that each further look at a file brings."""
    heard = Heard()
    neighbours = Neighbours(cost_tracker=path)
    while True:
        heard.reports.clear()
        neighbours.sync(heard)
        yield [report.mission_id for report in heard.reports]


def test_a_file_is_followed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    looks = follow(path)
    assert next(looks) == []
    write(path, mission(1), mission(2))
    assert next(looks) == ["m-1", "m-2"]
    assert next(looks) == []
    write(path, '{"mission_id": "m-3", "total_act', end="")
    assert next(looks) == []
    write(path, 'ual_usd": 3.0}')
    assert next(looks) == ["m-3"]


def test_lines_of_a_file_that_was_removed_since_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    looks = follow(path)
    write(path, mission(1))
    assert next(looks) == ["m-1"]
    write(path, mission(2), mission(3))
    path.unlink()
    assert next(looks) == ["m-2", "m-3"]


def test_a_file_that_was_replaced_is_read_to_its_end_first(tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    looks = follow(path)
    write(path, mission(1))
    assert next(looks) == ["m-1"]
    write(path, mission(2))
    write(path, mission(3), end="")
    path.rename(tmp_path / "costs.jsonl.1")
    write(path, mission(4))
    assert next(looks) == ["m-2", "m-3", "m-4"]
    path.unlink()
    assert next(looks) == []
    write(path, mission(5))
    assert next(looks) == ["m-5"]


HUGE = "9" * 401
ODD_LINES = [
    f'{{"total_actual_usd": {HUGE}}}',
    f'{{"total_actual_usd": 1, "since": {HUGE}}}',
    f'{{"total_actual_usd": 1, "until": -{HUGE}}}',
    '{"total_actual_usd": 1, "since": "0001-01-01"}',
    '{"total_actual_usd": 1, "mission_id": "\\udc00 and more"}',
    '{"total_actual_usd": 1, "mission_id": ["\\ud800 and more"]}',
]


@pytest.mark.parametrize("odd", ODD_LINES)
def test_an_odd_line_is_passed_over_and_those_behind_it_are_reported(
    tmp_path: Path, odd: str
) -> None:
    path = tmp_path / "costs.jsonl"
    write(path, odd, mission(2))
    reports, said = heard_of(cost_tracker=path)
    assert [report.mission_id for report in reports] == ["m-2"]
    assert len(said) == 1
    assert "line 1 is passed over" in said[0]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"total_actual_usd": 1, "mission": "\udc00"}, r"mission_id is '\udc00', which is no text"),
        ({"total_actual_usd": 10**400}, "must be finite"),
    ],
)
def test_what_an_object_gives_that_cannot_be_sent_is_said(given: object, reason: str) -> None:
    reports, said = heard_of(cost_tracker=Tracker(given))
    assert reports == []
    assert reason in said[0]


def test_a_service_that_is_no_text_is_said() -> None:
    given = {"\ud800": {"limit": 5, "spent": 1}}
    reports, said = heard_of(budget_tracker=Tracker(given))
    assert reports == []
    assert "service is '\\ud800', which is no text" in said[0]


def test_a_file_that_was_truncated_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    looks = follow(path)
    write(path, mission(1), mission(2))
    assert next(looks) == ["m-1", "m-2"]
    os.truncate(path, 0)
    # Grown past the place where it was left off, too.
    write(path, *[mission(number) for number in range(7, 11)])
    assert next(looks) == ["m-7", "m-8", "m-9", "m-10"]


def test_a_line_that_says_nothing_is_named_with_its_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "costs.jsonl"
    long = json.dumps({"x": "y" * 2_000_000})
    write(path, mission(1), "{oops", "", '{"total_actual_usd": null}', long, mission(2))
    heard = Heard()
    neighbours = Neighbours(cost_tracker=path)
    with caplog.at_level(logging.WARNING, "buddyd.client"):
        assert neighbours.sync(heard) == 2
        neighbours.sync(heard)
    assert [report.mission_id for report in heard.reports] == ["m-1", "m-2"]
    said = [record.getMessage() for record in caplog.records]
    assert [f"{path}, line {number}" in said[i] for i, number in enumerate((2, 4, 5))] == [True] * 3
    assert len(said) == 3


def test_a_file_that_is_read_again_says_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    write(path, mission(1, timestamp="2027-01-15T08:00:00Z"), {"total_actual_usd": 3.0})
    os.utime(path, (1.6e9, 1.6e9))
    first, _ = heard_of(cost_tracker=path)
    again, _ = heard_of(cost_tracker=str(path))
    assert first == again
    assert [report.until for report in first] == [1_800_000_000.0, 1.6e9]
    assert first[1].mission_id.startswith("line-")


def test_what_could_not_be_reported_is_reported_later_and_only_as_it_is_then() -> None:
    heard, tracker = Heard(), Tracker(1.0)
    neighbours = Neighbours(cost_tracker=tracker, say=lambda _: None)
    heard.away = Unavailable("It is stopping.")
    with pytest.raises(Unavailable):
        neighbours.sync(heard)
    heard.away, tracker.given = None, 2.0
    assert neighbours.sync(heard) == 1
    assert [report.total_actual_usd for report in heard.reports] == [2.0]


class Named(Enum):
    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Valued(Enum):
    RESTED = "low"
    TIRED = "medium"
    WORN = "high"


class Other(IntEnum):
    LOW = 0
    MEDIUM = 1
    HIGH = 2


@pytest.mark.parametrize(
    ("model", "level", "name"),
    [
        (Named, Named.LOW, "LOW"),
        (Named, 3, "HIGH"),
        (types.SimpleNamespace(EffortLevel=Valued), Valued.TIRED, "MEDIUM"),
        (types.SimpleNamespace(EffortLevel=Valued), "high", "HIGH"),
        (Other, Other.LOW, "LOW"),
        (None, Valued.WORN, "HIGH"),
        (None, "Medium", "MEDIUM"),
        (None, "enormous", "ENORMOUS"),
        (Named, 17, 17),
        (Named, [], []),
    ],
)
def test_the_levels_of_an_energy_model(model: object, level: object, name: object) -> None:
    assert Neighbours(human_energy_model=model).effort(level) == name


def test_what_they_count_arrives_in_the_answer_of_a_daemon(tmp_path: Path) -> None:
    costs, budgets = tmp_path / "costs.jsonl", tmp_path / "budgets.jsonl"
    write(costs, mission(1, total_estimated_usd=1.0))
    write(budgets, {"service": "llm", "limit_usd": 20, "spent_usd": 30, "period": "total"})
    neighbours = Neighbours(cost_tracker=costs, budget_tracker=budgets)
    with DaemonProcess(tmp_path) as daemon, Client(daemon.socket) as client:
        assert neighbours.sync(client) == 2
        answer = client.get_api_usage_and_costing()
    (source,) = answer.reconciliation
    assert (source.source, source.reported_actual) == ("cost_tracker", 1.0)
    (budget,) = answer.budgets
    assert budget.exhausted
    assert budget.warning is not None
    assert budget.warning.severity == "alarm"


def test_a_thread_reports_by_itself(tmp_path: Path) -> None:
    tracker = Tracker({"total_actual_usd": 2.5})
    with DaemonProcess(tmp_path) as daemon, Client(daemon.socket) as client:
        neighbours = Neighbours(cost_tracker=tracker)
        neighbours.start(client, every=0.01)
        end = time.monotonic() + PATIENCE_SECONDS
        while not (sources := client.get_api_usage_and_costing().reconciliation):
            assert time.monotonic() < end
        neighbours.close()
    assert sources[0].reported_actual == 2.5


def test_the_thread_survives_what_nobody_foresaw() -> None:
    class Broken(Heard):
        def call(self, call: Call[Done]) -> Done:
            self.reports.append(call.params)
            raise ZeroDivisionError("oops")

    said: list[str] = []
    broken = Broken()
    neighbours = Neighbours(cost_tracker=Tracker(1.0), say=said.append)
    neighbours.start(broken, every=0.01)
    end = time.monotonic() + PATIENCE_SECONDS
    while len(broken.reports) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    neighbours.close()
    assert said == ["What trackers count is not reported for now: ZeroDivisionError('oops')"]
