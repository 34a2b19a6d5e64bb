"""Whatever bytes come, in whatever pieces: every request with an id has one answer, with its id."""

import contextlib
import importlib.util
import math
import subprocess
import sys
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddyd.protocol.framing import Encoding, frame
from buddyd.protocol.messages import METHODS, ErrorCode
from tests.faults.fuzz_decoder import try_bytes
from tests.server.conversation import LIMIT, Script, session
from tests.support.workloads import examples

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK

# Values such as a request is made of, and such as it is not.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1", "\x1b[2J", "\u202e", "\ufeff", "{", "\n", "~other", "x" * 300])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
IDS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20)
PARAM_NAMES = st.sampled_from(
    ["task_id", "agent_id", "tool_name", "duration_seconds", "success", "executions", "limit", "x"]
)
PARAMS = st.dictionaries(PARAM_NAMES, VALUES, max_size=6) | VALUES


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Something with an id and a method, whatever else is in it."""
    request: dict[str, Any] = {
        "id": draw(IDS),
        "method": draw(st.sampled_from([*METHODS, "nope"]) | st.text()),
    }
    if draw(st.booleans()):
        request["params"] = draw(PARAMS)
    if draw(st.booleans()):
        request["jsonrpc"] = draw(st.sampled_from(["2.0", "2.0", "1.0", 2.0]))
    if draw(st.integers(0, 9)) == 0:
        request[draw(st.text(min_size=1, max_size=8))] = draw(VALUES)
    return request


def encoded(encoding: Encoding, value: object) -> bytes:
    """A message, framed; JSON has no names for infinity and what is no number."""
    if encoding is JSON:
        return frame(encoding, msgspec.json.encode(value))
    return frame(encoding, msgspec.msgpack.encode(value))


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    begins = [0, *ends[:-1]]
    return [data[a:b] for a, b in zip(begins, ends, strict=True) if b > a]


async def answers_to(pieces: list[bytes], encoding: Encoding) -> list[Any]:
    """All that a session answers to bytes that come in pieces."""
    async with session(Script(), encoding=encoding) as (client, _), anyio.create_task_group() as t:
        heard: list[Any] = []

        async def hear() -> None:
            heard.extend(await client.rest())

        t.start_soon(hear)
        # A message that was too large ends the connection.
        with contextlib.suppress(anyio.BrokenResourceError, OSError):
            for piece in pieces:
                await client.stream.send(piece)
                await anyio.lowlevel.checkpoint()
            await client.stream.send_eof()
    return heard


# Decoding


@given(st.binary(max_size=300))
@example(b"{" * 5000)
@example(b"\x00\x00\x10\x01")
@examples(500)
def test_any_bytes_are_cut_and_decoded_the_same_in_any_pieces(data: bytes) -> None:
    try_bytes(data)
    try_bytes(b"{" + data)
    try_bytes(frame(MSGPACK, data))


@given(st.lists(requests() | VALUES, max_size=5), st.binary(max_size=4), st.integers(0))
@examples(150)
def test_messages_with_a_byte_changed_are_decoded_or_refused(
    values: list[Any], noise: bytes, where: int
) -> None:
    for encoding in Encoding:
        data = b"".join(encoded(encoding, value) for value in values)
        place = where % (len(data) + 1)
        try_bytes(data[:place] + noise + data[place + len(noise) :])


# Sessions


@given(st.lists(requests(), min_size=1, max_size=12), st.lists(st.integers(0), max_size=8))
@examples(60)
@pytest.mark.parametrize("encoding", Encoding)
def test_every_request_with_an_id_has_one_answer_with_its_id(
    encoding: Encoding, sent: list[dict[str, Any]], cuts: list[int]
) -> None:
    data = b"".join(encoded(encoding, request) for request in sent)
    heard = anyio.run(answers_to, in_pieces(data, cuts), encoding)
    expected = [as_sent(encoding, request["id"]) for request in sent]
    assert sorted(map(repr, expected)) == sorted(repr(answer["id"]) for answer in heard)
    for answer in heard:
        assert answer["jsonrpc"] == "2.0"
        assert ("result" in answer) != ("error" in answer)
        assert answer.get("error", {}).get("code") != ErrorCode.INTERNAL_ERROR


def as_sent(encoding: Encoding, value: object) -> object:
    """An id as JSON can say it, where it is one of these that it has no words for."""
    if encoding is JSON and isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=6))
@examples(60)
@pytest.mark.parametrize("encoding", Encoding)
def test_after_any_garbage_the_connection_is_usable(
    encoding: Encoding, garbage: list[bytes]
) -> None:
    if encoding is JSON:
        lines = [b"{" + each.replace(b"\n", b"") for each in garbage]
        data = b"".join(line + b"\n" for line in lines)
    else:
        data = b"".join(frame(encoding, each) for each in garbage)
    ping = encoded(encoding, {"id": "last", "method": "ping"})
    *refused, last = anyio.run(answers_to, [data, ping] if data else [ping], encoding)
    assert last["id"] == "last"
    assert "result" in last
    assert len(refused) == len(garbage)


@given(st.binary(min_size=1, max_size=2 * LIMIT), st.lists(st.integers(0), max_size=8))
@examples(100)
def test_no_bytes_bring_a_session_down(data: bytes, cuts: list[int]) -> None:
    encoding = JSON if data[:1] in {b"{", b"["} else MSGPACK
    heard = anyio.run(answers_to, in_pieces(data, cuts), encoding)
    codes = {answer["error"]["code"] for answer in heard if "error" in answer}
    assert ErrorCode.INTERNAL_ERROR not in codes


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_atheris_finds_nothing_in_some_seconds() -> None:
    command = [sys.executable, "-m", "tests.faults.fuzz_decoder", "-max_total_time=5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
