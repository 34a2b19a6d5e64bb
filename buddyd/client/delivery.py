"""How records get from a segment to the daemon, and what becomes of those that it refuses."""

import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from buddyd.client import calls
from buddyd.client.complaints import Complaints
from buddyd.client.errors import DaemonError
from buddyd.client.segments import Line, Segment
from buddyd.client.spool import Spool, make_folder
from buddyd.client.sync import Client
from buddyd.domain.answers import Receipt
from buddyd.domain.execution import Execution
from buddyd.protocol.messages import ErrorCode
from buddyd.protocol.wording import explain

REFUSED_NAME = "refused.jsonl"
"""The file of the spool's folder with what the daemon refused: one JSON object a line, with `at`
(Unix seconds), `reason` and `execution`. It has one predecessor, `refused.jsonl.1`."""

_MOST_REFUSED_BYTES = 8 * 2**20
_MOST_IN_A_CALL = 500
_CALL_SECONDS = 10.0


class Settled(NamedTuple):
    """Records that need no further care."""

    delivered: int = 0
    refused: int = 0
    lost: int = 0


class DeadLetters:
    """What nobody takes is kept in a file and said in the log, for a person to mend."""

    def __init__(self, folder: Path, complaints: Complaints) -> None:
        self._file = folder / REFUSED_NAME
        self._complaints = complaints

    def add(self, record: bytes, reason: str) -> None:
        """Keep one record; where that cannot be done either, the log has it."""
        self._complaints.say(f"A record was refused: {reason}. It is kept in {self._file}", reason)
        entry = {"at": time.time(), "reason": reason, "execution": _readable(record)}
        try:
            self._append(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            self._complaints.say(f"{self._file} cannot be written ({error}); lost: {record!r}")

    def say(self, sentence: str) -> None:
        """Say what is lost and cannot be kept."""
        self._complaints.say(sentence)

    def _append(self, line: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._file.stat().st_size + len(line) > _MOST_REFUSED_BYTES:
                self._file.replace(f"{self._file}.1")
        make_folder(self._file.parent)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._file, flags, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


class Delivery:
    """Sends records in batches, each in its turn; one that is refused holds up no other."""

    def __init__(self, client: Client, dead_letters: DeadLetters) -> None:
        self._client = client
        self._dead_letters = dead_letters
        self._most = _MOST_IN_A_CALL

    def step(self, segment: Segment) -> Settled:
        """Deliver the next records of a segment, and move its mark behind them.

        Raises Unreachable, Unavailable, or DaemonError where this user may not record: then
        nothing has changed.
        """
        lines = segment.read(self._most)
        if not lines:
            return self._give_up(segment)
        batch, problem = _readable_start(lines)
        if not batch:
            return self._refuse(segment, lines[0], problem)
        try:
            self._record(batch)
        except DaemonError as error:
            return self._without(segment, lines, len(batch), error)
        self._most = _MOST_IN_A_CALL
        segment.mark(lines[len(batch) - 1].end)
        return Settled(delivered=len(batch))

    def _record(self, batch: list[Execution]) -> Receipt:
        return self._client.call(calls.record_executions(batch), within=_CALL_SECONDS)

    def _without(
        self, segment: Segment, lines: list[Line], count: int, error: DaemonError
    ) -> Settled:
        """Nothing of a batch was stored: leave out the record at fault, or look for it."""
        if error.code == ErrorCode.NOT_PERMITTED:
            raise error
        index = _index_in(error.path)
        if count == 1 or index == 0:
            self._most = _MOST_IN_A_CALL
            return self._refuse(segment, lines[0], _said_by(error))
        # Those before it are sent first, so that the order stays; or half, where none is named.
        self._most = index if index is not None and index < count else count // 2
        return Settled()

    def _refuse(self, segment: Segment, line: Line, reason: str) -> Settled:
        self._dead_letters.add(line.record or b"", reason)
        segment.mark(line.end)
        return Settled(refused=1)

    def _give_up(self, segment: Segment) -> Settled:
        """The rest of the file is gone, and nothing is put into it any more: go on behind it."""
        self._dead_letters.say(
            f"Executions are lost: another program has truncated {segment.path or 'the spool'}"
        )
        segment.mark(segment.size)
        return Settled(lost=segment.waiting)


def deliver_left(socket: Path, folder: Path) -> None:
    """Deliver once what lies in the spool and nobody has; raises what `Delivery.step` raises."""
    spool = Spool(folder)
    with contextlib.closing(spool), Client(socket) as client:
        delivery = Delivery(client, DeadLetters(folder, Complaints()))
        spool.adopt()
        while segment := spool.oldest():
            spool.settle(segment, sum(delivery.step(segment)))


def _readable_start(lines: list[Line]) -> tuple[list[Execution], str]:
    """The executions up to the first line that holds none, and what is wrong with that."""
    batch: list[Execution] = []
    for line in lines:
        if line.record is None:
            return batch, "Its line in the spool is damaged"
        try:
            batch.append(msgspec.json.decode(line.record, type=Execution))
        except msgspec.ValidationError as error:
            reason, path = explain(error)
            return batch, f"{path}: {reason}"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return batch, str(error)
    return batch, ""


def _index_in(path: str | None) -> int | None:
    """Which execution of a batch the daemon complains about."""
    prefix = "$.executions["
    if path is None or not path.startswith(prefix):
        return None
    number = path[len(prefix) :].partition("]")[0]
    return int(number) if number.isdecimal() else None


def _said_by(error: DaemonError) -> str:
    member = (error.path or "").rpartition(".")[2]
    return f"{member}: {error.reason}" if member.isidentifier() else error.reason


def _readable(record: bytes) -> object:
    try:
        return msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return repr(record)
