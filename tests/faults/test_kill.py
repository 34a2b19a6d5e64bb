"""SIGKILL at any moment: what was acknowledged is there, once, and every answer is right.

BUDDYD_FAULT_ROUNDS says how often a daemon is killed in each story (8 by default; some hundreds
for a long run), BUDDYD_FAULT_SEED with which luck; both are printed. What counts for the oracle is
what the database says in the order of the commits, for the order of two clients is the daemon's.
"""

import random
import shutil
import signal
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from buddyd.protocol.framing import Encoding
from tests.faults.kill_support import (
    ROUNDS,
    SEED,
    Entry,
    Ids,
    Recorder,
    Told,
    TracedDaemon,
    calls,
    check,
    committed,
    compare_with_oracle,
    keep_what_is_deleted,
    method_of,
    needs_strace,
    oracle_of,
    tell,
)
from tests.faults.recorder import RecorderProcess
from tests.oracle import Submission
from tests.support.daemon import raw_client, running_daemon
from tests.support.process import PATIENCE_SECONDS, DaemonProcess

HOUR = 3600.0
KILLS_OF_A_LIFE = 12


# At random moments


@pytest.mark.parametrize("life", range(max(1, ROUNDS // KILLS_OF_A_LIFE)))
def test_kills_at_random_moments_lose_nothing_and_double_nothing(tmp_path: Path, life: int) -> None:
    seed = SEED + life
    print(f"seed {seed}")
    luck = random.Random(seed)
    daemon = DaemonProcess(tmp_path)
    with ExitStack() as stack:
        stack.enter_context(daemon).stop()
        keep_what_is_deleted(daemon.database)
        recorders = recording(daemon, seed)
        stack.callback(abandon, recorders)
        for number in range(KILLS_OF_A_LIFE):
            daemon.start()
            wait_until_they_go_on(recorders)
            time.sleep(luck.uniform(0.0, 0.3))
            daemon.stop(signal.SIGKILL)
            entries = check_promise(daemon.database, recorders)
            if number % 4 == 0:
                compare_with_oracle(daemon.database, entries)
        daemon.start()
        for recorder in recorders:
            recorder.finish()
        assert daemon.stop() == 0
        entries = check_promise(daemon.database, recorders)
        assert {key for entry in entries for key in entry.keys} == sent_by(recorders)
        compare_with_oracle(daemon.database, entries)
        check_tiers(daemon.database, entries)
    print(f"{KILLS_OF_A_LIFE} kills, {len(entries)} entries, {answers(recorders)} answers")


Client = Recorder | RecorderProcess


def recording(daemon: DaemonProcess, seed: int) -> list[Client]:
    """Clients that record from now on, in both encodings: threads, and processes of their own."""
    recorders: list[Client] = []
    for encoding in Encoding:
        given = (daemon.socket, f"thread-{encoding.value}", encoding, seed)
        recorders.append(Recorder(*given))
        given = (daemon.socket, f"process-{encoding.value}", encoding, seed)
        recorders.append(RecorderProcess(*given, daemon.folder))
    for recorder in recorders:
        recorder.start()
    return recorders


def abandon(recorders: Sequence[Client]) -> None:
    for recorder in recorders:
        recorder.abandon()


def sent_by(recorders: Sequence[Client]) -> frozenset[str]:
    return frozenset[str]().union(*(recorder.sent for recorder in recorders))


def answers(recorders: Sequence[Client]) -> int:
    return sum(recorder.answers for recorder in recorders)


def wait_until_they_go_on(recorders: Sequence[Client]) -> None:
    before, end = answers(recorders), time.monotonic() + PATIENCE_SECONDS
    while answers(recorders) == before:
        assert time.monotonic() < end, "nothing is acknowledged any more"
        time.sleep(0.005)


def check_promise(database: Path, recorders: Sequence[Client]) -> list[Entry]:
    acknowledged = frozenset[str]().union(*(recorder.acknowledged for recorder in recorders))
    return check(database, acknowledged=acknowledged, sent=sent_by(recorders))


def check_tiers(database: Path, entries: Sequence[Entry]) -> None:
    """The tables of Tier 2 and 3 say what the answers say."""
    oracle, now = oracle_of(entries), time.time()
    with closing(sqlite3.connect(database)) as connection:
        hours = connection.execute(
            "SELECT hour, total_tasks, failed_tasks FROM tier2_hourly_summaries ORDER BY hour"
        ).fetchall()
        tools = connection.execute(
            "SELECT tool_name, total_executions, failed_executions FROM tier3_tool_profiles"
        ).fetchall()
    summaries = oracle.get_hourly_summaries(now)["summaries"]
    assert hours == [(s["hour"], s["total_tasks"], s["failed_tasks"]) for s in summaries]
    profiles = oracle.get_system_learning(now)["tool_profiles"]
    expected = {(p["tool_name"], p["total_executions"], p["failed_executions"]) for p in profiles}
    assert set(tools) == expected


# At chosen moments


Place = tuple[str, str]
"""A system call, and the file that it is made on."""


class Moment(NamedTuple):
    """The `when`-th call by its name in a thread, which was at `place` when nobody was killed."""

    place: Place
    when: int


class Story(NamedTuple):
    """A session in which the daemon is killed at every kind of system call that it makes.

    `prepare` leaves what the daemon starts on in a folder; `places` are the kinds of calls (name
    and file) at which it has to be possible to kill it, or the story does not tell what it should.
    """

    prepare: Callable[[Path], None]
    script: Callable[[Ids], list[Submission | str]]
    places: set[Place]


DATABASE, WAL, JOURNAL = "analytics.db", "analytics.db-wal", "analytics.db-journal"
COMMIT = {("pwrite64", WAL), ("fdatasync", WAL)}
CHECKPOINT = {("pwrite64", DATABASE), ("fdatasync", DATABASE)}
CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "sendto")


def nothing(folder: Path) -> None:
    """No database at all."""


def some_records(folder: Path) -> None:
    """A database after an orderly stop."""
    anyio.run(lived, folder, Ids("before", 1), [time.time() - HOUR])
    keep_what_is_deleted(folder / DATABASE)


def old_records(folder: Path) -> None:
    """Ids, records and heartbeats that are past their time, which nobody has let go of yet."""
    now, ids = time.time(), Ids("old", 1)
    anyio.run(lived, folder, ids, [now - 9 * 24 * HOUR])
    keep_what_is_deleted(folder / DATABASE)
    anyio.run(lived, folder, ids, [now - 30 * HOUR, now - 25 * HOUR])


def killed(folder: Path) -> None:
    """What a kill left: a write-ahead log that has to be recovered."""
    some_records(folder)
    with DaemonProcess(folder) as daemon:
        tell(daemon.socket, [Ids("killed", 1).batch(50), Ids("killed-too", 1).start()])
        daemon.stop(signal.SIGKILL)


def a_log_that_is_nearly_full(folder: Path) -> None:
    """Small commits write some pages each; the log is emptied after a thousand."""
    some_records(folder)
    ids = Ids("small", 1)
    with DaemonProcess(folder) as daemon:
        assert tell(daemon.socket, [ids.batch(1) for _ in range(150)]).whole
        daemon.stop(signal.SIGKILL)


async def lived(folder: Path, ids: Ids, moments: Sequence[float]) -> None:
    """A daemon that was told something at these times."""
    clock = [moments[0]]
    for clock[0] in moments:
        async with (
            running_daemon(folder, clock=lambda: clock[0]) as daemon,
            raw_client(daemon.socket) as client,
        ):
            told: list[Submission] = [*ids.introductions(), ids.batch(700, finished_at=clock[0])]
            for request in (*told, ids.start(), ids.report()):
                await client.ask(*method_of(request))


def a_first_record(ids: Ids) -> list[Submission | str]:
    return [ids.batch(1), ids.batch(20)]


def a_bit_of_all(ids: Ids) -> list[Submission | str]:
    some: list[Submission | str] = [
        ids.batch(1),
        ids.start(),
        ids.report(),
        ids.batch(100),
        "get_all",
    ]
    return [*some, "run_hourly_aggregation", ids.batch(1), ids.report()]


def a_few_more(ids: Ids) -> list[Submission | str]:
    small: list[Submission | str] = [ids.batch(1) for _ in range(80)]
    return [*small, "run_hourly_aggregation", ids.batch(1)]


def a_cleanup(ids: Ids) -> list[Submission | str]:
    return [ids.batch(3), "cleanup_old_data", ids.batch(1)]


STORIES = {
    "a first start": Story(
        nothing, a_first_record, COMMIT | {("pwrite64", JOURNAL), ("unlink", JOURNAL)}
    ),
    "recording and checkpoints of projections": Story(
        some_records, a_bit_of_all, COMMIT | {("sendto", "socket")}
    ),
    "a write-ahead log that is full": Story(
        a_log_that_is_nearly_full, a_few_more, COMMIT | CHECKPOINT
    ),
    "retention": Story(old_records, a_cleanup, COMMIT | CHECKPOINT | {("ftruncate", DATABASE)}),
    "a start after a kill": Story(killed, a_first_record, COMMIT),
    "a stop": Story(some_records, a_first_record, COMMIT | CHECKPOINT | {("unlink", WAL)}),
}


@pytest.mark.parametrize("name", STORIES)
def test_kills_at_every_kind_of_system_call(tmp_path: Path, name: str) -> None:
    needs_strace()
    story, luck = STORIES[name], random.Random(f"{SEED} {name}")
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    story.prepare(prepared)
    moments = moments_of(whole(story, prepared, tmp_path / "whole"))
    assert story.places <= moments.keys()

    hits: Counter[Place] = Counter()
    for number, moment in enumerate(chosen(story, moments, luck)):
        try:
            hits[moment.place] += killed_at(moment, story, prepared, tmp_path / str(number))
        except BaseException:
            print(f"{name}: seed {SEED}, killed at {moment}; see {tmp_path / str(number)}")
            raise
        shutil.rmtree(tmp_path / str(number))
    print(f"{name}: seed {SEED}, kills at {dict(hits)}")
    assert hits.total() >= ROUNDS // 2


def whole(story: Story, prepared: Path, folder: Path) -> Path:
    """The whole story without a kill; returns the trace of it."""
    daemon, told = played(
        story, prepared, folder, ["--seccomp-bpf", "-e", f"trace={','.join(CALLS)}"]
    )
    assert told.whole
    assert daemon.process is not None
    assert daemon.process.returncode == 0
    return daemon.trace


def killed_at(moment: Moment, story: Story, prepared: Path, folder: Path) -> bool:
    """The story with a kill, and what it left; False where that moment did not come."""
    name = moment.place[0]
    inject = f"inject={name}:signal=SIGKILL:when={moment.when}"
    daemon, told = played(story, prepared, folder, ["-e", f"trace={name}", "-e", inject])
    before = {key for entry in committed(prepared / DATABASE) for key in entry.keys}
    entries = check(
        daemon.database, acknowledged=told.acknowledged | before, sent=told.sent | before
    )
    compare_with_oracle(daemon.database, entries)
    goes_on(story, folder)
    assert daemon.process is not None
    return daemon.process.returncode == -signal.SIGKILL


def goes_on(story: Story, folder: Path) -> None:
    """The next daemon takes everything again, and has it once."""
    with DaemonProcess(folder) as daemon:
        again = tell(daemon.socket, story.script(Ids("told", SEED)))
        assert again.whole
        assert daemon.stop() == 0
    stored = [key for entry in committed(daemon.database) for key in entry.keys]
    executions = [key for key in stored if not key.startswith(("start ", "report "))]
    assert again.acknowledged <= set(stored)
    assert len(set(executions)) == len(executions)


def played(
    story: Story, prepared: Path, folder: Path, strace: Sequence[str]
) -> tuple[TracedDaemon, Told]:
    """The story up to the daemon's end, however that comes."""
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("s"))
    told = Told(frozenset(), frozenset(), whole=False)
    daemon = TracedDaemon(folder, *strace)
    begun = daemon.begin()
    with daemon:
        if begun:
            told = tell(daemon.socket, story.script(Ids("told", SEED)))
            daemon.stop()
    return daemon, told


def moments_of(trace: Path) -> dict[Place, list[int]]:
    """At which calls it can be killed; strace counts the calls of each thread apart."""
    made: Counter[tuple[str, str]] = Counter()
    found: dict[Place, list[int]] = defaultdict(list)
    for call in calls(trace):
        made[call.thread, call.name] += 1
        found[call.name, call.file].append(made[call.thread, call.name])
    return found


def chosen(story: Story, moments: dict[Place, list[int]], luck: random.Random) -> list[Moment]:
    """A moment of each place that the story is about, and others up to the number of rounds."""
    every = [Moment(place, when) for place, whens in moments.items() for when in set(whens)]
    luck.shuffle(every)
    first = list({m.place: m for m in every if m.place in story.places}.values())
    rest = [moment for moment in every if moment not in first]
    return first + rest[: max(0, ROUNDS - len(first))]
