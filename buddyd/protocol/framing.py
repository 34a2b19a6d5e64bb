"""Bytes to messages and back.

A connection speaks one of two encodings, told by its first byte: JSON lines (`{`), or MessagePack
frames (a 4-byte big-endian length, then one map). `Framer` cuts a byte stream into messages,
`frame` wraps one; the functions below them turn messages into requests and answers.
"""

from collections.abc import Callable, Hashable, Iterator
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from buddyd.domain.answers import Answer
from buddyd.domain.execution import Execution
from buddyd.errors import BuddydError, InvalidParams
from buddyd.protocol.messages import (
    METHODS,
    ErrorCode,
    ErrorObject,
    ErrorResponse,
    RecordExecutions,
    Request,
    RequestId,
    SuccessResponse,
)
from buddyd.protocol.wording import NO_CONTROL_CHARACTERS, ended, explain, lowered

HEADER_BYTES = 4
# A message of this size or more could not be told from JSON by its first byte (`[` is 0x5B).
LARGEST_LIMIT = 2**30
_BLANK = b" \t\r\n"

T = TypeVar("T", bound=Struct)


class Encoding(Enum):
    """How a connection encodes its messages."""

    JSON = "json"
    MSGPACK = "msgpack"

    # Looked up several times for each message; an enumeration's own hash is no C function.
    __hash__ = object.__hash__


class MessageTooLarge(BuddydError):
    """A message over the limit; nothing after it on the connection can be read."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"A message may have at most {limit} bytes; split it into smaller ones.")


class ProtocolError(BuddydError):
    """Bytes that are no request. `code` is the JSON-RPC code to answer with."""

    def __init__(self, code: int, message: str, reason: str, request_id: RequestId = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.request_id = request_id


class Framer:
    """Cuts one direction of a connection into messages.

    `encoding` is None until the first byte has come, unless it is given (a client knows its own).
    """

    def __init__(self, limit: int, encoding: Encoding | None = None) -> None:
        self.limit = limit
        self.encoding = encoding
        self._buffer = bytearray()
        self._searched = 0

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished message have come."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Every message that is complete with `data`; raises MessageTooLarge."""
        self._buffer += data
        if self.encoding is None and self._buffer:
            is_json = self._buffer[0] in b"{["
            self.encoding = Encoding.JSON if is_json else Encoding.MSGPACK
        cut = self._cut_line if self.encoding is Encoding.JSON else self._cut_frame
        while (message := cut()) is not None:
            yield message

    def finish(self) -> bytes | None:
        """At the end of the stream: a last JSON line that no newline ended, if there is one."""
        if self.encoding is not Encoding.JSON or not self._buffer.strip(_BLANK):
            return None
        line, self._buffer = bytes(self._buffer), bytearray()
        return line

    def _cut_line(self) -> bytes | None:
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            if end > self.limit:
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            if line.strip(_BLANK):
                return line
        self._searched = len(self._buffer)
        if self._searched > self.limit:
            raise MessageTooLarge(self.limit)
        return None

    def _cut_frame(self) -> bytes | None:
        if len(self._buffer) < HEADER_BYTES:
            return None
        end = HEADER_BYTES + int.from_bytes(self._buffer[:HEADER_BYTES])
        if end - HEADER_BYTES > self.limit:
            raise MessageTooLarge(self.limit)
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[HEADER_BYTES:end])
        del self._buffer[:end]
        return message


def frame(encoding: Encoding, message: bytes) -> bytes:
    """`message` as it goes over the wire."""
    if encoding is Encoding.JSON:
        return message + b"\n"
    return len(message).to_bytes(HEADER_BYTES) + message


class IncomingRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The envelope of a request; its parameters are decoded once the method is known."""

    method: str
    id: RequestId | UnsetType = UNSET
    params: msgspec.Raw = msgspec.Raw(b"")
    jsonrpc: Literal["2.0"] = "2.0"

    @property
    def wants_answer(self) -> bool:
        """Whether it is a request; without an `id` it is a notification."""
        return self.id is not UNSET

    @property
    def answer_id(self) -> RequestId:
        """The `id` that an answer bears."""
        return None if isinstance(self.id, UnsetType) else self.id


class OutgoingRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The envelope that a client sends; without an `id` it is a notification."""

    jsonrpc: str
    id: RequestId | UnsetType = UNSET
    method: str
    params: Request | Execution


class IncomingResponse(Struct, frozen=True):
    """The envelope of an answer; the result is decoded by the method that was asked."""

    id: RequestId = None
    result: msgspec.Raw | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET


class _OnlyId(Struct):
    id: RequestId = None


_Decode = Callable[[bytes], Any]


@cache
def _decoder(encoding: Encoding, type_: Hashable) -> _Decode:
    if encoding is Encoding.JSON:
        return msgspec.json.Decoder(type_).decode
    return msgspec.msgpack.Decoder(type_).decode


_ENCODERS = {
    Encoding.JSON: msgspec.json.Encoder().encode,
    Encoding.MSGPACK: msgspec.msgpack.Encoder().encode,
}


def decode_request(encoding: Encoding, message: bytes) -> IncomingRequest:
    """The envelope of a request; raises ProtocolError where `message` is none."""
    try:
        try:
            request: IncomingRequest = _decoder(encoding, IncomingRequest)(message)
        except msgspec.ValidationError:
            # It was raised before the rest was looked at, which may not even be JSON.
            _decoder(encoding, msgspec.Raw)(message)
            raise
    except msgspec.ValidationError as error:
        reason, _ = explain(error, IncomingRequest.__struct_fields__)
        sentence = f"This is not a JSON-RPC 2.0 request: {ended(lowered(reason))}"
        raise ProtocolError(
            ErrorCode.INVALID_REQUEST, sentence, reason, _salvaged_id(encoding, message)
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _parse_error(encoding, error) from None
    return request


def decode_params(encoding: Encoding, request: IncomingRequest, params: type[T]) -> T:
    """The parameters of a request; raises InvalidParams or ProtocolError."""
    raw = bytes(request.params) or _EMPTY[encoding]
    try:
        value: T = _decoder(encoding, params)(raw)
    except msgspec.ValidationError as error:
        known = {*params.__struct_fields__, *Execution.__struct_fields__}
        raise InvalidParams(*explain(error, known)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _parse_error(encoding, error, request.answer_id) from None
    if path := _path_of_faulty_text(value):
        raise InvalidParams(NO_CONTROL_CHARACTERS, path)
    return value


def _path_of_faulty_text(params: Struct) -> str | None:
    match params:
        case Execution():
            if field := params.faulty_text():
                return f"$.{field}"
        case RecordExecutions(executions=executions):
            for index, execution in enumerate(executions):
                if field := execution.faulty_text():
                    return f"$.executions[{index}].{field}"
    return None


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_EMPTY = {Encoding.JSON: b"{}", Encoding.MSGPACK: b"\x80"}


def encode_result(encoding: Encoding, request_id: RequestId, result: Answer) -> bytes:
    """An answer, framed."""
    return frame(encoding, _ENCODERS[encoding](SuccessResponse(id=request_id, result=result)))


def encode_error(encoding: Encoding, request_id: RequestId, error: ErrorObject) -> bytes:
    """A refusal, framed."""
    return frame(encoding, _ENCODERS[encoding](ErrorResponse(id=request_id, error=error)))


def encode_request(
    encoding: Encoding, request_id: RequestId | UnsetType, method: str, params: Request | Execution
) -> bytes:
    """A request (or, with UNSET for the id, a notification), framed."""
    request = OutgoingRequest(jsonrpc="2.0", id=request_id, method=method, params=params)
    return frame(encoding, _ENCODERS[encoding](request))


def decode_response(encoding: Encoding, message: bytes) -> IncomingResponse:
    """The envelope of an answer; raises ProtocolError where `message` is none."""
    try:
        response: IncomingResponse = _decoder(encoding, IncomingResponse)(message)
    except _UNREADABLE as error:
        raise _no_answer(encoding, error) from None
    return response


def decode_result(encoding: Encoding, response: IncomingResponse, method: str) -> Answer:
    """The typed result of an answer to `method`; raises ProtocolError where it does not fit."""
    raw = b"" if isinstance(response.result, UnsetType) else bytes(response.result)
    try:
        answer: Answer = _decoder(encoding, METHODS[method].result)(raw)
    except _UNREADABLE as error:
        raise _no_answer(encoding, error) from None
    return answer


def _parse_error(
    encoding: Encoding, error: Exception, request_id: RequestId = None
) -> ProtocolError:
    name = "JSON" if encoding is Encoding.JSON else "MessagePack"
    match error:
        case RecursionError():
            reason = "It is nested too deeply"
        case UnicodeDecodeError():
            reason = "Some text in it is not UTF-8"
        case _:
            reason = str(error)
    message = f"The message is not valid {name}: {ended(lowered(reason))}"
    return ProtocolError(ErrorCode.PARSE_ERROR, message, reason, request_id)


def _no_answer(encoding: Encoding, error: Exception) -> ProtocolError:
    """What came is no answer, in its bytes or in its shape."""
    if not isinstance(error, msgspec.ValidationError):
        return _parse_error(encoding, error)
    reason, path = explain(error)
    sentence = f"The message is no answer of this protocol: {ended(lowered(reason))} ({path})"
    return ProtocolError(ErrorCode.PARSE_ERROR, sentence, reason)


def _salvaged_id(encoding: Encoding, message: bytes) -> RequestId:
    """The `id` of something that is no request, so that its sender can tell what failed."""
    try:
        only: _OnlyId = _decoder(encoding, _OnlyId)(message)
    except _UNREADABLE:
        return None
    return only.id
