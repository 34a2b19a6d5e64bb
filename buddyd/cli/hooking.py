"""What `buddyctl hook` does: fast, silent, and never in the way of the agent that called it.

The record goes to the spool, which takes no daemon, and a child that nobody waits for delivers
what is there. Whatever goes wrong, the exit code is 0 and nothing is printed, for an agent takes
both for an answer.
"""

import contextlib
import json
import os
import select
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from buddyd.cli.tool_use import ToolUse, tool_use
from buddyd.client.names import default_agent
from buddyd.client.spool import append_once, make_folder
from buddyd.paths import find_socket, spool_folder

_READ_SECONDS = 2.0
_MOST_BYTES = 32 * 2**20
_START_SECONDS = 0.5
_FORGOTTEN_SECONDS = 86_400.0
_OPEN = "open-"
_LONGEST_SECONDS = 2_592_000.0
_LONGEST_ID = 64


class Options(NamedTuple):
    """What the command line says."""

    agent: str | None = None
    socket: str | None = None


def run(words: Sequence[str]) -> NoReturn:
    """Record what standard input tells of, and end the process."""
    with contextlib.suppress(BaseException):
        handle(parsed(words), _standard_input())
    # Nothing is left to be tidied up, and that would take time.
    os._exit(0)


def parsed(words: Sequence[str]) -> Options:
    """The options; what is none of them is passed over."""
    told: dict[str, str] = {}
    waiting = list(words)
    while waiting:
        option, _, value = waiting.pop(0).partition("=")
        if option in {"--agent", "--socket"}:
            told[option[2:]] = value or (waiting.pop(0) if waiting else "")
    return Options(**told)


def handle(options: Options, text: bytes) -> None:
    """Record the event in `text`, or remember when the use of a tool began."""
    use = tool_use(json.loads(text))
    if use is None:
        return
    agent = options.agent or default_agent()
    socket = find_socket(options.socket)
    folder = spool_folder(socket)
    opened = folder / _open_name(agent, use)
    if not use.finished:
        make_folder(folder)
        opened.touch(mode=0o600)
        _in_background(lambda: _announce(socket, agent, use, opened))
        return
    record = _record(agent, use, _began(opened))
    append_once(folder, json.dumps(record).encode())
    _in_background(lambda: _deliver(socket, folder))


def _standard_input() -> bytes:
    """All of it, if it comes soon."""
    data = bytearray()
    deadline = time.monotonic() + _READ_SECONDS
    while len(data) < _MOST_BYTES:
        ready, _, _ = select.select([0], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(0, 2**16) if ready else b""
        if not piece:
            break
        data += piece
    return bytes(data)


def _record(agent: str, use: ToolUse, began: float | None) -> dict[str, object]:
    now = time.time()
    duration = use.duration_seconds
    if duration is None:
        duration = 0.0 if began is None else now - began
    return {
        "execution_id": _execution_id(use),
        "task_id": use.task_id,
        "agent_id": agent,
        "tool_name": use.tool_name,
        "duration_seconds": min(max(duration, 0.0), _LONGEST_SECONDS),
        "success": use.error_type is None,
        "finished_at": now,
        "tokens_used": max(use.tokens, 0),
        "error_type": use.error_type,
    }


def _execution_id(use: ToolUse) -> str:
    """The same for the same use: two lines of configuration may tell of it, and it counts once."""
    told = use.use_id or f"{time.time_ns():x}{os.urandom(8).hex()}"
    whole = f"{use.task_id.replace('-', '')}.{told}"
    return whole.encode(errors="replace").decode()[-_LONGEST_ID:]


def _open_name(agent: str, use: ToolUse) -> str:
    told = f"{agent}\0{use.task_id}\0{use.tool_name}\0{use.use_id}"
    return f"{_OPEN}{zlib.crc32(told.encode(errors='replace')):08x}"


def _began(opened: Path) -> float | None:
    """When the use of a tool began, where that was told; it is over now."""
    try:
        began = opened.stat().st_mtime
        opened.unlink()
    except OSError:
        return None
    return began


def _in_background(work: Callable[[], None]) -> None:
    """Do it in a process of its own, which has nothing of this one's that somebody waits for."""
    if os.fork() != 0:
        return
    with contextlib.suppress(BaseException):
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.nice(10)
        work()
    os._exit(0)


def _announce(socket: Path, agent: str, use: ToolUse, opened: Path) -> None:
    """Mark the agent busy, unless the tool has been faster."""
    from buddyd.client.sync import Client  # nobody waits for this process.

    with Client(socket, timeout=_START_SECONDS) as client:
        if opened.exists():
            client.start_execution(use.task_id, agent, use.tool_name)


def _deliver(socket: Path, folder: Path) -> None:
    from buddyd.client.delivery import deliver_left  # the same.

    _tidy_up(folder)
    deliver_left(socket, folder)


def _tidy_up(folder: Path) -> None:
    """Forget the uses of tools that have never ended."""
    for opened in folder.glob(f"{_OPEN}*"):
        with contextlib.suppress(OSError):
            if time.time() - opened.stat().st_mtime > _FORGOTTEN_SECONDS:
                opened.unlink()
