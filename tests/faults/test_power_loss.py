"""Power loss, seen from the system calls: no answer leaves before what it accepts is synced.

What SQLite does for the directory: the folder of the database is synced with the journal of its
first transaction and with each new write-ahead log, so the entries of the files in it last.
"""

import json
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.kill_support import Call, TracedDaemon, calls, needs_strace
from tests.support.process import PATIENCE_SECONDS, execution

DATABASE, WAL = "analytics.db", "analytics.db-wal"
TRACED = "pwrite64,fdatasync,fsync,ftruncate,unlink,write,sendto,sendmsg"
FRAME_HEADER_BYTES, WAL_HEADER_BYTES = 24, 32


class Evidence(NamedTuple):
    """What a trace tells about the records of a run."""

    answered: int
    too_early: list[str]
    """Ids whose answer left before a sync that began after their commit had returned."""
    commits: int
    syncs: int


# Reading the trace


def data_of(call: Call) -> bytes:
    """The bytes that a call wrote; strace shows them as hexadecimal escapes."""
    shown = re.search(r'"((?:\\x[0-9a-f]{2})*)"', call.text)
    assert shown is not None, call.text[:200]
    return bytes.fromhex(shown[1].replace("\\x", ""))


def offset_of(call: Call) -> int:
    """Where in its file a call wrote."""
    shown = re.search(r'", \d+, (\d+)', call.text)
    assert shown is not None, call.text[-200:]
    return int(shown[1])


class Commit(NamedTuple):
    """A transaction in the write-ahead log: what its pages hold, and the line of its last write."""

    pages: bytes
    ended: int


def commits_of(trace: Sequence[Call]) -> Iterator[Commit]:
    """The transactions, in order: the header of a last frame says how big the database is then."""
    pages, last = b"", False
    for call in trace:
        if (call.name, call.file) != ("pwrite64", WAL):
            continue
        data = data_of(call)
        if len(data) == FRAME_HEADER_BYTES:
            last = int.from_bytes(data[4:8]) > 0
        elif len(data) > WAL_HEADER_BYTES:
            pages += data
            if last and call.ended is not None:
                yield Commit(pages, call.ended)
                pages = b""


def answers_of(trace: Sequence[Call]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Every answer that accepts something, and the line in which it left."""
    for call in trace:
        if call.name in {"sendto", "sendmsg", "write"} and call.file not in {DATABASE, WAL}:
            for line in _lines(call):
                answer = json.loads(line)
                if answer.get("result", {}).get("accepted"):
                    yield call.began, answer


def _lines(call: Call) -> list[bytes]:
    shown = re.search(r'"((?:\\x[0-9a-f]{2})*)"', call.text)
    data = bytes.fromhex(shown[1].replace("\\x", "")) if shown else b""
    return [line for line in data.splitlines() if line.startswith(b'{"jsonrpc"')]


def evidence(trace: Path) -> Evidence:
    """Judge every answer: after its record's commit, a sync has to have begun and returned."""
    made = calls(trace)
    commits = list(commits_of(made))
    syncs = [c for c in made if c.name in {"fdatasync", "fsync"} and c.file == WAL]
    too_early, answered = [], 0
    for left, answer in answers_of(made):
        answered += 1
        marker = f"{answer['id']}".encode()
        commit = next(commit for commit in commits if marker in commit.pages)
        done = (s.ended for s in syncs if s.began > commit.ended and s.ended is not None)
        if not any(ended < left for ended in done):
            too_early.append(answer["id"])
    return Evidence(answered, too_early, len(commits), len(syncs))


# Making a trace


def traced(folder: Path, *arguments: str) -> TracedDaemon:
    options = ["--seccomp-bpf", "-xx", "-s", "1000000", "-e", f"trace={TRACED}"]
    return TracedDaemon(folder, *options, arguments=arguments)


def record_at_once(path: Path, life: str, *, connections: int, requests: int) -> int:
    """Send everything over several connections before an answer is read: groups are committed.

    The id of each request is the id of its last record, for the trace to tell them apart.
    """
    streams = [socket.socket(socket.AF_UNIX) for _ in range(connections)]
    for number, stream in enumerate(streams):
        stream.settimeout(PATIENCE_SECONDS)
        stream.connect(str(path))
        lines = [_request(f"{life}-{number:03}-{index:05}", index % 4) for index in range(requests)]
        stream.sendall(b"".join(lines))
    return sum(_accepted(stream, requests) for stream in streams)


def _request(last: str, others: int) -> bytes:
    records = [execution(execution_id=f"{last}.{n}") for n in range(others)]
    records.append(execution(execution_id=last))
    request = {"id": last, "method": "record_executions", "params": {"executions": records}}
    return json.dumps(request).encode() + b"\n"


def _accepted(stream: socket.socket, answers: int) -> int:
    with stream, stream.makefile() as lines:
        found = [json.loads(lines.readline()) for _ in range(answers)]
    return sum(answer["result"]["accepted"] > 0 for answer in found)


def evidence_of_a_life(
    daemon: TracedDaemon, life: str, *, connections: int, requests: int
) -> Evidence:
    """Start, record, and end with a kill, which leaves a write-ahead log to the next life."""
    with daemon.start():
        sent = record_at_once(daemon.socket, life, connections=connections, requests=requests)
        daemon.stop(signal.SIGKILL)
    found = evidence(daemon.trace)
    assert found.answered == sent == connections * requests
    return found


# What has to hold


def test_no_answer_leaves_before_its_commit_is_synced(tmp_path: Path) -> None:
    needs_strace()
    first = evidence_of_a_life(traced(tmp_path), "first", connections=5, requests=60)
    assert first.too_early == []
    assert first.commits < first.answered, "nothing was committed in groups"
    # The first commit after a start goes into the log that the kill left.
    second = evidence_of_a_life(traced(tmp_path), "second", connections=1, requests=1)
    assert second.too_early == []
    print(f"{first.answered} answers, {first.commits} commits, {first.syncs} syncs")


def test_no_answer_leaves_early_while_the_log_is_emptied(tmp_path: Path) -> None:
    needs_strace()
    daemon = traced(tmp_path)
    with daemon.start():
        for number in range(280):
            record_at_once(daemon.socket, f"n{number:03}", connections=1, requests=1)
        daemon.stop(signal.SIGKILL)
    found = evidence(daemon.trace)
    assert found.answered == 280
    assert found.too_early == []
    assert emptied(calls(daemon.trace)) >= 1, "the log was never begun anew"


def emptied(trace: Sequence[Call]) -> int:
    """How often the log was begun anew; each time, what it held was synced in the database."""
    times = 0
    unsynced_log = unsynced_database = False
    for call in trace:
        if call.name == "pwrite64" and call.file == WAL:
            unsynced_log = True
            if offset_of(call) == 0:
                assert not unsynced_database, "the log is overwritten before the database is synced"
                times += 1
        elif call.name == "pwrite64" and call.file == DATABASE:
            assert not unsynced_log, "pages move to the database before the log is synced"
            unsynced_database = True
        elif call.name == "fdatasync":
            unsynced_log = unsynced_log and call.file != WAL
            unsynced_database = unsynced_database and call.file != DATABASE
    # The first time there was nothing in it.
    return times - 1


def test_the_entries_of_a_new_database_are_synced_before_the_first_answer(tmp_path: Path) -> None:
    needs_strace()
    daemon = traced(tmp_path)
    evidence_of_a_life(daemon, "new", connections=1, requests=1)
    made = calls(daemon.trace)
    (left, _) = next(answers_of(made))
    folder_synced = [
        call.ended
        for call in made
        if call.name in {"fsync", "fdatasync"} and call.file == tmp_path.name
    ]
    log_begun = next(call.began for call in made if call.file == WAL)
    assert any(ended is not None and log_begun < ended < left for ended in folder_synced)


def test_the_folder_that_is_made_for_a_new_database_is_synced_too(tmp_path: Path) -> None:
    """Each entry in the folder above it, before the daemon says that it has started."""
    needs_strace()
    daemon = TracedDaemon(tmp_path, "-e", "trace=mkdir,mkdirat,fsync,fdatasync")
    daemon.database = tmp_path / "state" / "inner" / DATABASE
    with daemon.start():
        daemon.stop()
    made = calls(daemon.trace)
    for folder in (tmp_path / "state", tmp_path / "state" / "inner"):
        mkdir = next(c for c in made if c.name.startswith("mkdir") and f'"{folder}"' in c.text)
        synced = [c for c in made if c.name == "fsync" and c.file == folder.parent.name]
        assert any(sync.began > mkdir.began for sync in synced), folder


def test_with_durability_normal_answers_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    """Which also shows that an answer that leaves too early is seen."""
    needs_strace()
    config = tmp_path / "buddyd.toml"
    config.write_text('durability = "normal"\n')
    daemon = traced(tmp_path, "--config", str(config))
    found = evidence_of_a_life(daemon, "normal", connections=2, requests=20)
    assert found.too_early != []
