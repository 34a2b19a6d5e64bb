"""The daemon's log: structlog's events, one line each, on one of three outputs.

`structlog.get_logger()` gives loggers whose calls are synchronous, cheap and never wait: what the
journal, or the reader of standard error, has no room for is dropped, and the next line that gets
through tells how many (`lines_dropped`). An event that repeats itself is held back (`held_back`,
see `events.py`), apart from debugging, which is wanted whole. What the standard library's `logging`
and `warnings` say takes the same way.

Values may come from clients. Whatever they hold, an event stays one record: on a terminal each
record is one line, apart from a traceback, whose lines are indented.

structlog draws tracebacks with rich where it finds it, which takes 5 MB of memory and is of no use
here; it does not find it where this module is imported before structlog.
"""

import logging
import os
import re
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, cast

from buddyd.errors import ConfigurationError
from buddyd.events import RateLimit, message_id
from buddyd.log_text import Event, console_line, json_line, sentence, text

_modules = cast("dict[str, ModuleType | None]", sys.modules)
_modules.setdefault("rich", None)  # An import of what is None fails.
import structlog  # noqa: E402
from structlog.contextvars import merge_contextvars  # noqa: E402
from structlog.processors import (  # noqa: E402
    CallsiteParameter,
    CallsiteParameterAdder,
    ExceptionRenderer,
)
from structlog.typing import ExcInfo  # noqa: E402

if _modules["rich"] is None:
    del _modules["rich"]

JOURNAL = Path("/run/systemd/journal/socket")
IDENTIFIER = "buddyd"
_FRAMES = 50
_JOURNAL_KEY_LENGTH = 64


class _Level(NamedTuple):
    """How severe a line is: for `logging`, for syslog(3), and as a colour of a terminal."""

    number: int
    priority: int
    colour: str


_LEVELS = {
    "debug": _Level(logging.DEBUG, 7, "\x1b[2m"),
    "info": _Level(logging.INFO, 6, "\x1b[32m"),
    "warning": _Level(logging.WARNING, 4, "\x1b[33m"),
    "error": _Level(logging.ERROR, 3, "\x1b[31m"),
    "critical": _Level(logging.CRITICAL, 2, "\x1b[1;31m"),
}

Send = Callable[[Event], bool]
Format = Literal["auto", "journald", "console", "json"]

_undo = ExitStack()


def configure(
    level: str = "info", output_format: Format = "auto", *, fd: int = 2, journal: Path = JOURNAL
) -> None:
    """Set up structlog, `logging` and `warnings`, for the first time or anew.

    `fd` is where console and JSON lines go. Raises ConfigurationError where the journal is asked
    for and there is none.
    """
    close()
    chosen = _automatic(fd, journal) if output_format == "auto" else output_format
    output = _Output(_sender(chosen, fd, journal))
    structlog.configure(
        processors=_processors(in_journal=chosen == "journald"),
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )
    _undo.callback(structlog.reset_defaults)
    _take_over_logging()
    set_level(level)


def close() -> None:
    """Undo `configure` and let go of the journal; nothing is written by this module after that."""
    _undo.close()


get_logger = structlog.get_logger


def set_level(level: str) -> None:
    """Log what is at least as severe as `level` from now on, whichever logger says it."""
    _threshold.number = _LEVELS[level].number
    # What libraries tell of their own work (aiosqlite: every statement) is no concern of ours.
    logging.getLogger().setLevel(max(_threshold.number, logging.WARNING))


def _take_over_logging() -> None:
    root = logging.getLogger()
    _undo.callback(root.setLevel, root.level)
    handler = _Forwarder()
    root.addHandler(handler)
    _undo.callback(root.removeHandler, handler)
    logging.captureWarnings(capture=True)
    _undo.callback(logging.captureWarnings, capture=False)


def _automatic(fd: int, journal: Path) -> Format:
    if _is_journal(fd) and journal.is_socket():
        return "journald"
    return "console" if os.isatty(fd) else "json"


def _is_journal(fd: int) -> bool:
    """Whether systemd has connected `fd` to the journal, and nobody has redirected it since."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _sender(chosen: Format, fd: int, journal: Path) -> Send:
    if chosen == "journald":
        return _journal_sender(journal)
    lines = _Lines(fd)
    if chosen == "json":
        return lambda event: lines.send(json_line(event))
    colours = os.isatty(fd) and not os.environ.get("NO_COLOR")
    return lambda event: lines.send(console_line(event, _colour(event) if colours else ""))


def _colour(event: Event) -> str:
    return _LEVELS[event["level"]].colour


# From a call to an event


class _Threshold:
    """The level that a line needs, as a number; one for all loggers, to be changed at run time."""

    number = logging.INFO

    def __call__(self, _logger: object, method: str, event: Event) -> Event:
        if _LEVELS[method].number < self.number:
            raise structlog.DropEvent
        return event


_threshold = _Threshold()


class _HoldBack:
    """Keeps an event that comes again and again from drowning the others."""

    def __init__(self) -> None:
        self._limit = RateLimit()

    def __call__(self, _logger: object, method: str, event: Event) -> Event:
        if method != "debug" and not self._limit.passes(event):
            raise structlog.DropEvent
        return event


def _processors(*, in_journal: bool) -> list[Any]:
    caller = CallsiteParameterAdder(
        [CallsiteParameter.PATHNAME, CallsiteParameter.LINENO, CallsiteParameter.FUNC_NAME],
        additional_ignores=[__name__],
    )
    return [
        _threshold,
        merge_contextvars,
        _HoldBack(),
        _complete,
        *[caller] * in_journal,
        ExceptionRenderer(_traceback),
    ]


def _complete(_logger: object, method: str, event: Event) -> Event:
    """The event with what every event has in front; no value can pass for one of these."""
    common = {"timestamp": time.time(), "level": method, "event": event.get("event", "")}
    return common | event | common


def _traceback(exc_info: ExcInfo) -> str:
    """The last frames of every exception in the chain."""
    try:
        parts = traceback.TracebackException(*exc_info, limit=-_FRAMES, compact=True).format()
        return "".join(parts).rstrip("\n")
    except Exception as failure:
        return f"{exc_info[0].__qualname__}, whose traceback cannot be shown: {failure!r}"


class _Forwarder(logging.Handler):
    """Hands the records of `logging` to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log `record` at the nearest level that is not above its own."""
        try:
            method = _method_for(record.levelno)
            log = getattr(structlog.get_logger(), method)
            log(record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:
            self.handleError(record)


def _method_for(number: int) -> str:
    return next((name for name in reversed(_LEVELS) if _LEVELS[name].number <= number), "debug")


# From an event to an output


class _Output:
    """What structlog hands its events to: sends them, and counts what does not get through."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._dropped = 0
        # aiosqlite's threads log too.
        self._lock = threading.Lock()

    def write(self, /, **event: object) -> None:
        """Send one event; never waits for the reader, never raises."""
        with self._lock:
            if self._dropped:
                event["lines_dropped"] = self._dropped
            self._dropped = 0 if self._sent(event) else self._dropped + 1

    def _sent(self, event: Event) -> bool:
        try:
            return self._send(event)
        except Exception:
            # A value that cannot be rendered must not end the work that it tells of.
            return False

    debug = info = warning = error = critical = write


class _Lines:
    """A file descriptor that takes whole lines, or refuses them where its reader is behind."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def send(self, line: bytes) -> bool:
        """Whether `line` was taken; the end of a long one may follow with the next."""
        try:
            self._rest = self._push(self._rest)
            if self._rest:
                return False
            rest = self._push(line)
        except OSError:
            return False
        taken = len(rest) < len(line)
        self._rest = rest if taken else b""
        return taken

    def _push(self, data: bytes) -> bytes:
        """Write what there is room for and give back what is left."""
        # O_NONBLOCK would hold for every process that shares the descriptor. A pipe that polls as
        # writable takes PIPE_BUF bytes without waiting.
        while data and self._poll.poll(0):
            data = data[os.write(self._fd, data[: select.PIPE_BUF]) :]
        return data


# The journal's native protocol


def _journal_sender(journal: Path) -> Send:
    # Only a daemon under systemd pays for its memory.
    from logging_journald import (  # type: ignore[import-untyped]  # noqa: PLC0415
        JournaldTransport,
    )

    if not journal.is_socket():
        raise ConfigurationError(
            f'log.format is "journald", but there is no journal at {journal}; '
            'it must be "auto", "console" or "json" here.'
        )
    # Not connected, it finds a journald that was started anew; not blocking, a stopped one can
    # not stop the daemon.
    transport = JournaldTransport(journal, connected=False)
    transport.socket.settimeout(0)
    _undo.callback(transport.socket.close)

    def send(event: Event) -> bool:
        try:
            transport.send(_journal_fields(event))
        except OSError:
            return False
        return True

    return send


def _journal_fields(event: Event) -> Iterator[tuple[str, int | bytes]]:
    """The fields of one journal entry: what people read, then every value by itself."""
    for key, field in (("pathname", "FILE"), ("lineno", "LINE"), ("func_name", "FUNC")):
        yield f"CODE_{field}", _journal_bytes(event.pop(key, ""))
    yield "SYSLOG_IDENTIFIER", IDENTIFIER.encode()
    yield "PRIORITY", _LEVELS[event["level"]].priority
    yield "MESSAGE", _journal_bytes(sentence(event))
    if known := message_id(event):
        yield "MESSAGE_ID", known.encode()
    # The journal has its own clock.
    del event["timestamp"]
    for key, value in event.items():
        yield _journal_key(key), _journal_bytes(value)


def _journal_key(key: str) -> str:
    """A field's name: journald drops those with other characters, and longer ones."""
    return "BUDDYD_" + re.sub(r"[^A-Z0-9_]", "_", key.upper())[: _JOURNAL_KEY_LENGTH - 7]


def _journal_bytes(value: object) -> bytes:
    return text(value).encode(errors="backslashreplace")
