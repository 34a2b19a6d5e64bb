"""Lines of JSON to executions: what `buddyctl import` reads, line by line, in bounded memory."""

from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

from buddyd.domain.execution import Execution
from buddyd.errors import InvalidParams
from buddyd.protocol.framing import Encoding, IncomingRequest, ProtocolError, decode_params

LONGEST_LINE_BYTES = 65_536
"""Far more than an execution can take, all its characters escaped."""


class Record(Struct, frozen=True):
    """An execution, and the number of the line that it stood on."""

    line: int
    execution: Execution
    size_bytes: int


class Refusal(Struct, frozen=True):
    """Why the record on a line cannot be recorded; `path` says which of its fields is wrong."""

    line: int
    path: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.reason}"


def read(file: BinaryIO) -> Iterator[bytes]:
    """The lines of `file` with their ends. One that is too long comes cut, but as one line."""
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        yield line
        while not line.endswith(b"\n") and len(line) > LONGEST_LINE_BYTES:
            line = file.readline(LONGEST_LINE_BYTES + 1)


def parse(number: int, line: bytes) -> Record | Refusal | None:
    """What stands on line `number`; None where it is blank.

    The record is checked as the daemon will check it, and refused in the same words.
    """
    if len(line) > LONGEST_LINE_BYTES:
        return Refusal(number, "$", f"Longer than {LONGEST_LINE_BYTES} bytes")
    if not line.strip():
        return None
    request = IncomingRequest(method="record_execution", params=msgspec.Raw(line))
    try:
        execution = decode_params(Encoding.JSON, request, Execution)
    except InvalidParams as error:
        return Refusal(number, error.path, error.reason)
    except ProtocolError as error:
        return Refusal(number, "$", f"Not valid JSON: {error.reason}")
    return Record(number, execution, len(line))
