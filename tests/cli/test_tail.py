"""`buddyctl tail`: what was recorded, as it is recorded, whatever happens to the daemon."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import pytest

from buddyd.client import Client
from buddyd.domain.answers import Executions, StoredExecution
from tests.support.buddyctl import PROGRAM, environment
from tests.support.outside import ObservedDaemon
from tests.support.peer import Asked, Reply, running
from tests.support.samples import AGENT, ANSWERS, TOOL, execution
from tests.support.terminal import Window, kept


def stored(**fields: object) -> StoredExecution:
    usual: dict[str, object] = {
        "execution_id": "run-1",
        "task_id": "order-17",
        "agent_id": "scout",
        "tool_name": "web_search",
        "duration_seconds": 1.5,
        "success": True,
        "finished_at": 1_800_000_000.0,
        "cost_actual": 0.002,
        "cost_estimate": 0.0,
        "tokens_used": 0,
        "human_effort_level": "MEDIUM",
        "browser_used": False,
        "error_type": None,
    }
    return StoredExecution(**(usual | fields))  # type: ignore[arg-type]  # Its fields by name.


# The newest first, as the daemon gives them.
SHOWN = [
    stored(execution_id="5", finished_at=1_800_040_800.0, duration_seconds=4000),
    stored(execution_id="4", agent_id=AGENT, tool_name=TOOL, task_id="a\x9b31m", cost_actual=0),
    stored(execution_id="3", success=False, error_type="timeout", duration_seconds=30.2),
    stored(execution_id="2", success=False, cost_actual=1234.5, duration_seconds=0.0031),
    stored(execution_id="1", agent_id="whissle", tool_name="get_reservation_details"),
]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ObservedDaemon]:
    with ObservedDaemon(tmp_path) as daemon:
        yield daemon


def record(daemon: ObservedDaemon, *ids: str, **fields: object) -> None:
    with Client(daemon.socket) as client:
        client.record_executions(execution(execution_id=each, **fields) for each in ids)


class Tail:
    """The program in pipes."""

    def __init__(self, daemon: ObservedDaemon, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "tail", *arguments],
            env=environment(daemon.socket, TZ="UTC"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def errors(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def ids(self, count: int) -> list[str]:
        """Those of the next lines of JSON."""
        return [json.loads(self.output.readline())["execution_id"] for _ in range(count)]

    def ids_before(self, last: str) -> list[str]:
        """Those of the lines of JSON up to one."""
        return list(iter(lambda: self.ids(1)[0], last))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_the_last_ones_come_first_and_then_each_as_it_is_recorded(daemon: ObservedDaemon) -> None:
    record(daemon, "a", "b", "c")
    with Tail(daemon, "--json", "-n", "2") as tail:
        assert tail.ids(2) == ["b", "c"]
        record(daemon, "d")
        assert tail.ids(1) == ["d"]
        record(daemon, "c", "e")
        assert tail.ids(1) == ["e"]


def test_no_execution_is_left_out_or_shown_twice_where_the_old_meet_the_new(
    daemon: ObservedDaemon,
) -> None:
    ids = [f"{n:04}" for n in range(600)]
    with Tail(daemon, "--json", "-n", "10000") as tail:
        for begin in range(0, len(ids), 3):
            record(daemon, *ids[begin : begin + 3])
        assert tail.ids(len(ids)) == ids


def test_only_what_was_asked_for_is_shown(daemon: ObservedDaemon) -> None:
    record(daemon, "old", agent_id="ann", success=False)
    record(daemon, "other", agent_id="bob", success=False)
    with Tail(daemon, "--json", "--agent", "ann", "--tool", "web_search", "--failed") as tail:
        assert tail.ids(1) == ["old"]
        record(daemon, "right", agent_id="ann")
        record(daemon, "tool", agent_id="ann", tool_name="browse", success=False)
        record(daemon, "new", agent_id="ann", success=False, task_id="t-2")
        assert tail.ids(1) == ["new"]
    with Tail(daemon, "--json", "--task", "t-2", "--failed") as tail:
        assert tail.ids(1) == ["new"]


def test_in_a_pipe_a_line_is_whole_and_plain(daemon: ObservedDaemon) -> None:
    long = "an-agent-with-a-name-that-is-longer-than-any-column-would-be"
    record(
        daemon,
        "a",
        agent_id=long,
        tool_name="browse",
        success=False,
        error_type="timeout",
        cost_actual=0.02,
    )
    with Tail(daemon) as tail:
        line = tail.output.readline()
    for shown in ("\N{BALLOT X}", long, "browse", "1.5 s", "$0.0200", "timeout", "task-1"):
        assert shown in line
    assert "\x1b" not in line
    assert not line.rstrip("\n").endswith("  ")


def test_a_restart_of_the_daemon_is_said_and_costs_nothing(daemon: ObservedDaemon) -> None:
    record(daemon, "first")
    with Tail(daemon, "--json", "-n", "1") as tail:
        # It has subscribed before it asks for what there was.
        assert tail.ids(1) == ["first"]
        record(daemon, "a")
        assert tail.ids(1) == ["a"]
        tail.process.send_signal(signal.SIGSTOP)
        record(daemon, "b")
        assert daemon.stop() == 0
        daemon.start()
        record(daemon, "c")
        tail.process.send_signal(signal.SIGCONT)
        assert sorted(tail.ids(2)) == ["b", "c"]
        record(daemon, "d")
        assert tail.ids(1) == ["d"]
        assert tail.errors.readline() == (
            f"buddyctl: The daemon at {daemon.socket} has hung up. Waiting for it to come back.\n"
        )
        assert tail.errors.readline() == "buddyctl: The daemon is back.\n"


class Restarted:
    """A tail that is held while its daemon restarts, so that all of a block comes in the gap."""

    def __init__(self, daemon: ObservedDaemon, tail: Tail) -> None:
        self.daemon, self.tail = daemon, tail

    def __enter__(self) -> None:
        self.tail.process.send_signal(signal.SIGSTOP)
        assert self.daemon.stop() == 0
        self.daemon.start()

    def __exit__(self, *_: object) -> None:
        self.tail.process.send_signal(signal.SIGCONT)


def test_all_that_was_recorded_over_a_restart_is_shown(daemon: ObservedDaemon) -> None:
    record(daemon, "first")
    ids = [f"{n:05}" for n in range(12_000)]
    with Tail(daemon, "--json", "-n", "1") as tail:
        assert tail.ids(1) == ["first"]
        with Restarted(daemon, tail):
            for begin in range(0, len(ids), 1000):
                record(daemon, *ids[begin : begin + 1000])
        record(daemon, "last")
        assert sorted(tail.ids_before("last")) == ids
        tail.errors.readline()
        assert tail.errors.readline() == "buddyctl: The daemon is back.\n"


def test_what_is_recorded_late_is_shown_or_may_be_missing(daemon: ObservedDaemon) -> None:
    record(daemon, "before", finished_at=time.time() - 3600)
    with Tail(daemon, "--json", "-n", "1") as tail:
        # It has subscribed before it asks for what there was.
        assert tail.ids(1) == ["before"]
        shown = time.time()
        record(daemon, *(f"{n}" for n in range(5)), finished_at=shown - 3600)
        assert tail.ids(5) == ["0", "1", "2", "3", "4"]
        with Restarted(daemon, tail):
            record(daemon, "late", finished_at=shown)
            record(daemon, "older-1", "older-2", finished_at=shown - 3600)
            record(daemon, "last")
        assert tail.ids_before("last") == ["late"]
        tail.errors.readline()
        assert "may be missing, 2 at most: shown are the newest 50,000" in tail.errors.readline()


def test_what_came_too_fast_is_counted(daemon: ObservedDaemon) -> None:
    record(daemon, "first")
    with Tail(daemon, "--json", "-n", "1") as tail:
        # It has subscribed before it asks for what there was.
        assert tail.ids(1) == ["first"]
        tail.process.send_signal(signal.SIGSTOP)
        for begin in range(0, 10_000, 500):
            record(daemon, *(f"{n}" for n in range(begin, begin + 500)))
        tail.process.send_signal(signal.SIGCONT)
        shown = 0
        for line in tail.output:
            shown += 1
            if json.loads(line)["execution_id"] == "9999":
                break
        said = tail.errors.readline()
    missing = int(said.split()[1].replace(",", ""))
    assert shown + missing == 10_000
    assert said == f"buddyctl: {missing:,} executions are missing here: they came too fast.\n"


def test_ctrl_c_ends_it_without_a_mess(daemon: ObservedDaemon) -> None:
    record(daemon, "a")
    command = [*PROGRAM, "tail"]
    with Window(*command, env=environment(daemon.socket)) as window:
        window.wait_for("web_search")
        window.press("\x03")
        assert window.end() == 130
        assert window.text.splitlines()[1:] == ["^C"]


@pytest.mark.parametrize("moment", ["at once", "while it waits"])
def test_a_reader_that_goes_away_ends_it(daemon: ObservedDaemon, moment: str) -> None:
    record(daemon, "a")
    with Tail(daemon) as tail:
        if moment == "while it waits":
            tail.output.readline()
        tail.output.close()
        assert tail.process.wait(30) == 128 + signal.SIGPIPE
        assert tail.errors.read() == ""


def test_without_a_daemon_it_does_not_wait_for_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "tail"],
        env=environment(tmp_path / "none"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 69
    assert done.stderr.startswith(f"buddyctl: No daemon listens at {tmp_path}/none;")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_it_looks_well(columns: int) -> None:
    def script(asked: Asked) -> Reply:
        return (
            ANSWERS["subscribe"]
            if asked.method == "subscribe"
            else Executions(executions=SHOWN, next=None)
        )

    with running(script) as peer:
        env = environment(peer.socket, TZ="UTC")
        with Window(*PROGRAM, "tail", env=env, columns=columns) as window:
            seen = window.wait_for("19:20:00")
            assert window.style("\N{BALLOT X}").fg == "red"
            assert window.style("\N{CHECK MARK}").fg == "green"
    assert seen == kept(f"tail-{columns}", seen)
