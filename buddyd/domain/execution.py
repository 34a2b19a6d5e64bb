"""The execution record: what an agent tells the daemon after every task."""

import os
import re
import time
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

# Control characters (Unicode category Cc) would let a name forge a log line or drive a terminal.
_PRINTABLE = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"
_is_printable = re.compile(_PRINTABLE).search

MAX_DURATION_SECONDS = 2_592_000.0
MAX_COST_DOLLARS = 1_000_000.0
MAX_TOKENS = 10**12
MAX_AHEAD_SECONDS = 300.0
"""How far ahead of the daemon's clock an execution may have finished."""

# A bound on both sides refuses NaN and the infinities, which MessagePack lets through. These are
# the times that an RFC 3339 string can tell: the years 1 to 9999.
EARLIEST_TIME = -62_135_596_800.0
LATEST_TIME = 253_402_300_799.0

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=_PRINTABLE)]
ErrorType = Annotated[str, Meta(min_length=1, max_length=128, pattern=_PRINTABLE)]
# Of an execution: a pattern for each text takes thrice the time of all the rest of decoding it, so
# they are looked at afterwards, by `faulty_text`.
_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_ErrorType = Annotated[str, Meta(min_length=1, max_length=128)]
ExecutionId = Annotated[str, Meta(min_length=1, max_length=64)]
Seconds = Annotated[float, Meta(ge=0.0, le=MAX_DURATION_SECONDS)]
Dollars = Annotated[float, Meta(ge=0.0, le=MAX_COST_DOLLARS)]
Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
UnixTime = Annotated[float, Meta(ge=EARLIEST_TIME, le=LATEST_TIME)]
EffortLevel = Literal["LOW", "MEDIUM", "HIGH"]


class Execution(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """One execution of a tool by an agent for a task.

    Durations are seconds, costs US dollars, `finished_at` Unix seconds. Decoding checks the
    bounds, `faulty_text` what its texts hold; the constructor checks nothing.
    """

    task_id: _Name
    agent_id: _Name
    tool_name: _Name
    duration_seconds: Seconds
    success: bool
    execution_id: ExecutionId | UnsetType = UNSET
    """The idempotency key; the daemon assigns a UUIDv7 where it is left out."""
    finished_at: UnixTime | UnsetType = UNSET
    """The time of receipt where it is left out."""
    cost_actual: Dollars = 0.0
    cost_estimate: Dollars = 0.0
    tokens_used: Tokens = 0
    human_effort_level: EffortLevel = "MEDIUM"
    browser_used: bool = False
    error_type: _ErrorType | None = None
    """A class of failures with few members, such as `timeout`; None where it is unknown."""

    def faulty_text(self) -> str | None:
        """The first field with a control character in it; None where there is none."""
        error_type = self.error_type
        if (
            self.task_id.isprintable()
            and self.agent_id.isprintable()
            and self.tool_name.isprintable()
            and (error_type is None or error_type.isprintable())
        ):
            return None
        for field in ("task_id", "agent_id", "tool_name", "error_type"):
            if not _is_printable(getattr(self, field) or ""):
                return field
        return None


def new_execution_id() -> str:
    """A fresh UUIDv7 (RFC 9562): time-ordered, so that an index on it grows at its end."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
