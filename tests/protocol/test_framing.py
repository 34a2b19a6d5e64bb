"""Cutting a byte stream into messages: the same messages however the stream was split."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.config import Limits
from buddyd.protocol.framing import LARGEST_LIMIT, Encoding, Framer, MessageTooLarge, frame

LIMIT = 64

lines = st.binary(min_size=1, max_size=LIMIT).filter(lambda b: b"\n" not in b and b.strip())
json_lines = st.lists(lines.map(lambda b: (b"{" + b)[:LIMIT]), max_size=6)
frames = st.lists(st.binary(max_size=LIMIT), max_size=6)
cuts = st.lists(st.integers(0, 500), max_size=12)


def pieces(stream: bytes, places: list[int]) -> list[bytes]:
    """`stream`, cut at these places."""
    bounds = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(bounds)]


def messages(framer: Framer, *data: bytes) -> list[bytes]:
    found = [message for piece in data for message in framer.feed(piece)]
    last = framer.finish()
    return found if last is None else [*found, last]


@given(json_lines, cuts)
def test_json_lines_are_cut_alike_wherever_the_stream_was_split(
    sent: list[bytes], places: list[int]
) -> None:
    stream = b"".join(frame(Encoding.JSON, message) for message in sent)
    framer = Framer(LIMIT)
    assert messages(framer, *pieces(stream, places)) == sent
    assert framer.encoding is (Encoding.JSON if sent else None)
    assert framer.pending == 0


@given(frames, cuts)
def test_messagepack_frames_are_cut_alike_wherever_the_stream_was_split(
    sent: list[bytes], places: list[int]
) -> None:
    stream = b"".join(frame(Encoding.MSGPACK, message) for message in sent)
    framer = Framer(LIMIT)
    assert messages(framer, *pieces(stream, places)) == sent
    assert framer.encoding is (Encoding.MSGPACK if sent else None)
    assert framer.pending == 0


@given(st.binary(max_size=300), cuts)
def test_any_bytes_are_cut_alike_or_refused_alike(stream: bytes, places: list[int]) -> None:
    def outcome(data: list[bytes]) -> list[bytes | None]:
        framer, found = Framer(LIMIT), list[bytes | None]()
        try:
            for piece in data:
                found += framer.feed(piece)
            found.append(framer.finish())
        except MessageTooLarge:
            found.append(b"too large")
        return found

    whole = outcome([stream])
    assert outcome(pieces(stream, places)) == whole
    assert all(len(message) <= LIMIT for message in whole if message is not None)


@pytest.mark.parametrize("first", [b"{", b"["])
def test_the_first_byte_tells_json(first: bytes) -> None:
    framer = Framer(LIMIT)
    assert list(framer.feed(first)) == []
    assert framer.encoding is Encoding.JSON


def test_no_frame_within_the_largest_limit_begins_like_json() -> None:
    assert (LARGEST_LIMIT).to_bytes(4)[0] < ord("[") < ord("{")
    (largest,) = [m.le for m in Limits.__annotations__["max_message_bytes"].__metadata__]
    assert largest == LARGEST_LIMIT


def test_a_client_that_knows_its_encoding_need_not_wait_for_the_first_byte() -> None:
    framer = Framer(LIMIT, Encoding.JSON)
    assert messages(framer, b'"odd"\n') == [b'"odd"']


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'{"a":1}\r\n{"b":2}\r\n', [b'{"a":1}\r', b'{"b":2}\r']),
        (b'{"a":1}\n\n \t\r\n\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\n  \r', [b'{"a":1}']),
        (b"[1]\n", [b"[1]"]),
        (b"", []),
    ],
    ids=["CRLF", "empty lines", "last line unended", "blank rest", "array", "nothing"],
)
def test_lines(stream: bytes, expected: list[bytes]) -> None:
    assert messages(Framer(LIMIT), stream) == expected


def test_a_frame_that_breaks_off_is_no_message() -> None:
    framer = Framer(LIMIT)
    assert messages(framer, b"\0\0\0\x02a") == []
    assert framer.pending == 5


def test_an_empty_frame_is_a_message() -> None:
    assert messages(Framer(LIMIT), b"\0\0\0\0") == [b""]


@pytest.mark.parametrize("encoding", Encoding)
def test_a_message_may_have_as_many_bytes_as_the_limit_and_no_more(encoding: Encoding) -> None:
    fits = b"{" * LIMIT
    assert messages(Framer(LIMIT), frame(encoding, fits)) == [fits]
    with pytest.raises(MessageTooLarge, match="at most 64 bytes"):
        messages(Framer(LIMIT), frame(encoding, fits + b"{"))


def test_what_is_too_large_is_refused_before_all_of_it_is_held() -> None:
    framer = Framer(LIMIT)
    with pytest.raises(MessageTooLarge):
        list(framer.feed((2**31).to_bytes(4)))
    framer = Framer(LIMIT)
    with pytest.raises(MessageTooLarge):
        list(framer.feed(b"{" * (LIMIT + 1)))


@pytest.mark.parametrize("encoding", Encoding)
def test_what_comes_before_something_too_large_is_still_read(encoding: Encoding) -> None:
    stream = frame(encoding, b"{1}") + frame(encoding, b"{" * (LIMIT + 1))
    framer, found = Framer(LIMIT), list[bytes]()
    with pytest.raises(MessageTooLarge):
        found.extend(framer.feed(stream))
    assert found == [b"{1}"]
