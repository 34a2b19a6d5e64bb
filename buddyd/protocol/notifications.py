"""What the daemon says without being asked, to those who subscribed.

A notification is a JSON-RPC message with a `method` and without an `id`. `NOTIFICATIONS` says what
its `params` are. An execution goes to many subscriptions: it is encoded once for each encoding,
and each notification is put around that.
"""

from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from buddyd.domain.answers import AnswerName, StoredExecution
from buddyd.protocol.framing import Encoding, frame


class Notification(Struct, frozen=True, kw_only=True):
    """Anything that a subscription is told; `subscription` is its number."""

    subscription: int


class ExecutionCommitted(Notification, frozen=True, kw_only=True):
    """An execution was committed."""

    commit: int
    """The number of the commit; those of one subscription come in their order."""
    execution: StoredExecution
    """Under its true names, as `get_executions` gives it."""


class Changed(Notification, frozen=True, kw_only=True):
    """Answers are no longer what they were."""

    answers: list[AnswerName]
    commits: int
    """The number of the last commit that is behind it."""


class Missed(Notification, frozen=True, kw_only=True):
    """The client did not read fast enough: executions were left out here."""

    count: int


Event = ExecutionCommitted | Changed | Missed

NOTIFICATIONS: dict[str, type[Event]] = {
    "execution": ExecutionCommitted,
    "changed": Changed,
    "missed": Missed,
}
"""Every notification, by the `method` that it bears."""


class _Incoming(Struct, frozen=True):
    """A message from the daemon. An answer has no `method`."""

    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"")


class _Outgoing(Struct, frozen=True, kw_only=True):
    jsonrpc: Literal["2.0"] = "2.0"
    method: str
    params: Notification


class _Around(Notification, frozen=True, kw_only=True):
    """An ExecutionCommitted whose execution is encoded already."""

    commit: int
    execution: msgspec.Raw


_METHODS: dict[type[Notification], str] = {
    **{params: method for method, params in NOTIFICATIONS.items()},
    _Around: "execution",
}

_ENCODERS = {
    Encoding.JSON: msgspec.json.Encoder().encode,
    Encoding.MSGPACK: msgspec.msgpack.Encoder().encode,
}


@cache
def _decoder(encoding: Encoding, type_: Hashable) -> Callable[[bytes], Any]:
    if encoding is Encoding.JSON:
        return msgspec.json.Decoder(type_).decode
    return msgspec.msgpack.Decoder(type_).decode


def encode_execution(encoding: Encoding, execution: StoredExecution) -> msgspec.Raw:
    """The part that an execution's notifications share."""
    return msgspec.Raw(_ENCODERS[encoding](execution))


def encode_committed(
    encoding: Encoding, subscription: int, commit: int, execution: msgspec.Raw
) -> bytes:
    """An ExecutionCommitted, framed; `execution` comes from `encode_execution`."""
    around = _Around(subscription=subscription, commit=commit, execution=execution)
    return encode_notification(encoding, around)


def encode_notification(encoding: Encoding, notification: Notification) -> bytes:
    """A notification, framed."""
    outgoing = _Outgoing(method=_METHODS[type(notification)], params=notification)
    return frame(encoding, _ENCODERS[encoding](outgoing))


def decode_notification(encoding: Encoding, message: bytes) -> Event | None:
    """A notification; None where `message` is something else, or of a kind not known here.

    Raises msgspec.MsgspecError where it is not what its method says.
    """
    incoming: _Incoming = _decoder(encoding, _Incoming)(message)
    if incoming.method not in NOTIFICATIONS:
        return None
    event: Event = _decoder(encoding, NOTIFICATIONS[incoming.method])(bytes(incoming.params))
    return event
