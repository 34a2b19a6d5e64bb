"""What a load generator sends: records as agents make them, encoded before the clock runs."""

import itertools
import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from buddyd.domain.execution import Execution, new_execution_id
from buddyd.protocol.framing import HEADER_BYTES, Encoding, frame
from buddyd.protocol.messages import RecordExecutions

AGENTS, TOOLS = 16, 40
READ_BYTES = 65_536
PATIENCE_SECONDS = 300.0
ERRORS = ("timeout", "rate_limit", "bad_arguments")

_numbers = itertools.count(1)
_encoder = msgspec.msgpack.Encoder()


def executions(
    count: int,
    finished_at: Callable[[int], float] | None = None,
    *,
    agents: int = AGENTS,
    tools: int = TOOLS,
    seed: int = 0,
) -> Iterator[Execution]:
    """Executions that have just finished, or when `finished_at` says that number so and so did."""
    chance = random.Random(seed)
    now = time.time()
    for index in range(count):
        luck = chance.random()
        yield Execution(
            execution_id=new_execution_id(),
            task_id=f"task-{index // 3}",
            agent_id=f"agent-{index % agents}",
            tool_name=f"tool-{(index // agents) % tools}",
            duration_seconds=round(0.05 + 10 * luck * luck, 6),
            success=luck < 0.95,
            finished_at=now if finished_at is None else finished_at(index),
            cost_actual=round(0.02 * luck, 6),
            cost_estimate=0.01,
            tokens_used=int(4_000 * luck),
            error_type=None if luck < 0.95 else ERRORS[index % len(ERRORS)],
        )


def request(method: str, params: object = None) -> bytes:
    """A request, framed."""
    message = {"id": next(_numbers), "method": method, "params": params or {}}
    return frame(Encoding.MSGPACK, _encoder.encode(message))


def batches(records: Iterable[Execution], size: int) -> Iterator[bytes]:
    """Requests that record `size` executions each."""
    source = iter(records)
    while batch := list(itertools.islice(source, size)):
        yield request("record_executions", RecordExecutions(executions=batch))


def singles(records: Iterable[Execution]) -> Iterator[bytes]:
    """Requests that record an execution each."""
    return (request("record_execution", record) for record in records)


class Connection:
    """A connection that sends what was encoded before, and only counts the answers."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(str(path))
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, message: bytes) -> bytes:
        """The answer to one request, undecoded."""
        self.socket.sendall(message)
        while not (answers := self.receive()):
            pass
        return answers[0]

    def time(self, message: bytes) -> float:
        """How many seconds the answer takes."""
        begin = time.perf_counter()
        self.ask(message)
        return time.perf_counter() - begin

    def receive(self) -> list[bytes]:
        """The whole answers among the next bytes; raises where one is an error."""
        news = self.socket.recv(READ_BYTES)
        if not news:
            raise ConnectionError("the daemon has hung up")
        self._received += news
        return list(self._cut())

    def _cut(self) -> Iterator[bytes]:
        while len(self._received) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._received[:HEADER_BYTES])
            if len(self._received) < end:
                return
            answer = bytes(self._received[HEADER_BYTES:end])
            del self._received[:end]
            # The members of an answer come in this order, and a long one is not worth decoding.
            if b"\xa6result" not in answer[:64]:
                raise AssertionError(answer)
            yield answer


def drive(path: Path, shares: Sequence[Iterable[bytes]], in_flight: int) -> float:
    """Send each share over a connection of its own; returns the seconds until all is answered.

    Each connection has up to `in_flight` requests unanswered.
    """
    connections = [Connection(path) for _ in shares]
    try:
        begin = time.perf_counter()
        _drive(dict(zip(connections, map(iter, shares), strict=True)), in_flight)
        return time.perf_counter() - begin
    finally:
        for connection in connections:
            connection.socket.close()


def _drive(work: dict[Connection, Iterator[bytes]], in_flight: int) -> None:
    unanswered = dict.fromkeys(work, 0)
    with selectors.DefaultSelector() as selector:
        for connection in work:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        ready = deque(work)
        while ready or any(unanswered.values()):
            while ready:
                connection = ready.popleft()
                room = in_flight - unanswered[connection]
                messages = list(itertools.islice(work[connection], room))
                if messages:
                    connection.socket.sendall(b"".join(messages))
                    unanswered[connection] += len(messages)
            if any(unanswered.values()):
                for key, _ in selector.select(PATIENCE_SECONDS):
                    unanswered[key.data] -= len(key.data.receive())
                    ready.append(key.data)
