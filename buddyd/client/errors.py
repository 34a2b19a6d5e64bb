"""What a call can end with besides its answer: one class for each decision of the caller.

`Unavailable` (from `buddyd.errors`, the same that the daemon raises) is the daemon's own "not
now"; by the time a client raises it, waiting did not fit the call's time limit.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from buddyd.client.deferred import Deferred
from buddyd.errors import BuddydError

if TYPE_CHECKING:
    from msgspec import MsgspecError

    from buddyd.protocol import messages
    from buddyd.protocol.messages import ErrorData, ErrorObject
else:
    messages = Deferred("buddyd.protocol.messages")


class DaemonError(BuddydError):
    """The daemon refused the call, and will refuse it again; `code` is from the protocol."""

    def __init__(self, error: "ErrorObject") -> None:
        super().__init__(error.message)
        self.code: int = error.code
        self.message: str = error.message
        self.data: ErrorData = error.data

    @property
    def path(self) -> str | None:
        """Which parameter is wrong, such as `$.executions[3].duration_seconds`."""
        return self.data.path if isinstance(self.data.path, str) else None

    @property
    def reason(self) -> str:
        """The particulars where the daemon gave any, else its sentence."""
        return self.data.reason if isinstance(self.data.reason, str) else self.message

    @property
    def blames_params(self) -> bool:
        """Whether a parameter is wrong, so that the call can be mended."""
        return self.code == messages.ErrorCode.INVALID_PARAMS


class Unreachable(BuddydError):
    """No answer came from `socket`; another attempt later may succeed."""

    def __init__(self, socket: Path, problem: str) -> None:
        super().__init__(problem)
        self.socket = socket


class NotRunning(Unreachable):
    """Nothing listens at `socket`, so nothing was sent."""

    def __init__(self, socket: Path) -> None:
        super().__init__(
            socket,
            f"No daemon listens at {socket}; start one with `systemctl start buddyd` or `buddyd`.",
        )


class ConnectionLost(Unreachable):
    """The connection ended before the answer. Where `sent`, the call may have been carried out."""

    def __init__(self, socket: Path, problem: str | None = None, *, sent: bool = True) -> None:
        super().__init__(
            socket,
            problem
            or f"The daemon at {socket} ended the connection without an answer; its log says why.",
        )
        self.sent = sent


class TimedOut(Unreachable, TimeoutError):
    """No answer within the time limit. The call may still be carried out."""

    def __init__(self, socket: Path, seconds: float) -> None:
        super().__init__(socket, f"The daemon at {socket} gave no answer within {seconds:,.12g} s.")
        self.seconds = seconds


def unreachable(socket: Path, error: OSError) -> Unreachable:
    """Why `socket` could not be connected to."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)):
        return NotRunning(socket)
    if isinstance(error, PermissionError):
        return Unreachable(
            socket,
            f"You may not open the socket {socket}: its mode forbids it. "
            "Join its group, or ask as a user who may.",
        )
    return Unreachable(socket, f"The socket {socket} cannot be connected to: {error}.")


def garbled(socket: Path, error: "BuddydError | MsgspecError") -> ConnectionLost:
    """What came over `socket` is no answer; nothing after it can be trusted."""
    return ConnectionLost(
        socket, f"What listens at {socket} does not speak the protocol of buddyd: {error}"
    )
