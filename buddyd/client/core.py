"""What both clients know, without any input or output: bytes in, answers out; time is an argument.

`Dialogue` numbers the requests of one connection and pairs the answers with them, `Attempts`
decides what is tried again, and the functions turn an answer into a value or an exception.
"""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from buddyd.client.calls import Call
from buddyd.client.errors import ConnectionLost, DaemonError, NotRunning, Unreachable, garbled
from buddyd.domain.answers import Answer
from buddyd.errors import Unavailable
from buddyd.protocol.framing import (
    LARGEST_LIMIT,
    Encoding,
    Framer,
    IncomingResponse,
    MessageTooLarge,
    ProtocolError,
    decode_response,
    decode_result,
    encode_request,
)
from buddyd.protocol.messages import ErrorCode, ErrorObject

R = TypeVar("R", bound=Answer)

_SHORTEST_PAUSE = 0.01
_MOST_CONNECTIONS_LOST = 3


def chance() -> float:
    """A number in [0, 1), without the weight of the module `random`."""
    return int.from_bytes(os.urandom(4)) / 2**32


class Backoff:
    """Pauses between attempts: doubled each time up to `longest`, with full jitter.

    Each is drawn evenly from nothing to its bound, so that many clients that wait for the same
    daemon do not come all at once.
    """

    def __init__(
        self, first: float = 0.05, longest: float = 2.0, chance: Callable[[], float] = chance
    ) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._failures = 0

    def pause(self) -> float:
        """Seconds to wait after one more failure."""
        bound = min(self._longest, self._first * 2.0**self._failures)
        # The bound has long been reached: no power of two needs to grow for ever.
        self._failures = min(self._failures + 1, 30)
        return max(bound * self._chance(), _SHORTEST_PAUSE)

    def reset(self) -> None:
        """It worked."""
        self._failures = 0


class Dialogue:
    """One connection: which requests are open, and whose answer has come."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._framer = Framer(LARGEST_LIMIT, Encoding.MSGPACK)
        self._ids = itertools.count(1)
        self._open: set[int] = set()

    def ask(self, call: Call[Answer]) -> tuple[int, bytes]:
        """The number of a new request, and the bytes to send."""
        number = next(self._ids)
        frame = encode_request(Encoding.MSGPACK, number, call.method, call.params)
        self._open.add(number)
        return number, frame

    def abandon(self, number: int) -> None:
        """Nobody waits for this request any more; its answer may still come."""
        self._open.discard(number)

    def hear(self, data: bytes) -> list[tuple[int, IncomingResponse]]:
        """The answers that are complete with `data`; raises ConnectionLost where it is garbled."""
        try:
            responses = [decode_response(Encoding.MSGPACK, m) for m in self._framer.feed(data)]
        except (ProtocolError, MessageTooLarge) as error:
            raise garbled(self._socket, error) from None
        return [pair for response in responses for pair in self._settle(response)]

    def _settle(self, response: IncomingResponse) -> list[tuple[int, IncomingResponse]]:
        if response.id is None and isinstance(response.error, ErrorObject):
            # The daemon could not read a request so far as to know its id (it was too large, say),
            # and closes the connection: nothing that is open will be answered any more.
            numbers = sorted(self._open)
        else:
            numbers = [n for n in self._open if n == response.id]
        self._open.difference_update(numbers)
        return [(number, response) for number in numbers]


class Attempts:
    """Whether a call that failed is made again before `deadline`, on the caller's clock.

    `known` says that the daemon was spoken to before: where nobody listens now, it is believed to
    be restarting, and waited for. A daemon that was never there is not.
    """

    def __init__(
        self,
        call: Call[Answer],
        deadline: float,
        *,
        known: bool = False,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._call = call
        self._deadline = deadline
        self._known = known
        self._lost = 0
        self._backoff = Backoff(chance=chance)

    def pause(self, error: Unavailable | ConnectionLost | NotRunning, now: float) -> float:
        """Seconds to wait before the next attempt; raises `error` where there is to be none."""
        if isinstance(error, Unavailable):
            seconds = max(error.retry_after_seconds, _SHORTEST_PAUSE)
        elif isinstance(error, NotRunning) and self._known:
            seconds = self._backoff.pause()
        elif isinstance(error, ConnectionLost) and self._may_reconnect(error):
            # What was idle for long and is lost now is replaced at once.
            seconds = self._backoff.pause() if self._lost else 0.0
            self._known = True
            self._lost += 1
        else:
            raise error
        if not now + seconds < self._deadline:
            raise error
        return seconds

    def _may_reconnect(self, error: ConnectionLost) -> bool:
        may_repeat = self._call.repeatable or not error.sent
        return may_repeat and self._lost < _MOST_CONNECTIONS_LOST


def accepted(response: IncomingResponse) -> IncomingResponse:
    """`response` where it carries a result; raises DaemonError or Unavailable for an error."""
    if not isinstance(response.error, ErrorObject):
        return response
    if response.error.code == ErrorCode.UNAVAILABLE:
        retry_after = response.error.data.retry_after_seconds
        seconds = retry_after if isinstance(retry_after, (int, float)) else 1.0
        raise Unavailable(response.error.message, seconds)
    raise DaemonError(response.error)


def typed(socket: Path, call: Call[R], response: IncomingResponse) -> R:
    """The result as its struct; raises Unreachable where it does not fit."""
    try:
        # A call's type of answer is the one that METHODS names (a test holds them together).
        return cast("R", decode_result(Encoding.MSGPACK, response, call.method))
    except ProtocolError as error:
        raise _unfit(socket, call, error) from None


def plain(socket: Path, call: Call[Answer], response: IncomingResponse) -> dict[str, Any]:
    """The result as it came; raises Unreachable where it is no map."""
    raw = response.result if isinstance(response.result, msgspec.Raw) else msgspec.Raw()
    try:
        return msgspec.msgpack.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise _unfit(socket, call, error) from None


def _unfit(socket: Path, call: Call[Answer], error: Exception) -> Unreachable:
    problem = f"The daemon at {socket} answers {call.method} in a way that this version of the "
    return Unreachable(socket, f"{problem}client does not know: {error}")
