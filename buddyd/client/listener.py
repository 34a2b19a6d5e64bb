"""The client's side of a subscription, without any input or output: bytes in, events out."""

from pathlib import Path

import msgspec

from buddyd.client import core
from buddyd.client.calls import Call
from buddyd.client.errors import ConnectionLost, garbled
from buddyd.domain.answers import Subscribed
from buddyd.protocol.framing import (
    LARGEST_LIMIT,
    Encoding,
    Framer,
    MessageTooLarge,
    ProtocolError,
    decode_response,
    encode_request,
)
from buddyd.protocol.notifications import Event, decode_notification

CHUNK_BYTES = 65_536


class Listener:
    """A connection with one request, to subscribe, and what follows it.

    `request` are the bytes to send; `subscribed` is the daemon's answer once it was heard.
    """

    def __init__(self, socket: Path, call: Call[Subscribed]) -> None:
        self.subscribed: Subscribed | None = None
        self.request = encode_request(Encoding.MSGPACK, 1, call.method, call.params)
        self._socket = socket
        self._call = call
        self._framer = Framer(LARGEST_LIMIT, Encoding.MSGPACK)

    def hear(self, data: bytes) -> list[Event]:
        """The events that are complete with `data`.

        Raises DaemonError or Unavailable where the daemon refuses the subscription, ConnectionLost
        at the end (empty `data`), and where what comes is garbled.
        """
        if not data:
            raise ConnectionLost(self._socket, f"The daemon at {self._socket} has hung up.")
        try:
            return [e for m in self._framer.feed(data) if (e := self._read(m)) is not None]
        except (ProtocolError, MessageTooLarge, msgspec.MsgspecError) as error:
            raise garbled(self._socket, error) from None

    def _read(self, message: bytes) -> Event | None:
        if self.subscribed is not None:
            return decode_notification(Encoding.MSGPACK, message)
        response = core.accepted(decode_response(Encoding.MSGPACK, message))
        self.subscribed = core.typed(self._socket, self._call, response)
        return None
