"""What a connection is told without having asked."""

from collections.abc import Callable

from buddyd.protocol.framing import Encoding

MOST_UNSENT_NOTIFIED = 65_536
"""Bytes that may wait for the client when a notification is added."""


class Outlet:
    """A connection's place for notifications.

    Whoever fills it adds a notification only while there is `room`, and hears by `on_room` when
    there may be some again. `on_end` is called once, when nobody will be told any more.
    """

    def __init__(
        self, encoding: Encoding, unsent: Callable[[], int], send: Callable[[bytes], None]
    ) -> None:
        self.encoding = encoding
        self.on_room: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._unsent = unsent
        self._send = send
        self._open = True

    @property
    def room(self) -> bool:
        """Whether one more notification may be sent now."""
        return self._open and self._unsent() < MOST_UNSENT_NOTIFIED

    def send(self, notification: bytes) -> None:
        """Have the client told."""
        if self._open:
            self._send(notification)

    def emptied(self) -> None:
        """Tell who fills it that there may be room."""
        if self._open and self.on_room is not None:
            self.on_room()

    def end(self) -> None:
        """Nobody is told any more."""
        was_open, self._open = self._open, False
        if was_open and self.on_end is not None:
            self.on_end()
