"""Ids that the daemon gives, and what a record may hold."""

import time
import unicodedata
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddyd.domain.execution import Execution, new_execution_id
from buddyd.domain.journal import microseconds, nanodollars

LEAST: dict[str, Any] = {
    "task_id": "t",
    "agent_id": "a",
    "tool_name": "x",
    "duration_seconds": 0,
    "success": True,
}


def test_ids_are_uuids_of_version_7_in_their_usual_form() -> None:
    for _ in range(1000):
        text = new_execution_id()
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_ids_hold_the_time_of_their_making() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_execution_id()).int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_differ_and_sort_by_time() -> None:
    ids = [new_execution_id() for _ in range(5000)]
    assert len(set(ids)) == len(ids)
    times = [uuid.UUID(text).int >> 80 for text in ids]
    assert times == sorted(times)
    assert [text[:13] for text in ids] == sorted(text[:13] for text in ids)


@pytest.mark.parametrize(
    "given",
    [
        {"duration_seconds": 2_592_000, "cost_actual": 1e6, "cost_estimate": 1e6},
        {"tokens_used": 10**12, "human_effort_level": "HIGH", "error_type": "e" * 128},
        {"task_id": "😀" * 256, "agent_id": "[red]", "tool_name": " ", "execution_id": "\n" * 64},
    ],
)
def test_the_bounds_themselves_are_within(given: dict[str, Any]) -> None:
    for encode, decode in (
        (msgspec.json.encode, msgspec.json.decode),
        (msgspec.msgpack.encode, msgspec.msgpack.decode),
    ):
        execution = decode(encode(LEAST | given), type=Execution)
        assert {name: getattr(execution, name) for name in given} == given


@pytest.mark.parametrize(
    "given",
    [
        {"duration_seconds": 2_592_000.1},
        {"duration_seconds": -1e-9},
        {"duration_seconds": float("nan")},
        {"cost_actual": float("inf")},
        {"cost_estimate": 1_000_000.1},
        {"tokens_used": 10**12 + 1},
        {"tokens_used": -1},
        {"finished_at": float("nan")},
        {"finished_at": 1e300},
        {"task_id": ""},
        {"agent_id": "a" * 257},
        {"error_type": ""},
        {"execution_id": "x" * 65},
        {"human_effort_level": "low"},
        {"success": 1},
        {"cost": 1.0},
    ],
)
def test_what_lies_outside_of_them_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(LEAST | given), type=Execution)


@pytest.mark.parametrize(("dollars", "expected"), [(0.1, 10**8), (1e-9, 1), (1e6, 10**15)])
def test_money_is_whole_billionths(dollars: float, expected: int) -> None:
    assert nanodollars(dollars) == expected


def test_a_duration_is_whole_millionths() -> None:
    assert microseconds(0.1) + microseconds(0.2) == microseconds(0.3)
    assert microseconds(2_592_000.0) == 2_592_000 * 10**6


@example(field="error_type", text="\x85")
@given(
    field=st.sampled_from(["task_id", "agent_id", "tool_name", "error_type"]),
    text=st.text(min_size=1),
)
def test_a_text_is_faulty_where_it_holds_a_control_character(field: str, text: str) -> None:
    execution = Execution(**(LEAST | {field: text}))
    holds_one = any(unicodedata.category(character) == "Cc" for character in text)
    assert execution.faulty_text() == (field if holds_one else None)
