import json
import logging
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import warnings
from array import array
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buddyd import log
from buddyd.errors import ConfigurationError
from buddyd.events import MESSAGE_IDS, MOST_EVENTS, MOST_LINES, PERIOD_SECONDS, RateLimit
from buddyd.log_text import LONGEST_VALUE

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
FORGED = "harmless\n2026-01-01 00:00:00 info     forged"

# What a client might send: any text, and more often than not something that ends lines.
TEXT = st.text(
    st.sampled_from("a =\"'\\\n\r\t\0\x0b\x0c\x1b\x1c\x7f\x85\x9b\u2028\u2029\u202e\udcff")
    | st.characters()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


OUTPUTS: tuple[log.Format, ...] = ("json", "console")


class Reader:
    """What was written to a file descriptor."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.fd = file.fileno()

    def bytes(self) -> bytes:
        """What came since the last call."""
        self.file.seek(0)
        data = self.file.read()
        self.file.seek(0)
        self.file.truncate()
        return data

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.bytes().splitlines()]


@pytest.fixture
def output() -> Iterator[Reader]:
    with TemporaryFile() as file:
        yield Reader(file)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """No test's logging is the next one's."""
    yield
    log.close()


def fail(text: str) -> None:
    raise ValueError(text)


# Levels


def test_only_what_is_severe_enough_is_logged(output: Reader) -> None:
    log.configure("warning", "json", fd=output.fd)
    logger = structlog.get_logger()
    for method in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, method)("said")
    assert [event["level"] for event in output.events()] == ["warning", "error", "critical"]


def test_a_change_of_level_holds_for_the_loggers_that_exist(output: Reader) -> None:
    log.configure("info", "json", fd=output.fd)
    bound = structlog.get_logger().bind(actor="collector")
    bound.debug("one")
    log.set_level("debug")
    bound.debug("two")
    log.set_level("error")
    bound.warning("three")
    assert [event["event"] for event in output.events()] == ["two"]


# JSON lines


def test_a_json_line_tells_when_how_severe_and_what(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    before = datetime.now(UTC)
    structlog.get_logger().info("batch committed", records=100, seconds=0.5, agent="a")
    [event] = output.events()
    told = datetime.fromisoformat(event.pop("timestamp"))
    assert abs((told - before).total_seconds()) < 60
    assert event == {
        "level": "info",
        "event": "batch committed",
        "records": 100,
        "seconds": 0.5,
        "agent": "a",
    }


def test_structures_stay_structures_and_the_rest_is_text(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    structlog.get_logger().info(
        "x", nested={"a": [1, None, (True,)]}, path=Path("/a"), nan=float("nan"), huge=10**5000
    )
    [event] = output.events()
    assert event["nested"] == {"a": [1, None, [True]]}
    assert event["path"] == "/a"
    assert event["nan"] == "nan"
    assert "cannot be shown" in event["huge"]


def test_a_value_cannot_pass_for_what_the_log_says_itself(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    structlog.get_logger().error("real", level="info", timestamp="never")
    [event] = output.events()
    assert event["level"] == "error"
    assert event["timestamp"] != "never"


def test_what_has_no_end_is_cut(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    endless: list[object] = []
    endless.append(endless)
    deep: dict[str, object] = {}
    deep["deeper"] = deep
    structlog.get_logger().info("x", endless=endless, deep=deep, many=list(range(10**6)))
    structlog.get_logger().info("x", long="a" * 10**6)
    first, event = output.events()
    assert len(json.dumps(first)) < 2_000
    assert len(json.dumps(event)) < 20_000
    assert "983616 characters left out" in event["long"]


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_value_that_cannot_be_shown_does_not_stop_the_work(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    structlog.get_logger().info("x", value=Unshowable())
    [event] = output.events()
    assert event["value"] == "<Unshowable that cannot be shown: RuntimeError>"


# No value can forge a line or drive a terminal


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, st.dictionaries(TEXT.filter(lambda key: key != "event"), VALUES, max_size=3))
def test_an_event_is_one_line_whatever_its_values_are(
    output: Reader, event: str, values: dict[str, Any]
) -> None:
    values.pop("exc_info", None)
    log.configure(output_format="console", fd=output.fd)
    structlog.get_logger().info(event, **values)
    text = output.bytes().decode()
    assert text.endswith("\n")
    lines = [line for line in text[:-1].split("\n") if not line.startswith("    ")]
    assert len(lines) == 1
    assert text[:-1].replace("\n    ", "").isprintable()

    log.configure(output_format="json", fd=output.fd)
    structlog.get_logger().info(event, **values)
    text = output.bytes().decode()
    assert text[:-1].isprintable()
    assert text[-1] == "\n"
    assert json.loads(text)["level"] == "info"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT)
def test_an_exceptions_text_cannot_either(output: Reader, text: str) -> None:
    log.configure(output_format="console", fd=output.fd)
    try:
        fail(text)
    except ValueError:
        structlog.get_logger().exception("crash", agent="a")
    first, *others = output.bytes().decode().split("\n")[:-1]
    assert re.fullmatch(r"\S+ \S+ error    crash agent=a", first)
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_the_text_of_an_object_is_a_value_too(output: Reader) -> None:
    log.configure(output_format="console", fd=output.fd)
    structlog.get_logger().warning("refused", reason=ValueError(FORGED + ESCAPE))
    text = output.bytes()
    assert text.count(b"\n") == 1
    assert b"\x1b" not in text


def test_values_are_told_apart(output: Reader) -> None:
    log.configure(output_format="console", fd=output.fd)
    structlog.get_logger().info("x", a="1 b=2", c="3", d="")
    assert output.bytes().endswith(b"x a='1 b=2' c=3 d=''\n")


# Terminals


def written_to_a_terminal(output_format: log.Format) -> str:
    reader, terminal = pty.openpty()
    log.configure(output_format=output_format, fd=terminal)
    structlog.get_logger().error("crash")
    text = os.read(reader, 1000).decode()
    os.close(reader)
    os.close(terminal)
    return text


def test_a_terminal_gets_coloured_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert re.fullmatch(
        r"\S+ \S+ \x1b\[31merror   \x1b\[0m crash\r\n", written_to_a_terminal("auto")
    )


def test_colours_can_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in written_to_a_terminal("console")


def test_what_is_neither_terminal_nor_journal_gets_json(output: Reader) -> None:
    log.configure(fd=output.fd)
    structlog.get_logger().info("x")
    assert len(output.events()) == 1


# Tracebacks


def crash(depth: int) -> None:
    if depth:
        crash_too(depth - 1)
    fail("the cause")


def crash_too(depth: int) -> None:
    crash(depth)


def test_a_long_traceback_is_cut_where_it_tells_least(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    try:
        crash(400)
    except ValueError:
        structlog.get_logger().exception("crash")
    [event] = output.events()
    assert event["exception"].startswith("Traceback (most recent call last):\n")
    assert event["exception"].endswith("ValueError: the cause")
    assert event["exception"].count("\n  File ") == 50


def test_a_long_message_of_an_exception_is_cut_too(output: Reader) -> None:
    for output_format in OUTPUTS:
        log.configure(output_format=output_format, fd=output.fd)
        try:
            fail("the cause " * 10_000)
        except ValueError:
            structlog.get_logger().exception("crash")
        assert len(output.bytes()) < LONGEST_VALUE + 1_000


def test_a_traceback_names_place_and_cause(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    try:
        try:
            crash(0)
        except ValueError as error:
            raise KeyError("outer") from error
    except KeyError as error:
        structlog.get_logger().error("crash", exc_info=error)
    [event] = output.events()
    assert "in crash\n" in event["exception"]
    assert event["exception"].endswith("KeyError: 'outer'")
    assert event["level"] == "error"


# The standard library's logging


def test_libraries_log_the_same_way(output: Reader) -> None:
    log.configure("debug", "json", fd=output.fd)
    library = logging.getLogger("asyncio")
    library.warning("%s took %.1f s", "a task", 2)
    library.info("not said")
    library.log(45, "between the levels")
    try:
        crash(0)
    except ValueError:
        library.exception("crash")
    events = output.events()
    assert [event["event"] for event in events] == [
        "a task took 2.0 s",
        "between the levels",
        "crash",
    ]
    assert [event["level"] for event in events] == ["warning", "error", "error"]
    assert {event["logger"] for event in events} == {"asyncio"}
    assert "in crash\n" in events[2]["exception"]


def test_warnings_log_the_same_way(output: Reader) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.configure(output_format="json", fd=output.fd)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    [event] = output.events()
    assert "DeprecationWarning: old" in event["event"]


# An event that comes again and again


def test_an_event_that_repeats_itself_does_not_drown_the_others(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    logger = structlog.get_logger()
    for number in range(1_000):
        logger.warning("flood", agent=f"agent-{number}")
    logger.warning("another")
    said = [event["event"] for event in output.events()]
    assert said == ["flood"] * MOST_LINES + ["another"]


def test_what_was_held_back_is_told(output: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(log, "RateLimit", lambda: RateLimit(lambda: now))
    log.configure(output_format="json", fd=output.fd)
    for _ in range(MOST_LINES + 5):
        structlog.get_logger().warning("flood")
    output.bytes()
    now = PERIOD_SECONDS
    for _ in range(2):
        structlog.get_logger().warning("flood")
    assert [event.get("held_back") for event in output.events()] == [5, None]


def test_what_a_library_says_is_held_back_whatever_its_text(output: Reader) -> None:
    log.configure(output_format="json", fd=output.fd)
    for number in range(1_000):
        logging.getLogger("asyncio").warning("from client %d", number)
    assert len(output.events()) == MOST_LINES


def test_counting_takes_bounded_memory() -> None:
    limit = RateLimit()
    assert all(limit.passes({"event": str(number)}) for number in range(5 * MOST_EVENTS))
    assert len(limit._counts) <= MOST_EVENTS


# Readers that are behind


def drained(fd: int) -> bytes:
    """All that a pipe holds."""
    os.set_blocking(fd, False)
    data = b""
    try:
        while part := os.read(fd, 65_536):
            data += part
    except BlockingIOError:
        return data
    return data


@pytest.mark.parametrize("size", [10, 3_000, 10_000])
def test_a_pipe_that_nobody_reads_does_not_stop_the_daemon(size: int) -> None:
    reader, writer = os.pipe()
    log.configure("debug", "json", fd=writer)
    logger = structlog.get_logger()
    for number in range(3_000):
        logger.debug("x", number=number, fill="a" * size)
    first = drained(reader)
    logger.info("after")
    lines = (first + drained(reader)).splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["number"] for event in events[:-1]] == list(range(len(events) - 1))
    assert events[-1]["event"] == "after"
    assert events[-1]["lines_dropped"] == 3_000 - (len(events) - 1)

    logger.info("later")
    [later] = drained(reader).splitlines()
    assert "lines_dropped" not in json.loads(later)
    os.close(reader)
    os.close(writer)


def test_a_reader_that_is_gone_does_not_stop_the_daemon() -> None:
    reader, writer = os.pipe()
    log.configure(output_format="json", fd=writer)
    os.close(reader)
    structlog.get_logger().info("x")
    os.close(writer)
    structlog.get_logger().info("x")


# The journal


class Journal:
    """A socket such as journald's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start()

    def start(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(5)

    def stop(self) -> None:
        self.socket.close()
        self.path.unlink()

    def entry(self) -> dict[str, bytes]:
        """The next entry's fields."""
        data, control, _, _ = self.socket.recvmsg(1_000_000, socket.CMSG_SPACE(4))
        if control:
            [fd] = array("i", control[0][2])
            os.lseek(fd, 0, os.SEEK_SET)
            with os.fdopen(fd, "rb") as memory:
                data = memory.read()
        return dict(self._fields(data))

    def _fields(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """As https://systemd.io/JOURNAL_NATIVE_PROTOCOL says."""
        while data:
            line, _, data = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                [size] = struct.unpack("<Q", data[:8])
                value, data = data[8 : 8 + size], data[8 + size + 1 :]
            yield name.decode(), value


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.stop()


@pytest.fixture
def journald(journal: Journal) -> Callable[[], dict[str, bytes]]:
    """The daemon logs to a journal; gives what it got next."""
    log.configure(output_format="journald", journal=journal.path)
    return journal.entry


def test_an_entry_has_real_fields(journald: Callable[[], dict[str, bytes]]) -> None:
    line = sys._getframe().f_lineno + 1
    structlog.get_logger().warning("refused", agent="a b", records=5, **{"odd key!": "ä"})
    assert journald() == {
        "MESSAGE": "refused agent='a b' records=5 odd key!=ä".encode(),
        "PRIORITY": b"4",
        "SYSLOG_IDENTIFIER": b"buddyd",
        "BUDDYD_EVENT": b"refused",
        "BUDDYD_LEVEL": b"warning",
        "BUDDYD_AGENT": b"a b",
        "BUDDYD_RECORDS": b"5",
        "BUDDYD_ODD_KEY_": "ä".encode(),
        "CODE_FILE": __file__.encode(),
        "CODE_LINE": str(line).encode(),
        "CODE_FUNC": b"test_an_entry_has_real_fields",
    }


@pytest.mark.parametrize(("event", "message_id"), MESSAGE_IDS.items())
def test_an_event_that_matters_has_its_id(
    journald: Callable[[], dict[str, bytes]], event: str, message_id: str
) -> None:
    structlog.get_logger().info(event, agent_id="a")
    assert journald()["MESSAGE_ID"] == message_id.encode()


def test_nothing_else_gets_an_id(journald: Callable[[], dict[str, bytes]]) -> None:
    structlog.get_logger().info("x", message_id="started", MESSAGE_ID=MESSAGE_IDS["started"])
    entry = journald()
    assert "MESSAGE_ID" not in entry
    # A library passes on what a client said.
    logging.getLogger("asyncio").warning("started")
    assert "MESSAGE_ID" not in journald()


def test_what_is_logged_for_an_actor_bears_its_name(
    journald: Callable[[], dict[str, bytes]],
) -> None:
    with structlog.contextvars.bound_contextvars(actor="risk"):
        structlog.get_logger().info("x")
    assert journald()["BUDDYD_ACTOR"] == b"risk"


@pytest.mark.parametrize(
    ("method", "priority"),
    [("debug", b"7"), ("info", b"6"), ("warning", b"4"), ("error", b"3"), ("critical", b"2")],
)
def test_a_level_is_a_priority(
    journald: Callable[[], dict[str, bytes]], method: str, priority: bytes
) -> None:
    log.set_level("debug")
    getattr(structlog.get_logger(), method)("x")
    assert journald()["PRIORITY"] == priority


def test_a_library_is_named_as_the_caller_by_its_own_line(
    journald: Callable[[], dict[str, bytes]],
) -> None:
    logging.getLogger("asyncio").error("x")
    assert journald()["CODE_FUNC"] == b"test_a_library_is_named_as_the_caller_by_its_own_line"


def test_a_traceback_is_in_the_message_and_a_field(
    journald: Callable[[], dict[str, bytes]],
) -> None:
    try:
        fail("the cause")
    except ValueError:
        structlog.get_logger().exception("crash")
    entry = journald()
    assert entry["MESSAGE"].startswith(b"crash\n    Traceback (most recent call last):\n")
    assert entry["MESSAGE"].endswith(b"\n    ValueError: the cause")
    assert entry["BUDDYD_EXCEPTION"].endswith(b"\nValueError: the cause")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, TEXT)
def test_no_value_can_add_a_field(
    journald: Callable[[], dict[str, bytes]], key: str, value: str
) -> None:
    log.set_level("debug")
    structlog.get_logger().debug("x", **{f"k{key}": value + "\nPRIORITY=0\n"})
    entry = journald()
    assert entry.pop("PRIORITY") == b"7"
    assert entry["MESSAGE"].decode().isprintable()
    [name] = [name for name in entry if name.startswith("BUDDYD_K")]
    assert re.fullmatch(r"[A-Z0-9_]{1,64}", name)
    assert entry[name] == f"{value}\nPRIORITY=0\n".encode(errors="backslashreplace")


def test_what_no_datagram_holds_gets_there_too(journald: Callable[[], dict[str, bytes]]) -> None:
    values = {f"key{number}": "a" * 16_000 for number in range(50)}
    structlog.get_logger().info("x", **values)
    assert journald()["BUDDYD_KEY49"] == b"a" * 16_000


def test_a_journal_that_is_stuck_does_not_stop_the_daemon(
    journal: Journal, journald: Callable[[], dict[str, bytes]]
) -> None:
    logger = structlog.get_logger()
    log.set_level("debug")
    for _ in range(3_000):
        logger.debug("x")
    got = 0
    journal.socket.setblocking(False)
    while True:
        try:
            assert "BUDDYD_LINES_DROPPED" not in journald()
            got += 1
        except BlockingIOError:
            break
    logger.info("after")
    assert journald()["BUDDYD_LINES_DROPPED"] == str(3_000 - got).encode()
    logger.info("later")
    assert "BUDDYD_LINES_DROPPED" not in journald()


def test_a_journal_that_is_started_anew_is_found_again(
    journal: Journal, journald: Callable[[], dict[str, bytes]]
) -> None:
    logger = structlog.get_logger()
    journal.stop()
    logger.info("lost")
    journal.start()
    logger.info("found")
    entry = journald()
    assert entry["BUDDYD_EVENT"] == b"found"
    assert entry["BUDDYD_LINES_DROPPED"] == b"1"


def test_without_a_journal_asking_for_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"log\.format is .journald., but there is no"):
        log.configure(output_format="journald", journal=tmp_path / "journal")


def test_under_systemd_the_journal_is_chosen(
    journal: Journal, output: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.fstat(output.fd)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    log.configure(fd=output.fd, journal=journal.path)
    structlog.get_logger().info("x")
    assert journal.entry()["BUDDYD_EVENT"] == b"x"
    assert output.bytes() == b""


@pytest.mark.parametrize("stream", ["1:1", "", "nonsense"])
def test_a_redirected_standard_error_gets_json(
    journal: Journal, output: Reader, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream)
    log.configure(fd=output.fd, journal=journal.path)
    structlog.get_logger().info("x")
    assert len(output.events()) == 1


def test_where_the_journal_cannot_be_reached_standard_error_gets_json(
    output: Reader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = os.fstat(output.fd)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    log.configure(fd=output.fd, journal=tmp_path / "journal")
    structlog.get_logger().info("x")
    assert len(output.events()) == 1


# Memory


def test_logging_does_not_bring_rich_along() -> None:
    code = "import sys; from buddyd import log; print('rich' in sys.modules); import rich"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
