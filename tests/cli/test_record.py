"""buddyctl record."""

import json
import time

import pytest

from buddyd.domain.answers import Receipt
from buddyd.domain.execution import Execution
from tests.support.buddyctl import buddyctl
from tests.support.peer import Ledger, Peer, running
from tests.support.samples import RECEIPT


def recorded(peer: Peer) -> Execution:
    [asked] = peer.asked
    assert isinstance(asked.params, Execution)
    return asked.params


def test_every_field_has_a_flag() -> None:
    with running(lambda _: RECEIPT) as peer:
        done = buddyctl(
            *("record", "--id", "e-1", "--task", "t", "--agent", "a", "--tool", "w"),
            *("--duration", "1.5", "--failure", "--finished-at", "1000000000.5"),
            *("--cost", "0.25", "--cost-estimate", "0.5", "--tokens", "7", "--effort", "high"),
            *("--browser", "--error-type", "timeout"),
            socket=peer.socket,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert recorded(peer) == Execution(
            execution_id="e-1",
            task_id="t",
            agent_id="a",
            tool_name="w",
            duration_seconds=1.5,
            success=False,
            finished_at=1_000_000_000.5,
            cost_actual=0.25,
            cost_estimate=0.5,
            tokens_used=7,
            human_effort_level="HIGH",
            browser_used=True,
            error_type="timeout",
        )


def test_what_is_left_out_is_left_to_the_daemon_the_id_apart() -> None:
    with running(lambda _: RECEIPT) as peer:
        done = buddyctl(
            *("record", "--tool", "w", "--duration", "2"),
            socket=peer.socket,
            BUDDYD_AGENT="ci",
            BUDDYD_TASK="build-7",
        )
        execution = recorded(peer)
    assert str(execution.execution_id) in done.stdout
    assert execution == Execution(
        execution_id=execution.execution_id,
        task_id="build-7",
        agent_id="ci",
        tool_name="w",
        duration_seconds=2.0,
        success=True,
    )


def test_without_a_name_the_agent_is_the_user_on_this_host() -> None:
    with running(lambda _: RECEIPT) as peer:
        buddyctl("record", "--tool", "w", "--duration", "2", socket=peer.socket, LOGNAME="ada")
        assert recorded(peer).agent_id.startswith("ada@")


@pytest.mark.parametrize(
    ("flags", "success"),
    [([], True), (["--error-type", "x"], False), (["--error-type", "x", "--success"], True)],
)
def test_an_error_type_means_failure_unless_it_is_said_otherwise(
    flags: list[str], success: bool
) -> None:
    with running(lambda _: RECEIPT) as peer:
        buddyctl("record", "--tool", "w", "--duration", "2", *flags, socket=peer.socket)
        assert recorded(peer).success is success


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2001-09-09T01:46:40Z", 1e9),
        ("2001-09-09 03:46:40+02:00", 1e9),
        ("1e9", 1e9),
    ],
)
def test_a_time_may_be_written_as_people_write_it(text: str, expected: float) -> None:
    with running(lambda _: RECEIPT) as peer:
        buddyctl(
            *("record", "--tool", "w", "--duration", "2", "--finished-at", text),
            socket=peer.socket,
        )
        assert recorded(peer).finished_at == expected


def test_a_time_may_be_so_long_ago() -> None:
    with running(lambda _: RECEIPT) as peer:
        buddyctl(
            *("record", "--tool", "w", "--duration", "2", "--finished-at", "2h"),
            socket=peer.socket,
        )
        finished_at = recorded(peer).finished_at
    assert isinstance(finished_at, float)
    assert time.time() - finished_at == pytest.approx(7200, abs=30)


@pytest.mark.parametrize(
    ("receipt", "said"),
    [
        (Receipt(accepted=1, duplicates=0, expired=0), "Recorded\n"),
        (Receipt(accepted=0, duplicates=1, expired=0), "It was recorded before"),
        (Receipt(accepted=0, duplicates=0, expired=1), "nothing was kept"),
    ],
)
def test_it_says_what_became_of_it(receipt: Receipt, said: str) -> None:
    with running(lambda _: receipt) as peer:
        done = buddyctl("record", "--tool", "w", "--duration", "2", socket=peer.socket)
        document = buddyctl("record", "--tool=w", "--duration=2", "--json", socket=peer.socket)
    assert said in done.stdout
    assert json.loads(document.stdout)["accepted"] == receipt.accepted


def test_what_the_daemon_refuses_is_code_1() -> None:
    with running(Ledger(now=0.0)) as peer:
        done = buddyctl(
            *("record", "--tool", "w", "--duration", "2", "--finished-at", "1000"),
            socket=peer.socket,
        )
    assert done.returncode == 1
    assert done.stderr == "buddyctl: An execution has finished in the future.\n"
