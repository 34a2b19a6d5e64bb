"""One connection: requests come in, answers go out. What a method does, it does not know."""

import math
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.abc
import msgspec
import structlog
from msgspec import Struct

from buddyd.domain.answers import Answer
from buddyd.domain.execution import Execution
from buddyd.errors import InvalidParams, Unavailable
from buddyd.protocol.framing import (
    Encoding,
    Framer,
    IncomingRequest,
    MessageTooLarge,
    ProtocolError,
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
    Method,
    Request,
    RequestId,
    Role,
)
from buddyd.protocol.wording import cut
from buddyd.runtime.channels import Deliver
from buddyd.server.connection import Connection
from buddyd.server.outlet import Outlet
from buddyd.server.pending import PendingRequests
from buddyd.server.places import Place, Places
from buddyd.server.refusals import Refused, described, error_object
from buddyd.server.sender import Sender, Unsent

log = structlog.get_logger()

Dispatch = Callable[[Request | Execution, Deliver, Outlet], Awaitable[None]]

READ_BYTES = 65_536
MOST_PENDING = 128
"""Requests of one connection that may be unanswered; then nothing more is read from it."""
MOST_UNSENT_BYTES = 1_048_576
"""Answers that may wait for the client to read them, likewise."""
MOST_UNSENT_IN_ALL = 64 * 1_048_576
"""Bytes that may wait for all clients together. With more, no large answer is added, and nothing
more is read from those who have not read all of theirs."""
LARGE_BYTES = 65_536
"""A message above this is large, and needs one of the server's places for large ones."""
MOST_LARGE = 8
"""Large messages that there may be at once, from all connections: the memory they take is theirs
from their first bytes to their answer. The others wait for their turn; small ones do not."""
MESSAGE_SECONDS = 30.0
"""How long a message may take to come, once it has begun."""
LAST_SECONDS, FIRST_SECONDS = 0.05, 1.0
"""How long a drained session still listens for what is on its way; and one that has said nothing
yet, whose client has just connected and is about to."""


class Traffic(Struct):
    """What the sessions of a server have seen."""

    connections: int = 0
    """How many there are now."""
    refusals: int = 0
    """Calls to record that were refused because of what they said."""


class SessionSettings(Struct, frozen=True):
    """What the sessions of a server have in common."""

    dispatch: Dispatch
    max_message_bytes: int
    traffic: Traffic
    large: Places = msgspec.field(default_factory=lambda: Places(MOST_LARGE))
    """The places for large messages."""
    unsent: Unsent = msgspec.field(default_factory=lambda: Unsent(MOST_UNSENT_IN_ALL))
    """What waits for the clients of all of them."""


class Session:
    """A connection, from its first byte to its last answer."""

    def __init__(
        self, stream: Connection, roles: frozenset[Role], settings: SessionSettings
    ) -> None:
        self._stream = stream
        self._roles = roles
        self._settings = settings
        self._framer = Framer(settings.max_message_bytes)
        self._place = Place(settings.large)
        self._reading = anyio.CancelScope()
        # Around what an administrator waits for.
        self._patience = anyio.CancelScope()
        self._is_draining = False
        # When the message that has begun to come must be whole; inf between messages.
        self._whole_by = math.inf
        self._pending = PendingRequests(self._conclude)
        self._room = anyio.Event()
        self._sender = Sender(stream, self._pending.by_token, self._make_room, settings.unsent)

    async def run(self) -> None:
        """Serve until the client has gone, or has sent all and got all."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._sender.run)
                await self._read()
                self._sender.finish()
                if self._reading.cancel_called and self._sender.owes_nothing:
                    # Only news wait, for a client that may not read them: it is not waited for.
                    self._sender.cut_off()
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError) as gone:
            log.debug("client gone", reason=str(gone.exceptions[0]))
        finally:
            # The places of what was taken on are free once that is answered.
            self._place.give_up()
            self._sender.close()
            self._pending.stop()

    def drain(self) -> None:
        """Read only what is on its way; what was received is still answered, if soon."""
        # `framer.encoding` is known from the first byte on.
        patience = FIRST_SECONDS if self._framer.encoding is None else LAST_SECONDS
        self._reading.deadline = anyio.current_time() + patience
        self._is_draining = True
        self._patience.cancel()
        self._sender.end_outlet()

    # Incoming

    async def _read(self) -> None:
        try:
            while data := await self._receive():
                for message in self._framer.feed(data):
                    await self._take(message)
                    self._whole_by = math.inf
                self._time_message()
            # What a drained session has of a message may be half of one.
            if not self._reading.cancel_called and (last := self._framer.finish()):
                await self._take(last)
        except MessageTooLarge as error:
            # Where the next message begins cannot be told any more.
            reason = ErrorData(reason=str(error))
            self._send_error(None, error_object(ErrorCode.INVALID_REQUEST, str(error), reason))

    async def _receive(self) -> bytes:
        """The next bytes; none at the end, and none where the session is drained."""
        with self._reading:
            try:
                if not self._framer.pending:
                    return await self._stream.receive(READ_BYTES)
                await self._take_place(self._framer.pending)
                with anyio.fail_after(self._whole_by - time.monotonic()):
                    if self._place.is_held:
                        return await self._place.receive(self._stream.receive)
                    return await self._stream.receive(READ_BYTES)
            except anyio.EndOfStream:
                pass
        return b""

    def _time_message(self) -> None:
        """See to it that what has begun to come ends in time, however little comes at once."""
        if not self._framer.pending:
            self._whole_by = math.inf
        elif math.isinf(self._whole_by):
            self._whole_by = time.monotonic() + MESSAGE_SECONDS

    async def _take_place(self, size: int) -> None:
        """Wait for one's turn, where what there is of a message is large."""
        if size > LARGE_BYTES and not self._place.is_held:
            await self._until_room()
            await self._place.take()
            # Its time begins anew: it was not for the client that it had to wait.
            self._whole_by = time.monotonic() + MESSAGE_SECONDS

    async def _until_room(self) -> None:
        """Wait while too much is unanswered, or not yet read by the client."""
        while len(self._pending.by_token) >= MOST_PENDING or self._has_much_to_read:
            self._room = anyio.Event()
            await self._room.wait()

    @property
    def _has_much_to_read(self) -> bool:
        """Whether its client had better read than ask."""
        unsent = self._sender.unsent_bytes
        return unsent >= MOST_UNSENT_BYTES or (unsent > 0 and not self._settings.unsent.has_room())

    async def _take(self, message: bytes) -> None:
        """Answer a message, or see to it that it will be answered."""
        if not self._place.is_held:
            # With a place, nothing is waited for but the message: others wait for the place.
            await self._until_room()
        await self._take_place(len(message))
        try:
            request = decode_request(self._encoding, message)
        except ProtocolError as error:
            self._place.give_up()
            self._send_error(error.request_id, described(error))
            return
        token = self._pending.expect(request, is_large=self._place.hand_over())
        try:
            await self._serve(request, token)
        except Exception as error:
            # Whatever it is, it is an answer to this request, and no reason to leave the others.
            self._conclude(token, error)
        except BaseException:
            # It ends before the request was taken on, and nobody else will conclude it.
            self._conclude(token, Unavailable("The connection has ended."))
            raise

    async def _serve(self, request: IncomingRequest, token: int) -> None:
        method = self._permitted(request.method)
        params = decode_params(self._encoding, request, method.params)
        if method.role is Role.ADMIN:
            await self._dispatch_patiently(params, token)
        else:
            await self._dispatch(params, token)

    async def _dispatch(self, params: Request | Execution, token: int) -> None:
        outlet = self._sender.outlet(self._encoding)
        await self._settings.dispatch(params, partial(self._conclude, token), outlet)

    async def _dispatch_patiently(self, params: Request | Execution, token: int) -> None:
        """The same for what takes its time, such as a backup: a drained session calls it off."""
        with anyio.CancelScope() as self._patience:
            if self._is_draining:
                self._patience.cancel()
            await self._dispatch(params, token)
        if self._patience.cancelled_caught:
            raise Unavailable("The daemon is stopping.", 2.0)

    def _permitted(self, name: str) -> Method:
        """The method of this name; raises where there is none, or this peer may not use it."""
        method = METHODS.get(name)
        if method is None:
            sentence = f"There is no method `{cut(name)}`."
            data = ErrorData(method=cut(name))
            raise Refused(ErrorCode.METHOD_NOT_FOUND, sentence, data)
        if method.role not in self._roles:
            sentence = (
                f"This user may not use `{name}`: it takes the role `{method.role}`, "
                "which the daemon's configuration gives under [access]."
            )
            data = ErrorData(role=method.role.value)
            raise Refused(ErrorCode.NOT_PERMITTED, sentence, data)
        return method

    # Outgoing

    def _conclude(self, token: int, outcome: object) -> None:
        """Answer a request, once."""
        pending = self._pending.take(token)
        if pending is None:
            return
        if pending.is_large:
            self._settings.large.release()
        self._make_room()
        if isinstance(outcome, InvalidParams) and pending.method.startswith("record_"):
            self._settings.traffic.refusals += 1
        if not pending.wants_answer:
            self._sender.fewer_come()
        elif isinstance(outcome, Answer):
            self._send_result(pending.id, outcome)
        else:
            self._send_error(pending.id, described(outcome, pending.method))

    def _send_result(self, request_id: RequestId, result: Answer) -> None:
        try:
            data = encode_result(self._encoding, request_id, result)
        except Exception as error:
            # An integer beyond what MessagePack holds, say; it must not hurt the actor it is from.
            self._send_error(request_id, described(error))
            return
        if len(data) > LARGE_BYTES and not self._settings.unsent.has_room(len(data)):
            reason = "Too much waits for clients that do not read it."
            self._send_error(request_id, described(Unavailable(reason, 1.0)))
            return
        self._sender.send(data)

    def _send_error(self, request_id: RequestId, error: ErrorObject) -> None:
        self._sender.send(encode_error(self._encoding, request_id, error))

    def _make_room(self) -> None:
        self._room.set()

    @property
    def _encoding(self) -> Encoding:
        # Known from the first byte on, and nothing is sent before that.
        return self._framer.encoding or Encoding.JSON
