"""Lines of JSON to executions."""

import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli import lines
from buddyd.cli.lines import LONGEST_LINE_BYTES, Record, Refusal
from buddyd.domain.execution import Execution
from tests.support.samples import execution

GOOD = msgspec.json.encode(execution(execution_id="e-1"))


def test_a_line_is_an_execution() -> None:
    assert lines.parse(3, GOOD + b"\n") == Record(3, execution(execution_id="e-1"), len(GOOD) + 1)


@pytest.mark.parametrize("blank", [b"", b"\n", b" \t \r\n"])
def test_a_blank_line_is_nothing(blank: bytes) -> None:
    assert lines.parse(1, blank) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            b'{"task_id":"t","agent_id":"a","tool_name":"w","duration_seconds":"1","success":true}',
            "line 17: $.duration_seconds: Expected a number, got text",
        ),
        (
            b'{"task_id":"t","agent_id":"a","tool_name":"w","success":true}',
            "line 17: $.duration_seconds: `duration_seconds` is missing",
        ),
        (
            b'{"durations":1}',
            "line 17: $.durations: There is no member `durations`; did you mean `duration_se",
        ),
        (GOOD[:-7], "line 17: $: Not valid JSON: Input data was truncated"),
        (b"[1, 2]", "line 17: $: Expected an object, got a list"),
        (b"tool,seconds", "line 17: $: Not valid JSON: JSON is malformed"),
        (b"\xff\xfe", "line 17: $: Not valid JSON: "),
    ],
)
def test_a_refusal_says_where_and_why(line: bytes, said: str) -> None:
    assert str(lines.parse(17, line)).startswith(said)


def test_a_line_without_an_end_is_cut_and_refused_and_counts_as_one() -> None:
    file = io.BytesIO(b"x" * (3 * LONGEST_LINE_BYTES + 5) + b"\n" + GOOD + b"\n")
    parsed = [lines.parse(number, line) for number, line in enumerate(lines.read(file), 1)]
    assert [type(each) for each in parsed] == [Refusal, Record]
    assert str(parsed[0]) == "line 1: $: Longer than 65536 bytes"


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_lines_about_the_limit_are_read_whole(surplus: int) -> None:
    long = b" " * (LONGEST_LINE_BYTES + surplus - 1) + b"\n"
    file = io.BytesIO(long + GOOD)
    assert [line[-1:] for line in lines.read(file)][-1] == GOOD[-1:]
    assert len(list(lines.read(io.BytesIO(long + GOOD)))) == 2


@given(st.lists(st.binary().map(lambda line: line.replace(b"\n", b""))))
def test_reading_loses_and_invents_no_line(written: list[bytes]) -> None:
    file = io.BytesIO(b"".join(line + b"\n" for line in written))
    assert [line.removesuffix(b"\n") for line in lines.read(file)] == written


@given(st.binary(max_size=200))
def test_no_line_is_too_odd_to_be_answered(line: bytes) -> None:
    assert isinstance(lines.parse(1, line), Record | Refusal | None)


_NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=256)


@given(
    st.builds(
        Execution,
        task_id=_NAMES,
        agent_id=_NAMES,
        tool_name=_NAMES,
        duration_seconds=st.floats(0, 2_592_000),
        success=st.booleans(),
        execution_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
        finished_at=st.floats(-6e10, 2e11),
        tokens_used=st.integers(0, 10**12),
        error_type=st.none() | _NAMES.filter(lambda name: len(name) <= 128),
    )
)
def test_every_execution_comes_back_from_its_line(written: Execution) -> None:
    for line in (msgspec.json.encode(written), json.dumps(msgspec.to_builtins(written)).encode()):
        parsed = lines.parse(1, line)
        assert isinstance(parsed, Record)
        assert parsed.execution == written
