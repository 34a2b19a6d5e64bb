"""The requests of a connection that have no answer yet, and what becomes of those that get none."""

import math
import time
from collections.abc import Callable

from msgspec import Struct

from buddyd.errors import Unavailable
from buddyd.protocol.framing import IncomingRequest
from buddyd.protocol.messages import METHODS, RequestId, Role
from buddyd.runtime.timer import Timer

ANSWER_SECONDS = 30.0
"""How long an answer may take; then the client is told to try again."""


class Pending(Struct, frozen=True):
    """A request that has no answer yet."""

    id: RequestId
    wants_answer: bool
    method: str
    deadline: float
    """By the monotonic clock; inf where it may take its time."""
    is_large: bool
    """Whether it holds one of the server's places for large messages."""


class PendingRequests:
    """Knows each by a token. `conclude` is told of one whose time is over, with the reason.

    Others only look at `by_token`.
    """

    def __init__(self, conclude: Callable[[int, object], None]) -> None:
        self.by_token: dict[int, Pending] = {}
        self._conclude = conclude
        self._tokens = 0
        self._expiry = Timer(self._expire)

    def expect(self, request: IncomingRequest, *, is_large: bool) -> int:
        """Remember that an answer is due; returns the token of the request."""
        method = METHODS.get(request.method)
        deadline = math.inf
        # What an administrator asks for takes its time.
        if method is None or method.role is not Role.ADMIN:
            deadline = time.monotonic() + ANSWER_SECONDS
            self._expiry.ring_within(ANSWER_SECONDS)
        self._tokens += 1
        self.by_token[self._tokens] = Pending(
            request.answer_id, request.wants_answer, request.method, deadline, is_large
        )
        return self._tokens

    def take(self, token: int) -> Pending | None:
        """The request, which is pending no more; None where it was taken before."""
        return self.by_token.pop(token, None)

    def stop(self) -> None:
        """Let none expire any more."""
        self._expiry.stop()

    def _expire(self) -> None:
        now = time.monotonic()
        for token in [t for t, p in self.by_token.items() if p.deadline <= now]:
            reason = f"There was no answer within {ANSWER_SECONDS:g} s."
            self._conclude(token, Unavailable(reason, 5.0))
        earliest = min((p.deadline for p in self.by_token.values()), default=math.inf)
        if not math.isinf(earliest):
            self._expiry.ring_within(earliest - now)
