"""The reference of the protocol names all there is, and its examples are what would be sent."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec import Struct, inspect

import buddyd.protocol
from buddyd import feed
from buddyd.config import Limits
from buddyd.errors import InvalidParams
from buddyd.protocol.framing import (
    Encoding,
    Framer,
    ProtocolError,
    decode_params,
    decode_request,
    decode_response,
    decode_result,
    encode_error,
    encode_result,
)
from buddyd.protocol.messages import METHODS, ErrorCode, ErrorData, ErrorObject, RecordExecutions
from buddyd.protocol.notifications import (
    NOTIFICATIONS,
    decode_notification,
    encode_notification,
)
from buddyd.server import pending, refusals, sender, session

REFERENCE = (Path(buddyd.protocol.__file__).parent / "README.md").read_text()
# It refers to the sections of the six.
WHOLE_CHAPTER = {"get_all"}


class Block(NamedTuple):
    """A fenced block: what it holds, what it is for, and its lines."""

    language: str
    purpose: str
    text: str


def blocks() -> list[Block]:
    found = re.findall(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", REFERENCE, re.DOTALL | re.MULTILINE)
    return [Block(*each) for each in found]


def section(title: str, level: int) -> str:
    """The text under a heading, up to the next one of its level or above."""
    pattern = rf"^{'#' * level} {re.escape(title)}\n(.*?)(?=^#{{2,{level}}} |\Z)"
    found = re.search(pattern, REFERENCE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no section {title}"
    return found[1]


def described(method: str) -> str:
    """All that is said about a method: its section, and how its chapter begins."""
    before = REFERENCE[: REFERENCE.index(f"### `{method}`\n")]
    chapter = section(re.findall(r"^## (.+)$", before, re.MULTILINE)[-1], 2)
    if method in WHOLE_CHAPTER:
        return chapter
    return chapter.partition("### ")[0] + section(f"`{method}`", 3)


def members(type_: type[Struct]) -> Iterator[str]:
    """The names of all members of a struct, and of the structs in it."""
    yield from _members(inspect.type_info(type_))


def _members(kind: inspect.Type) -> Iterator[str]:
    match kind:
        case inspect.StructType(fields=fields):
            for field in fields:
                yield field.encode_name
                yield from _members(field.type)
        case inspect.ListType(item_type=inner) | inspect.DictType(value_type=inner):
            yield from _members(inner)
        case inspect.UnionType(types=types):
            for each in types:
                yield from _members(each)
        case inspect.Metadata(type=inner):
            yield from _members(inner)


def exchanges() -> list[tuple[str, bytes]]:
    """Every JSON line of the examples, with its arrow."""
    lines = [line for b in blocks() if b.language == "json" for line in b.text.splitlines()]
    return [(line[0], line[2:].encode()) for line in lines]


def is_request(line: bytes) -> bool:
    return "method" in msgspec.json.decode(line)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_described_with_an_example(method: str) -> None:
    assert f'"method":"{method}"' in section(f"`{method}`", 3)


@pytest.mark.parametrize("method", METHODS)
def test_every_member_is_named(method: str) -> None:
    text = described(method)
    names = {*members(METHODS[method].params), *members(METHODS[method].result)}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_no_method_is_described_that_there_is_not() -> None:
    assert set(re.findall(r"^### `(\w+)`$", REFERENCE, re.MULTILINE)) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_stands_under_its_role(method: str) -> None:
    before = REFERENCE[: REFERENCE.index(f"### `{method}`\n")]
    role = re.findall(r"^Role `(\w+)`", before, re.MULTILINE)[-1]
    assert role == METHODS[method].role.value


def test_every_request_of_the_examples_decodes() -> None:
    requests = [line for arrow, line in exchanges() if arrow == "→"]
    assert len(requests) >= len(METHODS)
    for line in requests:
        request = decode_request(Encoding.JSON, line)
        if b'"limit":0' not in line:
            decode_params(Encoding.JSON, request, METHODS[request.method].params)


def test_every_answer_of_the_examples_decodes_and_is_complete() -> None:
    answered = 0
    for block in blocks():
        if block.language != "json" or block.purpose in {"errors", "notifications"}:
            continue
        asked: dict[object, str] = {}
        for line in block.text.splitlines():
            message = line[2:].encode()
            if line[0] == "→":
                request = decode_request(Encoding.JSON, message)
                asked[request.id] = request.method
                continue
            response = decode_response(Encoding.JSON, message)
            if response.error is msgspec.UNSET:
                result = decode_result(Encoding.JSON, response, asked[response.id])
                whole = msgspec.json.decode(message)
                assert msgspec.to_builtins(result) == whole["result"]
                answered += 1
    assert answered >= len(METHODS) - 1


def test_every_notification_has_an_example_as_it_is_sent_and_all_its_members_named() -> None:
    (block,) = [b for b in blocks() if b.purpose == "notifications"]
    lines = [line[2:].encode() for line in block.text.splitlines()]
    examples = [decode_notification(Encoding.JSON, line) for line in lines]
    assert {type(example) for example in examples} == set(NOTIFICATIONS.values())
    for line, example in zip(lines, examples, strict=True):
        assert example is not None
        assert encode_notification(Encoding.JSON, example) == line + b"\n"
    text = section("Notifications", 2) + section("Recording", 2)
    for method, params in NOTIFICATIONS.items():
        assert f"**`{method}`**" in text
        assert [name for name in members(params) if f"`{name}`" not in text] == []


def error_of(line: bytes) -> tuple[object, ErrorObject]:
    response = decode_response(Encoding.JSON, line)
    assert isinstance(response.error, ErrorObject)
    return response.id, response.error


def test_every_code_has_an_example_with_its_data_and_a_row_in_the_table() -> None:
    (block,) = [b for b in blocks() if b.purpose == "errors"]
    errors = [error_of(line[2:].encode()) for line in block.text.splitlines()]
    codes = {value for name, value in vars(ErrorCode).items() if name.isupper()}
    assert {error.code for _, error in errors} == codes
    table = dict(
        re.findall(r"^\| (-32\d+) \| [^|]* \| ([^|]*) \|", section("Errors", 2), re.MULTILINE)
    )
    assert {int(code) for code in table} == codes
    for _, error in errors:
        present = {
            name
            for name in ErrorData.__struct_fields__
            if getattr(error.data, name) is not msgspec.UNSET
        }
        assert set(re.findall(r"`(\w+)`", table[str(error.code)])) == present


def test_the_lines_of_the_examples_are_the_bytes_that_are_sent() -> None:
    (errors,) = [b for b in blocks() if b.purpose == "errors"]
    for line in errors.text.splitlines():
        id_, error = error_of(line[2:].encode())
        assert encode_error(Encoding.JSON, id_, error) == line[2:].encode() + b"\n"  # type: ignore[arg-type]
    (lines,) = [b for b in blocks() if (b.language, b.purpose) == ("json", "session")]
    results = {1: "ping", 2: "record_execution"}
    for line in lines.text.splitlines():
        message = line[2:].encode()
        response = None if is_request(message) else decode_response(Encoding.JSON, message)
        if response is not None and response.id in results:
            result = decode_result(Encoding.JSON, response, results[response.id])  # type: ignore[index]
            assert encode_result(Encoding.JSON, response.id, result) == message + b"\n"


def frames(text: str) -> Iterator[tuple[str, Any]]:
    """The messages of a block of bytes, with their arrows."""
    for arrow, digits in re.findall(r"^([→←])((?:\s+[0-9a-f]{2})+)$", text, re.MULTILINE):
        (message,) = Framer(2**20).feed(bytes.fromhex(digits))
        yield arrow, message


def test_the_session_is_the_same_in_both_encodings() -> None:
    (lines,) = [b for b in blocks() if (b.language, b.purpose) == ("json", "session")]
    (bytes_,) = [b for b in blocks() if (b.language, b.purpose) == ("hex", "session")]
    in_json = [(line[0], msgspec.json.decode(line[2:])) for line in lines.text.splitlines()]
    in_msgpack = [(arrow, msgspec.msgpack.decode(m)) for arrow, m in frames(bytes_.text)]
    assert in_json == in_msgpack
    for (arrow, value), (_, message) in zip(in_json, frames(bytes_.text), strict=True):
        assert arrow == "→" or msgspec.msgpack.encode(value) == message


def test_the_bytes_of_the_encodings_are_what_they_say() -> None:
    (line,) = [b for b in blocks() if (b.language, b.purpose) == ("hex", "json")]
    ((_, message),) = frames(line.text)
    assert decode_request(Encoding.JSON, message).method == "ping"
    (frame,) = [b for b in blocks() if (b.language, b.purpose) == ("hex", "")]
    ((_, message),) = frames(frame.text)
    assert decode_request(Encoding.MSGPACK, message).id == 1


@pytest.mark.parametrize(
    ("what", "figure"),
    [
        ("bytes of one message", f"{Limits().max_message_bytes:,}"),
        ("requests without an answer", f"{session.MOST_PENDING}"),
        ("answers that the client has not read", f"{session.MOST_UNSENT_BYTES // 2**20} MiB"),
        ("time for a message to come", f"{session.MESSAGE_SECONDS:g} s"),
        ("time without the client reading", f"{sender.WRITE_SECONDS:g} s"),
        ("time for an answer", f"{pending.ANSWER_SECONDS:g} s"),
        ("subscriptions", f"{feed.MOST_PER_CONNECTION}; {feed.MOST_IN_ALL} "),
        ("executions that wait", f"{feed.MOST_WAITING:,}"),
    ],
)
def test_the_limits_are_those_in_force(what: str, figure: str) -> None:
    (row,) = [line for line in section("Limits", 2).splitlines() if line.startswith(f"| {what}")]
    assert figure in row


def test_the_members_of_an_execution_are_listed_where_it_is_described() -> None:
    table = section("Recording", 2).partition("### ")[0]
    fields = set(members(RecordExecutions)) - {"executions"}
    assert set(re.findall(r"`(\w+)`(?=[^|]*\| \w)", table)) >= fields


def test_every_link_leads_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", REFERENCE, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", REFERENCE):
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (Path(buddyd.protocol.__file__).parent / target).exists()


def said_of(message: bytes) -> ErrorObject:
    """What the daemon says of a message that it does not serve."""
    try:
        request = decode_request(Encoding.JSON, message)
        decode_params(Encoding.JSON, request, METHODS[request.method].params)
    except (ProtocolError, InvalidParams) as error:
        return refusals.described(error)
    raise AssertionError(message)


def test_the_errors_of_the_examples_are_what_the_daemon_says() -> None:
    record = {"task_id": "t", "agent_id": "a", "tool_name": "x", "success": True}
    batch = [{**record, "duration_seconds": seconds} for seconds in (1, 1, 1, -1)]
    wrong = {"id": 1, "method": "record_executions", "params": {"executions": batch}}
    (block,) = [b for b in blocks() if b.purpose == "errors"]
    examples = [error_of(line[2:].encode())[1] for line in block.text.splitlines()]
    assert said_of(b'{"id":1') in examples
    assert said_of(b'{"id":1}') in examples
    assert said_of(msgspec.json.encode(wrong)) in examples
    (lines,) = [b for b in blocks() if (b.language, b.purpose) == ("json", "session")]
    asked, answered = (line[2:].encode() for line in lines.text.splitlines()[4:6])
    assert said_of(asked) == error_of(answered)[1]
