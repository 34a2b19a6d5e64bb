"""What the kill, power loss and actor tests share: strace, what a dead daemon left, clients.

A dead daemon's database is looked at in a copy, for opening the files themselves would recover
and change what the next daemon has to cope with.
"""

import functools
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
import msgspec
import pytest

from buddyd.config import Settings
from buddyd.domain.execution import Execution
from buddyd.protocol.framing import HEADER_BYTES, Encoding, frame
from buddyd.protocol.messages import RecordExecutions, ReportAgent, StartExecution
from tests.oracle import Oracle, Submission, differences
from tests.support.daemon import raw_client, running_daemon
from tests.support.process import PATIENCE_SECONDS, DaemonProcess

QUERIES = (
    "get_agents_status",
    "get_predictive_capacity",
    "get_task_pipeline",
    "get_api_usage_and_costing",
    "get_system_learning",
    "get_risk_patterns",
    "get_tool_recommendations",
)
ROUNDS = int(os.environ.get("BUDDYD_FAULT_ROUNDS", "8"))
SEED = int(os.environ.get("BUDDYD_FAULT_SEED", str(random.SystemRandom().randrange(10**6))))


# strace


@functools.cache
def why_not_traced() -> str:
    """Why system calls cannot be traced here; empty where they can."""
    if shutil.which("strace") is None:
        return "there is no strace here"
    command = ["strace", "-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode else ""


def needs_strace() -> None:
    """Skip the test, with the reason, where system calls cannot be traced."""
    if reason := why_not_traced():
        pytest.skip(reason)


class TracedDaemon(DaemonProcess):
    """A daemon whose system calls are written to `trace`; strace's own options choose which.

    With --seccomp-bpf it is faster, but then strace 6.1 injects no signals into threads.
    """

    def __init__(self, folder: Path, *strace: str, arguments: Sequence[str] = ()) -> None:
        super().__init__(folder, *arguments)
        self.trace = folder / "trace"
        self._strace = strace

    @property
    def command(self) -> list[str]:
        """With -D the daemon is this process's child, and takes its signals itself."""
        options = ["-D", "-f", "-y", "-qq", "-o", str(self.trace)]
        return ["strace", *options, *self._strace, *super().command]

    def begin(self) -> bool:
        """Start it; False where it died before it said that it had started."""
        try:
            self.start()
        except AssertionError:
            if self.exit_code() != -signal.SIGKILL:
                raise
            return False
        return True


class Call(NamedTuple):
    """A system call: in which lines of the trace it began and returned, and on what file."""

    thread: str
    name: str
    file: str
    text: str
    began: int
    ended: int | None


_LINE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<text>.*)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<text>.*)")
_PATH = re.compile(r'[<"](?P<path>[^>"]*)[>"]')
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def calls(trace: Path) -> list[Call]:
    """The calls of a trace, in the order in which they began."""
    found: list[Call] = []
    open_calls: dict[str, int] = {}
    for number, line in enumerate(trace.read_text().splitlines()):
        if resumed := _RESUMED.match(line):
            index = open_calls.pop(resumed["thread"])
            found[index] = found[index]._replace(ended=number)
        elif match := _LINE.match(line):
            unfinished = line.endswith("<unfinished ...>")
            if unfinished:
                open_calls[match["thread"]] = len(found)
            ended = None if unfinished or "= ?" in line[-40:] else number
            file = _file_of(match["text"])
            found.append(Call(match["thread"], match["name"], file, match["text"], number, ended))
    return found


def _file_of(text: str) -> str:
    """The name of the file that a call is about, or what kind of socket it is."""
    first = _ESCAPE.sub(lambda byte: chr(int(byte[1], 16)), text.partition(",")[0])
    match = _PATH.search(first)
    return match["path"].partition(":")[0].rpartition("/")[2] if match else ""


# What a dead daemon left

KEEP = """
CREATE TABLE kept_metrics AS SELECT * FROM tier1_raw_metrics WHERE 0;
CREATE TABLE kept_events AS SELECT * FROM agent_events WHERE 0;
CREATE TRIGGER keep_metrics BEFORE DELETE ON tier1_raw_metrics BEGIN
    INSERT INTO kept_metrics SELECT * FROM tier1_raw_metrics WHERE seq = OLD.seq;
END;
CREATE TRIGGER keep_events BEFORE DELETE ON agent_events BEGIN
    INSERT INTO kept_events SELECT * FROM agent_events WHERE seq = OLD.seq;
END;
"""


def keep_what_is_deleted(database: Path) -> None:
    """Have the database itself keep what retention lets go of, for the oracle to hear of it."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(KEEP)


class Entry(NamedTuple):
    """An entry of the journal as the database has it."""

    seq: int
    at: float
    request: Submission

    @property
    def keys(self) -> list[str]:
        """What it is known by to the client that sent it."""
        return keys_of(self.request)


def keys_of(request: Submission) -> list[str]:
    """What a request is known by: its ids, its task, or the depth that it tells."""
    match request:
        case RecordExecutions(executions=executions):
            return [str(execution.execution_id) for execution in executions]
        case StartExecution(task_id=task_id):
            return [f"start {task_id}"]
        case ReportAgent(agent_id=agent_id, queue_depth=depth):
            return [f"report {agent_id} {depth}"]


@contextmanager
def copy_of_the_dead(database: Path) -> Iterator[Path]:
    """The files of a daemon that is dead, elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        for file in database.parent.glob("analytics.db*"):
            shutil.copy(file, folder)
        yield Path(folder) / database.name


def committed(database: Path) -> list[Entry]:
    """All that a dead daemon has committed, in order; fails where the database is not whole."""
    with copy_of_the_dead(database) as copy, closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        connection.row_factory = sqlite3.Row
        entries = [
            Entry(row["seq"], row["recorded_at"], _request(dict(row)))
            for table in ("tier1_raw_metrics", "agent_events", "kept_metrics", "kept_events")
            if table in tables
            for row in connection.execute(f"SELECT * FROM {table}")
        ]
    entries.sort()
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    return entries


def _request(row: dict[str, Any]) -> Submission:
    del row["seq"], row["recorded_at"]
    if "execution_id" in row:
        flags = {name: bool(row[name]) for name in ("success", "browser_used")}
        return RecordExecutions(executions=[Execution(**(row | flags))])
    given = {name: value for name, value in row.items() if value is not None}
    return StartExecution(**given) if "task_id" in given else ReportAgent(**given)


def check(
    database: Path,
    *,
    acknowledged: frozenset[str],
    sent: frozenset[str],
) -> list[Entry]:
    """The promise: all that was acknowledged is there, once, and nothing that was not sent."""
    entries = committed(database)
    keys = [key for entry in entries for key in entry.keys]
    executions = [key for key in keys if not key.startswith(("start ", "report "))]
    assert acknowledged - set(keys) == set(), "lost"
    assert set(keys) - sent == set(), "stored, but never sent"
    assert len(executions) == len(set(executions)), "twice"
    return entries


def oracle_of(entries: Sequence[Entry]) -> Oracle:
    """The oracle that has heard of these."""
    oracle = Oracle(Settings(timezone="UTC"))
    for entry in entries:
        oracle.send(entry.at, entry.request)
    return oracle


def compare_with_oracle(database: Path, entries: Sequence[Entry]) -> None:
    """A daemon that starts on what a dead one left answers what the list of entries answers."""
    now = time.time()
    oracle = oracle_of(entries)
    with copy_of_the_dead(database) as copy:
        answers = anyio.run(_answers, copy.parent, now)
    for query, found in answers:
        expected = getattr(oracle, query)(now)
        if query == "get_api_usage_and_costing":
            found["storage"]["database_size_mb"] = 0.0
        wrong = differences(found, expected, query)
        assert wrong == [], wrong[:5]


async def _answers(folder: Path, now: float) -> list[tuple[str, Any]]:
    async with running_daemon(folder, clock=lambda: now) as daemon:
        async with raw_client(daemon.socket, Encoding.MSGPACK) as client:
            found = [(query, await client.ask(query, {})) for query in QUERIES]
        async with raw_client(daemon.socket, Encoding.JSON) as client:
            return found + [(query, await client.ask(query, {})) for query in QUERIES]


# Clients


class Ids:
    """Gives requests that a client could send, each with keys of its own."""

    def __init__(self, name: str, seed: int) -> None:
        self._name = name
        self._random = random.Random(f"{seed} {name}")
        self._count = 0

    def execution(self, **given: object) -> Execution:
        """One that finished a while ago or just now."""
        pick = self._random
        self._count += 1
        failed = pick.random() < 0.3
        fields: dict[str, Any] = {
            "execution_id": f"{self._name}-{self._count}",
            "task_id": f"{self._name}-task-{self._count // 3}",
            "agent_id": pick.choice((self._name, "shared")),
            "tool_name": pick.choice(("search", "edit", "browse", "ünï 😀")),
            "duration_seconds": pick.choice((0.01, 1.5, 30.0)),
            "finished_at": time.time() - pick.choice((0.0, 0.0, 1.0, 3600.0, 50_000.0)),
            "success": not failed,
            "cost_actual": pick.choice((0.0, 0.02, 0.021, 0.3)),
            "tokens_used": pick.randrange(1000),
            "error_type": pick.choice((None, "timeout")) if failed else None,
        }
        return Execution(**(fields | given))

    def batch(self, size: int, **given: object) -> RecordExecutions:
        """Several at once."""
        return RecordExecutions(executions=[self.execution(**given) for _ in range(size)])

    def start(self) -> StartExecution:
        """A task begins."""
        self._count += 1
        task = f"{self._name}-task-{self._count}"
        return StartExecution(task_id=task, agent_id=self._name, tool_name="edit")

    def report(self) -> ReportAgent:
        """A heartbeat."""
        self._count += 1
        return ReportAgent(agent_id=self._name, queue_depth=self._count, concurrency=2)

    def introductions(self) -> list[ReportAgent]:
        """Say how much the agents do at once; the daemon's own count of it is bounded."""
        names = (self._name, "shared")
        return [ReportAgent(agent_id=name, queue_depth=0, concurrency=2) for name in names]

    def any(self) -> Submission:
        """Whatever."""
        kind = self._random.randrange(8)
        if kind == 0:
            return self.start()
        if kind == 1:
            return self.report()
        return self.batch(self._random.choice((1, 1, 2, 9)))


def method_of(request: Submission) -> tuple[str, Submission | Execution]:
    """How a request is sent."""
    match request:
        case RecordExecutions(executions=[one]):
            return "record_execution", one
        case RecordExecutions():
            return "record_executions", request
        case StartExecution():
            return "start_execution", request
        case ReportAgent():
            return "report_agent", request


class Wire:
    """A blocking connection in either encoding."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.encoding = encoding
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_SECONDS)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._incoming = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._incoming.close()
        self._socket.close()

    def send(self, number: int, method: str, params: object) -> None:
        """Send a request."""
        encode = msgspec.json.encode if self.encoding is Encoding.JSON else msgspec.msgpack.encode
        request = {"id": number, "method": method, "params": params}
        self._socket.sendall(frame(self.encoding, encode(request)))

    def receive(self) -> dict[str, Any]:
        """The next answer; raises EOFError where none comes any more."""
        if self.encoding is Encoding.JSON:
            line = self._incoming.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            answer: dict[str, Any] = json.loads(line)
            return answer
        header = self._incoming.read(HEADER_BYTES)
        body = self._incoming.read(int.from_bytes(header))
        if not body or len(body) < int.from_bytes(header):
            raise EOFError
        packed: dict[str, Any] = msgspec.msgpack.decode(body)
        return packed


class Recorder(threading.Thread):
    """A client that keeps some requests in flight, and sends again what was not acknowledged."""

    IN_FLIGHT = 6
    PAUSE_SECONDS = 0.003
    """Before each new request; the oracle is slow."""

    def __init__(self, path: Path, name: str, encoding: Encoding, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.complaints: list[object] = []
        self.answers = 0
        self._path = path
        self._encoding = encoding
        self._ids = Ids(name, seed)
        self._random = random.Random(f"{seed} {name} repeats")
        self._first = list(self._ids.introductions())
        self._pending: dict[int, Submission] = {}
        self._known: list[Submission] = []
        self._repeats: set[int] = set()
        self._number = 0
        self._finish = threading.Event()

    def finish(self) -> None:
        """Get everything acknowledged that was sent, and end."""
        self._finish.set()
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive(), "it waits for an answer that does not come"
        assert self.complaints == []
        assert self.sent == self.acknowledged

    def abandon(self) -> None:
        """End without the answers."""
        self._pending.clear()
        self._finish.set()

    def note(self, what: str, keys: list[str]) -> None:
        """Remember that these were sent, or acknowledged with an answer."""
        if what == "sent":
            self.sent |= set(keys)
        else:
            self.answers += 1
            self.acknowledged |= set(keys)

    def run(self) -> None:
        """Record over one connection after the other."""
        while self._pending or not self._finish.is_set():
            try:
                with Wire(self._path, self._encoding) as wire:
                    self._talk(wire)
            except (OSError, EOFError):
                self._finish.wait(0.01)

    def _talk(self, wire: Wire) -> None:
        for number, request in self._pending.items():
            wire.send(number, *method_of(request))
        while True:
            while len(self._pending) < self.IN_FLIGHT and not self._finish.is_set():
                wire.send(*self._next())
            if not self._pending:
                return
            self._take(wire, wire.receive())

    def _next(self) -> tuple[int, str, object]:
        self._finish.wait(self.PAUSE_SECONDS)
        self._number += 1
        if self._first:
            request: Submission = self._first.pop()
        elif self._known and self._random.random() < 0.1:
            self._repeats.add(self._number)
            request = self._random.choice(self._known)
        else:
            request = self._ids.any()
        self._pending[self._number] = request
        self.note("sent", keys_of(request))
        return (self._number, *method_of(request))

    def _take(self, wire: Wire, answer: Mapping[str, Any]) -> None:
        number = answer["id"]
        request = self._pending.get(number)
        if request is None:
            return  # Abandoned.
        if answer.get("error", {}).get("code") == -32000:
            time.sleep(answer["error"]["data"]["retry_after_seconds"])
            wire.send(number, *method_of(request))
            return
        del self._pending[number]
        if not self._is_right(number, request, answer.get("result")):
            self.complaints.append(answer)
        self.note("acknowledged", keys_of(request))
        if isinstance(request, RecordExecutions):
            self._known.append(request)

    def _is_right(self, number: int, request: Submission, result: Any) -> bool:  # noqa: ANN401
        if not isinstance(request, RecordExecutions) or result is None:
            return bool(result == {})
        size = len(request.executions)
        fates = (result["accepted"], result["duplicates"], result["expired"])
        return (
            fates == (0, size, 0)
            if number in self._repeats
            else fates in {(size, 0, 0), (0, size, 0)}
        )


class Told(NamedTuple):
    """What a scripted session sent, and what was acknowledged before it ended."""

    sent: frozenset[str]
    acknowledged: frozenset[str]
    whole: bool


def tell(path: Path, script: Sequence[Submission | str]) -> Told:
    """Send one request after the other, each after the answer to the one before."""
    sent: set[str] = set()
    acknowledged: set[str] = set()
    try:
        with Wire(path, Encoding.JSON) as wire:
            for number, step in enumerate(script):
                keys = [] if isinstance(step, str) else keys_of(step)
                sent |= set(keys)
                wire.send(number, *((step, {}) if isinstance(step, str) else method_of(step)))
                answer = wire.receive()
                assert "result" in answer, answer
                acknowledged |= set(keys)
    except (OSError, EOFError):
        return Told(frozenset(sent), frozenset(acknowledged), whole=False)
    return Told(frozenset(sent), frozenset(acknowledged), whole=True)
