"""When a tool's level changed, as its profile tells it."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from buddyd.domain.answers import ToolProfile
from buddyd.domain.journal import ExecutionRecorded
from buddyd.domain.segment import segments
from buddyd.domain.settings import DomainSettings
from buddyd.domain.tools import Tools
from tests.domain.test_invariance import DAY, HOUR, NOW

SETTINGS = DomainSettings()


class Life:
    """A tool's executions as they are recorded."""

    def __init__(self, tools: Tools | None = None) -> None:
        self.tools = tools or Tools(SETTINGS)
        self._seq = 0

    def records(self, at: float, *successes: bool, finished_at: float | None = None) -> None:
        entries = []
        for success in successes:
            self._seq += 1
            entries.append(_execution(self._seq, at, finished_at or at, success))
        for segment in segments(entries, 500):
            self.tools.fold(segment)

    def profile(self, now: float) -> ToolProfile:
        (found,) = self.tools.answer(now).tool_profiles
        return found

    def changed(self, now: float) -> tuple[str | None, str, str | None]:
        found = self.profile(now)
        return found.previous_level, found.confidence_level, found.level_changed_at


def _execution(seq: int, at: float, finished_at: float, success: bool) -> ExecutionRecorded:
    fields: dict[str, Any] = {"agent": "ann", "tool": "search", "execution_id": "", "task_id": "t"}
    return ExecutionRecorded(
        seq=seq,
        recorded_at=at,
        finished_at=finished_at,
        duration=0,
        success=success,
        cost=0,
        estimate=0,
        tokens=0,
        effort="MEDIUM",
        browser=False,
        error_type=None,
        **fields,
    )


def rfc3339(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_new_tool_has_not_changed() -> None:
    life = Life()
    life.records(NOW, True, False)
    assert life.changed(NOW) == (None, "MEDIUM", None)
    assert life.profile(NOW).level_change_reason is None


def test_the_execution_that_changed_it_tells_when_and_why() -> None:
    life = Life()
    life.records(NOW, True, True)
    life.records(NOW + 60, True)
    assert life.changed(NOW + 90) == ("MEDIUM", "HIGH", rfc3339(NOW + 60))
    life.records(NOW + 120, True, False)
    assert life.changed(NOW + 120) == ("HIGH", "MEDIUM", rfc3339(NOW + 120))
    reason = life.profile(NOW + 120).level_change_reason
    assert reason == "A failure was recorded: 4 of the 5 in 30 days succeeded."


def test_a_change_within_one_batch_is_seen() -> None:
    life = Life()
    life.records(NOW, *[True] * 19)
    life.records(NOW + 60, False, *[True] * 30)
    assert life.changed(NOW + 60)[:2] == ("MEDIUM", "HIGH")
    life = Life()
    life.records(NOW, *[True] * 10)
    life.records(NOW + 60, False, False, False, *[True] * 100)
    assert life.changed(NOW + 60) == ("MEDIUM", "HIGH", rfc3339(NOW + 60))


def test_it_changes_at_the_turn_of_the_hour_in_which_old_executions_leave() -> None:
    life = Life()
    life.records(NOW + 1800, False, False, True)
    life.records(NOW + 2 * DAY, *[True] * 5)
    assert life.profile(NOW + 2 * DAY).confidence_level == "LOW"
    left = NOW + 30 * DAY
    assert life.profile(left - 1).confidence_level == "LOW"
    assert life.changed(left) == ("LOW", "HIGH", rfc3339(left))
    assert life.profile(left).level_change_reason == (
        "Older executions left the 30-day window: 5 of the 5 in it succeeded."
    )
    # Long afterwards, whether or not anybody asked in between.
    life.records(left + 5 * HOUR, True)
    assert life.changed(left + 5 * HOUR) == ("LOW", "HIGH", rfc3339(left))


def test_a_tool_that_comes_back_after_the_window_begins_anew() -> None:
    life = Life()
    life.records(NOW, *[False] * 5)
    assert life.changed(NOW)[:2] == ("MEDIUM", "LOW")
    life.records(NOW + 31 * DAY, *[True] * 2)
    assert life.changed(NOW + 31 * DAY) == (None, "MEDIUM", None)


def test_a_late_record_changes_it_when_it_comes() -> None:
    life = Life()
    life.records(NOW, *[True] * 5)
    life.records(NOW + DAY, False, finished_at=NOW - DAY)
    assert life.changed(NOW + DAY) == ("HIGH", "MEDIUM", rfc3339(NOW + DAY))


def test_other_thresholds_are_no_change_of_the_tool() -> None:
    life = Life()
    life.records(NOW, *[True] * 9, False)
    stricter = Tools(msgspec.structs.replace(SETTINGS, medium_success_rate=0.92))
    stricter.restore(life.tools.changes())
    again = Life(stricter)
    assert again.changed(NOW) == (None, "LOW", None)
    again.records(NOW + 60, *[True] * 10)
    assert again.changed(NOW + 60) == ("MEDIUM", "HIGH", rfc3339(NOW + 60))


def test_counts_from_before_there_were_standings_are_taken_over() -> None:
    life = Life()
    life.records(NOW, *[True] * 20)
    earlier = [c for c in life.tools.changes() if not c.part.startswith("levels")]
    upgraded = Tools(SETTINGS)
    upgraded.restore(earlier)
    again = Life(upgraded)
    assert again.changed(NOW) == (None, "HIGH", None)
    again.records(NOW + 60, False, False)
    assert again.changed(NOW + 60) == ("HIGH", "MEDIUM", rfc3339(NOW + 60))


def test_a_clock_that_was_put_back_over_a_restart_brings_nothing_back() -> None:
    """What has left the window at one time does not count again in the hour before."""

    def lived(*, restarts: bool) -> ToolProfile:
        life = Life()
        life.records(NOW, True)
        life.records(NOW + 30 * DAY, *[True] * 5)
        if restarts:
            again = Tools(SETTINGS)
            again.restore(life.tools.changes())
            life.tools = again
        life.records(NOW + 30 * DAY - 60, *[False] * 3, finished_at=NOW + 10)
        return life.profile(NOW + 30 * DAY)

    whole = lived(restarts=False)
    assert whole.previous_level == "MEDIUM"
    assert whole.level_changed_at == rfc3339(NOW + 30 * DAY)
    assert lived(restarts=True) == whole
