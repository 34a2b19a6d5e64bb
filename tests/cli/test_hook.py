"""buddyctl hook: whatever a coding agent says, it is not kept waiting, and hears nothing."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli.tool_use import ToolUse, tool_use
from buddyd.domain.execution import Execution
from tests.support.buddyctl import environment
from tests.support.outside import until
from tests.support.peer import Ledger, Odd, Peer, running
from tests.support.workloads import examples

HOOK = [sys.executable, "-m", "buddyd.cli.entry", "hook"]
EVENT = {
    "session_id": "3f0c6a52-9d7e-4c55-8a43-0d2f1b9a7e61",
    "transcript_path": "/home/ann/t.jsonl",
    "cwd": "/home/ann/project",
    "hook_event_name": "PostToolUse",
    "tool_name": "Bash",
    "tool_use_id": "toolu_01ABCdefGHIjklMNOpqrSTUv",
    "tool_input": {"command": "ls"},
    "tool_response": {"stdout": "README.md", "stderr": "", "interrupted": False},
    "duration_ms": 1250,
}


def event(**changes: object) -> dict[str, object]:
    """An event, with changes; a member that is None is not there."""
    changed = EVENT | changes
    return {name: value for name, value in changed.items() if value is not None}


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def peer(ledger: Ledger) -> Iterator[Peer]:
    with running(ledger) as peer:
        yield peer


def hook(peer_socket: Path, folder: Path, text: object, *words: str) -> None:
    """What an agent does; it insists on silence and on the exit code 0."""
    told = text if isinstance(text, bytes) else json.dumps(text).encode()
    done = subprocess.run(
        [*HOOK, *words],
        input=told,
        env=environment(peer_socket, BUDDYD_SPOOL=str(folder / "spool")),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def recorded(ledger: Ledger, count: int = 1) -> list[Execution]:
    """What has arrived, which nobody waited for."""
    until(lambda: len(ledger.records) >= count, "the record to arrive")
    return list(ledger.records.values())


def test_the_use_of_a_tool_is_recorded(peer: Peer, ledger: Ledger, tmp_path: Path) -> None:
    before = time.time()
    hook(peer.socket, tmp_path, EVENT, "--agent", "coder")
    [record] = recorded(ledger)
    assert (record.agent_id, record.task_id) == ("coder", EVENT["session_id"])
    assert (record.tool_name, record.success, record.error_type) == ("Bash", True, None)
    assert record.duration_seconds == 1.25
    assert isinstance(record.finished_at, float)
    assert before <= record.finished_at <= time.time()


def test_told_twice_it_counts_once(peer: Peer, ledger: Ledger, tmp_path: Path) -> None:
    hook(peer.socket, tmp_path, EVENT)
    hook(peer.socket, tmp_path, event(tool_use_id="another"))
    hook(peer.socket, tmp_path, EVENT)
    until(lambda: sum(ledger.batches) == 3, "all three to arrive")
    assert len(ledger.records) == 2


def test_without_a_daemon_it_waits_for_the_next_use_of_a_tool(
    peer: Peer, ledger: Ledger, tmp_path: Path
) -> None:
    peer.stop()
    for number in range(3):
        hook(peer.socket, tmp_path, event(tool_use_id=str(number)))
    peer.start()
    hook(peer.socket, tmp_path, event(tool_use_id="3"))
    ids = [str(record.execution_id)[-1] for record in recorded(ledger, 4)]
    assert sorted(ids) == ["0", "1", "2", "3"]
    until(lambda: not list((tmp_path / "spool").glob("*/*")), "the spool to be cleaned up")


def test_a_duration_that_is_not_told_is_measured(
    peer: Peer, ledger: Ledger, tmp_path: Path
) -> None:
    began = time.time()
    hook(peer.socket, tmp_path, event(hook_event_name="PreToolUse", tool_response=None))
    started = time.time()
    until(lambda: "start_execution" in peer.methods, "the agent to be busy")
    over = time.time()
    hook(peer.socket, tmp_path, event(duration_ms=None))
    [record] = recorded(ledger)
    assert over - started <= record.duration_seconds <= time.time() - began


def test_an_agent_that_waits_for_the_output_to_end_is_not_kept_waiting(tmp_path: Path) -> None:
    """The child that delivers to a daemon that hangs holds none of the agent's pipes."""
    with running(lambda _: Odd.SILENCE) as peer:
        began = time.monotonic()
        hook(peer.socket, tmp_path, EVENT)
        # The delivery itself waits for ten seconds.
        assert time.monotonic() - began < 8
        until(lambda: bool(peer.asked), "the daemon to be asked")
        assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"null",
        b'{"tool_name": 7}',
        json.dumps({"hook_event_name": "SessionStart", "session_id": "s"}).encode(),
        json.dumps(event(hook_event_name="Stop")).encode(),
    ],
)
def test_what_it_does_not_understand_is_passed_over(tmp_path: Path, text: bytes) -> None:
    hook(tmp_path / "none", tmp_path, text)
    assert not (tmp_path / "spool").exists()


def test_nothing_goes_wrong_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    hook(tmp_path / "none", tmp_path, EVENT, "--agent", "coder", "--frobnicate")


def test_an_agent_that_never_ends_its_input_is_left(tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        done = subprocess.run(
            HOOK, stdin=read, env=environment(tmp_path / "none"), timeout=30, check=False
        )
        assert done.returncode == 0
    finally:
        os.close(read)
        os.close(write)


def test_it_loads_neither_the_command_line_nor_the_protocol(tmp_path: Path) -> None:
    """The agent waits for what is loaded."""
    program = (
        "import os, sys, buddyd.cli.entry as entry; sys.argv = ['buddyctl', 'hook'];"
        "os._exit = lambda code: (print(sorted(set(sys.modules) & "
        "{'click', 'msgspec', 'socket', 'hashlib', 'logging'})), sys.exit(0));"
        "entry.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(event(hook_event_name="Stop")).encode(),
        env=environment(tmp_path / "none"),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"[]\n"


def said(**changes: object) -> ToolUse:
    use = tool_use(event(**changes))
    assert use is not None
    return use


@pytest.mark.parametrize(
    ("changes", "error_type"),
    [
        ({}, None),
        ({"tool_response": "plain text"}, None),
        ({"tool_response": {"success": True}}, None),
        ({"tool_response": {"success": False}}, "error"),
        ({"tool_response": {"isError": True, "content": []}}, "error"),
        ({"tool_response": {"exit_code": 7}}, "exit_7"),
        ({"tool_response": {"exit_code": 0}}, None),
        ({"tool_response": {"interrupted": True}}, "interrupted"),
        ({"tool_response": {"error": {"type": "permission_denied"}}}, "permission_denied"),
        ({"hook_event_name": "PostToolUseFailure", "error": "Exit code 2\nno such file"}, "exit_2"),
        ({"hook_event_name": "PostToolUseFailure", "error": "Command timed out"}, "timeout"),
        (
            {"hook_event_name": "PostToolUseFailure", "error": "x", "is_interrupt": True},
            "interrupted",
        ),
        ({"hook_event_name": "PostToolUseFailure"}, "error"),
        ({"hook_event_name": "AfterTool", "tool_response": {"error": "it broke"}}, "error"),
    ],
)
def test_failures_are_told_apart(changes: dict[str, object], error_type: str | None) -> None:
    assert said(**changes).error_type == error_type


def test_agents_that_spell_their_members_otherwise_are_understood() -> None:
    use = tool_use({"hookEventName": "PreToolUse", "sessionId": "s", "toolName": "edit"})
    assert use == ToolUse("edit", "s", "", False, None, None, 0)
    assert said(duration_ms=None, tool_response={"totalDurationMs": 2000, "totalTokens": 9}) == (
        said(duration_ms=2000)._replace(tokens=9)
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    [*EVENT, "error", "is_interrupt", "toolName", "sessionId", "hookEventName", "tool_result"]
)


@examples(60)
@given(st.dictionaries(MEMBERS, JSON))
def test_whatever_an_agent_says_makes_a_record_that_the_daemon_takes(
    members: dict[str, object],
) -> None:
    use = tool_use(event() | members)
    if use is not None:
        assert 1 <= len(use.tool_name) <= 256
        assert 1 <= len(use.task_id) <= 256
        assert use.error_type is None or 1 <= len(use.error_type) <= 128
        assert use.duration_seconds is None or use.duration_seconds > 0
        assert not any(c < " " for c in use.tool_name + use.task_id + (use.error_type or ""))


def test_the_socket_may_be_named(peer: Peer, ledger: Ledger, tmp_path: Path) -> None:
    assert isinstance(peer.socket, Path)
    hook(tmp_path / "none", tmp_path, EVENT, f"--socket={peer.socket}")
    [record] = recorded(ledger)
    assert record.agent_id.endswith(f"@{socket.gethostname()}")
