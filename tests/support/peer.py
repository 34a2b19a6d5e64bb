"""A scripted daemon on a real Unix socket, for what a client does with answers, good and bad."""

import contextlib
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from buddyd.domain.answers import Answer, Done, Executions, Receipt, StoredExecution
from buddyd.domain.execution import Execution
from buddyd.errors import InvalidParams
from buddyd.protocol.framing import (
    Encoding,
    Framer,
    IncomingRequest,
    decode_params,
    decode_request,
    encode_error,
    encode_result,
)
from buddyd.protocol.messages import (
    METHODS,
    ErrorCode,
    ErrorData,
    ErrorObject,
    GetExecutions,
    RecordExecutions,
    Request,
)


class Odd(Enum):
    """What a peer may do instead of answering."""

    SILENCE = "says nothing"
    HANG_UP = "closes the connection"


Reply = Answer | ErrorObject | bytes | Odd
"""A result, an error, bytes that are no answer, or something odd."""


class Asked(Struct, frozen=True):
    method: str
    params: Request | Execution


Script = Callable[[Asked], Reply]


def refusal(
    code: int, message: str, *, reason: str | UnsetType = UNSET, path: str | UnsetType = UNSET
) -> ErrorObject:
    return ErrorObject(code=code, message=message, data=ErrorData(reason=reason, path=path))


def unavailable(seconds: float) -> ErrorObject:
    return ErrorObject(
        code=ErrorCode.UNAVAILABLE,
        message="The registry is restarting; try again.",
        data=ErrorData(reason="restarting", retry_after_seconds=seconds),
    )


class Peer:
    """Answers what `script` says, and remembers what it was asked and over how many connections."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.connections = 0
        self.open: set[socket.socket] = set()
        self.folder = Path(tempfile.mkdtemp(prefix="buddyd-"))
        self.socket = self.folder / "s"
        self._server: _Server | None = None

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._server = _Server(str(self.socket), _Session)
        self._server.peer = self
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def hang_up(self) -> None:
        """Close every connection, as a daemon that ends does."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    peer: Peer


class _Session(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        peer = self.server.peer
        peer.connections += 1
        peer.open.add(self.request)
        framer = Framer(8 * 2**20)
        with contextlib.suppress(OSError, Hangup):
            while data := self.request.recv(65_536):
                for message in framer.feed(data):
                    self.answer(framer.encoding or Encoding.MSGPACK, message)
        peer.open.discard(self.request)

    def answer(self, encoding: Encoding, message: bytes) -> None:
        request = decode_request(encoding, message)
        asked = _asked(encoding, request)
        if isinstance(asked, ErrorObject):
            reply: Reply = asked
        else:
            self.server.peer.asked.append(asked)
            reply = self.server.peer.script(asked)
        match reply:
            case Odd.SILENCE:
                return
            case Odd.HANG_UP:
                raise Hangup
            case ErrorObject():
                self.request.sendall(encode_error(encoding, request.answer_id, reply))
            case bytes():
                self.request.sendall(reply)
            case Answer():
                self.request.sendall(encode_result(encoding, request.answer_id, reply))


class Hangup(Exception):
    """The connection is to be closed."""


def _asked(encoding: Encoding, request: IncomingRequest) -> Asked | ErrorObject:
    try:
        params = decode_params(encoding, request, METHODS[request.method].params)
    except InvalidParams as error:
        return refusal(
            ErrorCode.INVALID_PARAMS, f"{error.path}: {error}", reason=error.reason, path=error.path
        )
    return Asked(request.method, params)


@contextlib.contextmanager
def in_background(work: Callable[[], None]) -> Iterator[None]:
    """`work` goes on in a thread meanwhile, and has ended afterwards."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(10)
        assert not thread.is_alive()


@contextlib.contextmanager
def running(script: Script) -> Iterator[Peer]:
    """A peer that has started."""
    peer = Peer(script)
    try:
        peer.start()
        yield peer
    finally:
        peer.stop()
        shutil.rmtree(peer.folder)


class Ledger:
    """A script that records as the daemon does, and gives the records back."""

    def __init__(self, now: float = 1e12) -> None:
        self.now = now
        self.records: dict[str, Execution] = {}
        self.batches: list[int] = []

    def __call__(self, asked: Asked) -> Reply:
        match asked.params:
            case RecordExecutions(executions=executions):
                return self._record(executions)
            case Execution() as execution:
                return self._record([execution])
            case GetExecutions() as request:
                return self._page(request)
            case _:
                return Done()

    def _record(self, executions: list[Execution]) -> Reply:
        for index, execution in enumerate(executions):
            if isinstance(execution.finished_at, float) and execution.finished_at > self.now + 300:
                return refusal(
                    ErrorCode.INVALID_PARAMS,
                    "An execution has finished in the future.",
                    reason="More than 300 s ahead of the daemon's clock",
                    path=f"$.executions[{index}].finished_at",
                )
        before = len(self.records)
        self.records |= {str(each.execution_id): each for each in executions}
        self.batches.append(len(executions))
        accepted = len(self.records) - before
        return Receipt(accepted=accepted, duplicates=len(executions) - accepted, expired=0)

    def _page(self, request: GetExecutions) -> Executions:
        stored = [
            msgspec.convert(
                {"finished_at": 0.0, "error_type": None} | _plain(each), StoredExecution
            )
            for each in reversed(self.records.values())
            if request.tool_name in {UNSET, each.tool_name}
        ]
        start = int(request.before or 0)
        end = start + request.limit
        page = stored[start:end]
        return Executions(executions=page, next=str(end) if end < len(stored) else None)


def _plain(execution: Execution) -> dict[str, Any]:
    return {field: getattr(execution, field) for field in execution.__struct_fields__}
