"""Requests: what is one, and what is said of everything else."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from buddyd.domain.execution import Execution
from buddyd.errors import InvalidParams
from buddyd.protocol.framing import (
    Encoding,
    Framer,
    IncomingRequest,
    ProtocolError,
    decode_params,
    decode_request,
    decode_response,
    decode_result,
    encode_error,
    encode_request,
    encode_result,
)
from buddyd.protocol.messages import (
    METHODS,
    Backup,
    ErrorCode,
    ErrorData,
    ErrorObject,
    GetExecutions,
    GetHourlySummaries,
    RecordExecutions,
    ReportAgent,
    ReportBudget,
    ReportCosts,
    Request,
    Role,
    StartExecution,
    Subscribe,
    Unsubscribe,
)
from buddyd.protocol.wording import lowered
from tests.support.samples import ANSWERS

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK
DEEP = 100_000

EXECUTION: dict[str, Any] = {
    "task_id": "t",
    "agent_id": "a",
    "tool_name": "x",
    "duration_seconds": 1,
    "success": True,
}


def encoded(encoding: Encoding, value: object) -> bytes:
    return msgspec.json.encode(value) if encoding is JSON else msgspec.msgpack.encode(value)


def refused(encoding: Encoding, message: bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        decode_request(encoding, message)
    return caught.value


def params(method: str, raw: bytes, encoding: Encoding = JSON) -> Request | Execution:
    request = IncomingRequest(method=method, id=1, params=msgspec.Raw(raw))
    return decode_params(encoding, request, METHODS[method].params)


def wrong(method: str, raw: bytes, encoding: Encoding = JSON) -> tuple[str, str]:
    """What is wrong with these parameters, and where."""
    with pytest.raises(InvalidParams) as caught:
        params(method, raw, encoding)
    return caught.value.path, caught.value.reason


def wrong_execution(encoding: Encoding = JSON, **members: object) -> tuple[str, str]:
    return wrong("record_execution", encoded(encoding, {**EXECUTION, **members}), encoding)


# The envelope


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("id_", [1, 0, -(2**63), 2**63 - 1, 1.5, 1.0, "", "a", "\u2028", None])
def test_an_id_comes_back_as_it_was_sent(encoding: Encoding, id_: object) -> None:
    request = decode_request(encoding, encoded(encoding, {"id": id_, "method": "ping"}))
    assert request.wants_answer
    assert request.answer_id == id_
    assert type(request.answer_id) is type(id_)


@pytest.mark.parametrize("encoding", Encoding)
def test_without_an_id_it_is_a_notification(encoding: Encoding) -> None:
    request = decode_request(encoding, encoded(encoding, {"method": "ping"}))
    assert not request.wants_answer
    assert request.answer_id is None


AN_ID = "expected a whole number, a number, text or null"


@pytest.mark.parametrize(
    ("message", "sentence", "id_"),
    [
        (b"[]", "expected an object, got a list", None),
        (b'[{"id":1,"method":"ping"}]', "expected an object, got a list", None),
        (b'"ping"', "expected an object, got text", None),
        (b"null", "expected an object, got null", None),
        (b"{}", "`method` is missing", None),
        (b'{"id":5}', "`method` is missing", 5),
        (b'{"id":"five","method":7}', "expected text, got a whole number", "five"),
        (
            b'{"id":5,"method":"ping","parms":{}}',
            "there is no member `parms`; did you mean `params`?",
            5,
        ),
        (b'{"jsonrpc":"1.0","id":5,"method":"ping"}', "expected 2.0, got '1.0'", 5),
        (
            b'{"id":true,"method":"ping"}',
            "expected a whole number, a number, text or null, got true or false",
            None,
        ),
        (
            b'{"id":[1],"method":"ping"}',
            "expected a whole number, a number, text or null, got a list",
            None,
        ),
        (
            b'{"id":9223372036854775808,"method":"ping"}',
            "expected a whole number, at most 9223372036",
            None,
        ),
        (
            b'{"id":%d,"method":"ping"}' % 10**40,
            "expected a whole number, at most 9223372036",
            None,
        ),
        (b'{"id":1e999,"method":"ping"}', "number out of range", None),
    ],
)
def test_what_is_no_request_is_told_why(message: bytes, sentence: str, id_: object) -> None:
    error = refused(JSON, message)
    assert error.code == ErrorCode.INVALID_REQUEST
    assert str(error).startswith(f"This is not a JSON-RPC 2.0 request: {sentence}")
    assert str(error).endswith((".", "?"))
    assert error.reason
    assert error.request_id == id_


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (b'{"id":1', "input data was truncated"),
        (b"{'id':1}", "malformed"),
        (b'{"id":1,"method":"ping"} x', "trailing characters"),
        (b'{"id":NaN,"method":"ping"}', "malformed"),
        (b'{"method":"\xff"}', "not UTF-8"),
        (b"[[[[", "truncated"),
        (b"[1, nope]", "invalid character"),
        (b'{"id":"\\ud800","method":"ping"}', "surrogate"),
        (b"\x00\x01", "malformed"),
        (b'{"method":"ping","params":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested too deeply"),
        (b'{"method":"ping","params":' + b'{"a":' * DEEP, "nested too deeply"),
    ],
)
def test_what_is_no_json_is_told_so(message: bytes, part: str) -> None:
    error = refused(JSON, message)
    assert error.code == ErrorCode.PARSE_ERROR
    assert str(error).startswith("The message is not valid JSON: ")
    assert part in str(error)


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (b"", "truncated"),
        (b"\xc1", "invalid opcode"),
        (b"\x81\xa2id", "truncated"),
        (msgspec.msgpack.encode({"method": "ping"}) + b"\x00", "trailing characters"),
        (b"\x81\xa6method\xa2\xff\xff", "not UTF-8"),
        (b"\x93", "truncated"),
        (b"\x82\xa6method\xa4ping\xa6params" + b"\x91" * DEEP + b"\xc0", "nested too deeply"),
        (b"\x81\xa6method\xdb\xff\xff\xff\xff", "truncated"),
    ],
)
def test_what_is_no_messagepack_is_told_so(message: bytes, part: str) -> None:
    error = refused(MSGPACK, message)
    assert error.code == ErrorCode.PARSE_ERROR
    assert str(error).startswith("The message is not valid MessagePack: ")
    assert part in str(error)


@given(st.binary(max_size=200), st.sampled_from(Encoding))
def test_no_bytes_do_anything_but_decode_or_be_refused(message: bytes, encoding: Encoding) -> None:
    with suppress(ProtocolError, InvalidParams):
        request = decode_request(encoding, message)
        for method in METHODS.values():
            decode_params(encoding, request, method.params)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
members = st.dictionaries(
    st.sampled_from([*Execution.__struct_fields__, *GetExecutions.__struct_fields__, "executions"]),
    values | st.text() | st.floats(),
)


@given(st.sampled_from(sorted(METHODS)), members)
def test_no_parameters_do_anything_but_decode_or_be_refused(
    method: str, given_: dict[str, object]
) -> None:
    with suppress(InvalidParams):
        params(method, encoded(MSGPACK, given_), MSGPACK)


# Parameters


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_nothing_or_says_what_is_missing(
    method: str, encoding: Encoding
) -> None:
    required = {
        "record_execution": "task_id",
        "record_executions": "executions",
        "start_execution": "task_id",
        "report_agent": "agent_id",
        "report_costs": "source",
        "report_budget": "service",
        "subscribe": "events",
        "unsubscribe": "subscription",
        "backup": "path",
    }
    if field := required.get(method):
        expected = (f"$.{field}", f"`{field}` is missing")
        assert wrong(method, b"", encoding) == expected
        assert wrong(method, encoded(encoding, {}), encoding) == expected
    else:
        assert params(method, b"", encoding) == params(method, encoded(encoding, {}), encoding)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_takes_a_member_that_it_does_not_know(method: str) -> None:
    path, reason = wrong(method, b'{"zz it`":3}')
    assert (path, reason) == ("$.zz it`", "There is no member `zz it``")


@pytest.mark.parametrize("name", [5, b"task_id", None])
def test_a_name_of_a_member_that_is_no_text_is_told_with_its_place(name: object) -> None:
    given_ = {"executions": [{**EXECUTION, name: 1}]}
    path, reason = wrong("record_executions", encoded(MSGPACK, given_), MSGPACK)
    assert (path, reason) == ("$.executions[0]", "Expected text as the name of a member")


@pytest.mark.parametrize("raw", [b"null", b"[]", b"3", b'"x"'])
def test_parameters_are_an_object(raw: bytes) -> None:
    path, reason = wrong("ping", raw)
    assert path == "$"
    assert reason.startswith("Expected an object")


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("task_id", "", "Expected text, of a length of at least 1"),
        ("task_id", "x" * 257, "Expected text, of a length of at most 256"),
        ("agent_id", 7, "Expected text, got a whole number"),
        ("tool_name", "a\nb", "Expected text without control characters"),
        ("tool_name", "\x7f", "Expected text without control characters"),
        ("tool_name", "a\x85", "Expected text without control characters"),
        ("tool_name", "trailing\n", "Expected text without control characters"),
        ("error_type", "\x1b[31m", "Expected text without control characters"),
        ("error_type", "x" * 129, "Expected text, of a length of at most 128"),
        ("execution_id", "", "Expected text, of a length of at least 1"),
        ("execution_id", "x" * 65, "Expected text, of a length of at most 64"),
        ("duration_seconds", -0.001, "Expected a number, at least 0"),
        ("duration_seconds", 2_592_000.5, "Expected a number, at most 2592000"),
        ("duration_seconds", "1", "Expected a number, got text"),
        ("success", 1, "Expected true or false, got a whole number"),
        ("finished_at", 1e12, "Expected a number, at most 253402300799"),
        ("cost_actual", 1_000_000.01, "Expected a number, at most 1000000"),
        ("cost_estimate", -1, "Expected a number, at least 0"),
        ("tokens_used", -1, "Expected a whole number, at least 0"),
        ("tokens_used", 10**12 + 1, "Expected a whole number, at most 1000000000000"),
        ("tokens_used", 1.5, "Expected a whole number, got a number"),
        ("human_effort_level", "HUGE", "Expected LOW, MEDIUM or HIGH, got 'HUGE'"),
        ("browser_used", "yes", "Expected true or false, got text"),
    ],
)
@pytest.mark.parametrize("encoding", Encoding)
def test_what_is_out_of_bounds_is_told_with_its_path(
    encoding: Encoding, member: str, value: object, reason: str
) -> None:
    assert wrong_execution(encoding, **{member: value}) == (f"$.{member}", reason)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "member", ["duration_seconds", "finished_at", "cost_actual", "cost_estimate"]
)
def test_messagepack_lets_no_nan_and_no_infinity_through(member: str, value: float) -> None:
    path, reason = wrong_execution(MSGPACK, **{member: value})
    assert path == f"$.{member}"
    assert reason.startswith("Expected a number")


def test_json_lets_no_number_through_that_is_too_large_for_a_float() -> None:
    raw = encoded(JSON, EXECUTION).replace(b'"duration_seconds":1', b'"duration_seconds":1e999')
    assert wrong("record_execution", raw) == ("$.duration_seconds", "Number out of range")
    raw = encoded(JSON, EXECUTION).replace(b"true", b'true,"tokens_used":%d' % 10**400)
    assert wrong("record_execution", raw)[0] == "$.tokens_used"


def test_the_bounds_themselves_are_allowed() -> None:
    most: dict[str, object] = {
        "task_id": "x" * 256,
        "agent_id": "\u00a0 '\"\\<&é\U0001f600",
        "duration_seconds": 2_592_000,
        "cost_actual": 1_000_000,
        "tokens_used": 10**12,
        "execution_id": "i" * 64,
        "error_type": "e" * 128,
        "finished_at": -62_135_596_800,
    }
    found = params("record_execution", encoded(JSON, {**EXECUTION, **most}))
    assert {name: getattr(found, name) for name in most} == most


def test_the_path_leads_to_the_record_of_a_batch_that_is_wrong() -> None:
    good, bad = EXECUTION, {**EXECUTION, "duration_seconds": -1}
    raw = encoded(JSON, {"executions": [good, good, good, bad]})
    assert wrong("record_executions", raw)[0] == "$.executions[3].duration_seconds"
    raw = encoded(JSON, {"executions": [good, {"task_id": "t"}]})
    assert wrong("record_executions", raw)[0] == "$.executions[1].agent_id"
    raw = encoded(JSON, {"executions": [{**good, "costs": 1}]})
    assert wrong("record_executions", raw)[0] == "$.executions[0].costs"
    assert wrong("record_executions", b'{"executions":[]}')[0] == "$.executions"
    assert wrong("record_executions", b'{"executions":{}}')[0] == "$.executions"


def test_bad_utf8_in_parameters_is_no_json_and_keeps_the_id() -> None:
    raw = encoded(JSON, EXECUTION).replace(b'"t"', b'"\xff"')
    with pytest.raises(ProtocolError, match="not UTF-8") as caught:
        params("record_execution", raw)
    assert caught.value.code == ErrorCode.PARSE_ERROR
    assert caught.value.request_id == 1


# There and back

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40)
times = st.floats(-62_135_596_800, 253_402_300_799)
executions = st.builds(
    Execution,
    task_id=names,
    agent_id=names,
    tool_name=names,
    duration_seconds=st.floats(0, 2_592_000),
    success=st.booleans(),
    execution_id=names | st.just(UNSET),
    finished_at=times | st.just(UNSET),
    cost_actual=st.floats(0, 1_000_000),
    tokens_used=st.integers(0, 10**12),
    human_effort_level=st.sampled_from(["LOW", "MEDIUM", "HIGH"]),
    browser_used=st.booleans(),
    error_type=names | st.none(),
)
optional_names = names | st.just(UNSET)
totals = st.floats(0, 1e9)
requests: dict[str, st.SearchStrategy[Any]] = {
    "record_execution": executions,
    "record_executions": st.builds(
        RecordExecutions, executions=st.lists(executions, min_size=1, max_size=3)
    ),
    "start_execution": st.builds(
        StartExecution,
        task_id=names,
        agent_id=names,
        tool_name=names,
        started_at=times | st.just(UNSET),
    ),
    "report_agent": st.builds(
        ReportAgent,
        agent_id=names,
        queue_depth=st.integers(0, 10**9) | st.just(UNSET),
        status=st.sampled_from(["IDLE", "BUSY", "ERROR"]) | st.just(UNSET),
        concurrency=st.integers(1, 10**6) | st.just(UNSET),
    ),
    "report_costs": st.builds(
        ReportCosts,
        source=names,
        total_actual_usd=totals,
        total_estimated_usd=totals | st.just(UNSET),
        mission_id=optional_names,
        since=times | st.just(UNSET),
        until=times | st.just(UNSET),
    ),
    "report_budget": st.builds(
        ReportBudget,
        service=names,
        limit_usd=st.floats(1e-9, 1e9),
        period=st.sampled_from(["day", "month", "total"]),
        spent_usd=totals,
    ),
    "get_executions": st.builds(
        GetExecutions,
        limit=st.integers(1, 10_000),
        agent_id=optional_names,
        success=st.booleans() | st.just(UNSET),
        since=times | st.just(UNSET),
        before=st.text(max_size=64) | st.none(),
    ),
    "get_hourly_summaries": st.builds(GetHourlySummaries, since=times, until=times),
    "backup": st.builds(Backup, path=names),
    "subscribe": st.builds(
        Subscribe,
        events=st.lists(st.sampled_from(["execution", "changed"]), min_size=1, max_size=2),
        tool_name=optional_names,
        success=st.booleans() | st.just(UNSET),
    ),
    "unsubscribe": st.builds(Unsubscribe, subscription=st.integers(1, 2**63 - 1)),
}
for _name, _method in METHODS.items():
    requests.setdefault(_name, st.builds(_method.params))


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_every_request_comes_through_both_encodings(
    encoding: Encoding, method: str, data: st.DataObject
) -> None:
    sent = data.draw(requests[method])
    framer = Framer(2**20)
    (message,) = framer.feed(encode_request(encoding, 7, method, sent))
    request = decode_request(encoding, message)
    assert (request.method, request.id, framer.encoding) == (method, 7, encoding)
    assert decode_params(encoding, request, METHODS[method].params) == sent


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("method", METHODS)
def test_every_answer_comes_through_both_encodings(encoding: Encoding, method: str) -> None:
    wire = encode_result(encoding, "id", ANSWERS[method])
    (message,) = Framer(2**20, encoding).feed(wire)
    response = decode_response(encoding, message)
    assert response.id == "id"
    assert decode_result(encoding, response, method) == ANSWERS[method]
    plain = msgspec.json.decode(message) if encoding is JSON else msgspec.msgpack.decode(message)
    assert list(plain) == ["jsonrpc", "id", "result"]
    assert plain["jsonrpc"] == "2.0"


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    "data",
    [
        ErrorData(reason="r", path="$.a"),
        ErrorData(method="m"),
        ErrorData(role="admin"),
        ErrorData(reason="r", retry_after_seconds=0.5),
    ],
)
def test_every_error_comes_through_both_encodings(encoding: Encoding, data: ErrorData) -> None:
    error = ErrorObject(code=-32000, message="No.", data=data)
    (message,) = Framer(2**20, encoding).feed(encode_error(encoding, None, error))
    response = decode_response(encoding, message)
    assert (response.id, response.error, response.result) == (None, error, UNSET)
    plain = msgspec.json.decode(message) if encoding is JSON else msgspec.msgpack.decode(message)
    assert plain["id"] is None
    assert UNSET not in plain["error"]["data"].values()
    assert plain["error"]["data"].keys() == {
        name for name in ErrorData.__struct_fields__ if getattr(data, name) is not UNSET
    }


@pytest.mark.parametrize("encoding", Encoding)
def test_a_line_holds_one_answer_whatever_is_in_it(encoding: Encoding) -> None:
    nasty = "a\nb\r\u2028\u0000"
    error = ErrorObject(code=1, message=nasty, data=ErrorData(reason=nasty))
    wire = encode_error(encoding, nasty, error)
    (message,) = Framer(2**20, encoding).feed(wire)
    assert decode_response(encoding, message).error == error
    if encoding is JSON:
        assert wire.count(b"\n") == 1


def test_an_answer_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode_response(JSON, b'{"id":[]}')
    response = decode_response(JSON, b'{"id":1,"result":{"accepted":"many"}}')
    with pytest.raises(ProtocolError):
        decode_result(JSON, response, "record_execution")


# The list of methods


def test_only_what_changes_the_daemon_is_the_administrators() -> None:
    by_role = {role: {n for n, m in METHODS.items() if m.role is role} for role in Role}
    assert by_role[Role.ADMIN] == {"run_hourly_aggregation", "cleanup_old_data", "backup"}
    assert by_role[Role.RECORD] == {
        "record_execution",
        "record_executions",
        "start_execution",
        "report_agent",
        "report_costs",
        "report_budget",
    }


@pytest.mark.parametrize(
    ("sentence", "inside"),
    [("Expected `str`", "expected `str`"), ("JSON is", "JSON is"), ("", ""), ("A", "A")],
)
def test_a_sentence_inside_another_begins_small(sentence: str, inside: str) -> None:
    assert lowered(sentence) == inside


@pytest.mark.parametrize(
    ("member", "meant"),
    [("duration", "duration_seconds"), ("tokens", "tokens_used"), ("zzz", None)],
)
def test_a_member_that_may_have_been_meant_is_named(member: str, meant: str | None) -> None:
    path, reason = wrong("record_execution", encoded(JSON, EXECUTION | {member: 1}))
    assert path == f"$.{member}"
    hint = f"; did you mean `{meant}`?" if meant else ""
    assert reason == f"There is no member `{member}`{hint}"


def test_little_of_what_a_client_sent_is_sent_back() -> None:
    path, reason = wrong("record_execution", encoded(JSON, EXECUTION | {"x" * 10_000: 1}))
    assert len(path) + len(reason) < 300
    reason = wrong(
        "record_execution", encoded(JSON, EXECUTION | {"human_effort_level": "y" * 10_000})
    )[1]
    assert len(reason) < 300
