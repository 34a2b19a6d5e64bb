"""Sending executions in batches, and finding the ones that the daemon refuses."""

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from buddyd.cli.lines import Record, Refusal
from buddyd.client import DaemonError, Execution
from buddyd.domain.answers import Receipt

_BATCH_BYTES = 1_048_576
# A batch is refused with the path of its first wrong record.
_PATH = re.compile(r"\$\.executions\[(?P<index>\d+)\](?P<rest>.*)", re.DOTALL)


class Tally(Struct):
    """What became of the records so far."""

    accepted: int = 0
    duplicates: int = 0
    expired: int = 0
    refused: int = 0


class Batches:
    """Collects records and sends them, at most `size` at once.

    `send` sends one batch; `refuse` is told of each record that cannot be recorded, and may raise
    to stop: what came before that record is recorded by then. `tally` is kept up to date.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Execution]], Receipt],
        refuse: Callable[[Refusal], None],
        size: int,
        tally: Tally,
    ) -> None:
        self._send = send
        self._tell = refuse
        self._size = size
        self._tally = tally
        self._waiting: list[Record] = []
        self._waiting_bytes = 0

    def add(self, record: Record) -> None:
        """Take a record; it is sent when there are enough."""
        self._waiting.append(record)
        self._waiting_bytes += record.size_bytes
        if len(self._waiting) >= self._size or self._waiting_bytes >= _BATCH_BYTES:
            self.flush()

    def refuse(self, refusal: Refusal) -> None:
        """Count a record that cannot be recorded."""
        self._tally.refused += 1
        self._tell(refusal)

    def flush(self) -> None:
        """Send what waits.

        Of a batch that is refused, the records before the wrong one are sent, then those after it.
        """
        batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
        while batch:
            try:
                self._count(self._send([record.execution for record in batch]))
            except DaemonError as error:
                index, path = _blamed(error, len(batch))
                # These may hold a wrong record too: one that the daemon checks for later.
                self._waiting = batch[:index]
                self.flush()
                self.refuse(Refusal(batch[index].line, path, error.reason))
                batch = batch[index + 1 :]
            else:
                return

    def _count(self, receipt: Receipt) -> None:
        self._tally.accepted += receipt.accepted
        self._tally.duplicates += receipt.duplicates
        self._tally.expired += receipt.expired


def _blamed(error: DaemonError, records: int) -> tuple[int, str]:
    """Which record of a batch is wrong, and the path within it; raises `error` for any other."""
    blamed = _PATH.fullmatch(error.path or "") if error.blames_params else None
    if blamed is None or int(blamed["index"]) >= records:
        raise error
    return int(blamed["index"]), f"${blamed['rest']}"
