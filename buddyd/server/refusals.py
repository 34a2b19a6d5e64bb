"""How an error is told to the client whose request it ends."""

import structlog

from buddyd.errors import InvalidParams, Unavailable
from buddyd.protocol.framing import ProtocolError
from buddyd.protocol.messages import ErrorCode, ErrorData, ErrorObject
from buddyd.protocol.wording import ended, lowered

log = structlog.get_logger()


class Refused(Exception):
    """A request that ends here."""

    def __init__(self, code: int, message: str, data: ErrorData) -> None:
        super().__init__(message)
        self.error = error_object(code, message, data)


def error_object(code: int, message: str, data: ErrorData) -> ErrorObject:
    """An error of the protocol."""
    return ErrorObject(code=code, message=message, data=data)


def described(outcome: object, method: str | None = None) -> ErrorObject:
    """An error as the protocol tells it; a fault of the daemon's own goes into the log too."""
    match outcome:
        case Refused(error=error):
            return error
        case ProtocolError() as error:
            return error_object(error.code, str(error), ErrorData(reason=error.reason))
        case InvalidParams(reason=reason, path=path):
            return error_object(
                ErrorCode.INVALID_PARAMS,
                f"The parameter {path} is wrong: {ended(lowered(reason))}",
                ErrorData(reason=reason, path=path),
            )
        case Unavailable(reason=reason, retry_after_seconds=seconds):
            message = f"{reason} Try again in {seconds:g} s."
            data = ErrorData(reason=reason, retry_after_seconds=seconds)
            return error_object(ErrorCode.UNAVAILABLE, message, data)
    fault = outcome if isinstance(outcome, Exception) else None
    log.error("request failed", method=method, exc_info=fault)
    message = "The daemon could not answer because of a fault of its own; its log has the details."
    return error_object(ErrorCode.INTERNAL_ERROR, message, ErrorData(reason=type(outcome).__name__))
