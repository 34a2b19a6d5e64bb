"""Sending in batches, and finding the records that the daemon refuses."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli.batches import Batches, Tally
from buddyd.cli.lines import Record, Refusal
from buddyd.client import DaemonError, Execution
from buddyd.domain.answers import Receipt
from buddyd.protocol.messages import ErrorCode
from tests.support.peer import refusal
from tests.support.samples import execution


class Daemon:
    """Refuses the tasks that it is told to: all or nothing, the early checks first."""

    def __init__(self, early: set[int] = frozenset(), late: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.refused = [{f"task-{n}" for n in early}, {f"task-{n}" for n in late}]
        self.sent: list[int] = []
        self.recorded: list[str] = []

    def __call__(self, batch: Sequence[Execution]) -> Receipt:
        self.sent.append(len(batch))
        for tasks in self.refused:
            for index, each in enumerate(batch):
                if each.task_id in tasks:
                    path = f"$.executions[{index}].task_id"
                    raise DaemonError(
                        refusal(ErrorCode.INVALID_PARAMS, "No.", reason="Never", path=path)
                    )
        self.recorded += [each.task_id for each in batch]
        return Receipt(accepted=len(batch), duplicates=0, expired=0)


def record(number: int, size_bytes: int = 100) -> Record:
    return Record(number, execution(task_id=f"task-{number}"), size_bytes)


def unexpected(refusal: Refusal) -> None:
    pytest.fail(str(refusal))


@given(
    count=st.integers(0, 30),
    size=st.integers(1, 8),
    early=st.sets(st.integers(0, 29)),
    late=st.sets(st.integers(0, 29)),
)
def test_all_but_the_refused_are_recorded_in_their_order(
    count: int, size: int, early: set[int], late: set[int]
) -> None:
    daemon, refused, tally = Daemon(early, late), list[Refusal](), Tally()
    batches = Batches(daemon, refused.append, size, tally)
    for number in range(count):
        batches.add(record(number))
    batches.flush()
    wrong = {number for number in early | late if number < count}
    assert daemon.recorded == [f"task-{n}" for n in range(count) if n not in wrong]
    assert sorted(refusal.line for refusal in refused) == sorted(wrong)
    assert all(str(each) == f"line {each.line}: $.task_id: Never" for each in refused)
    assert tally == Tally(accepted=count - len(wrong), refused=len(wrong))
    assert max(daemon.sent, default=0) <= size


def test_what_stood_before_the_first_refusal_is_recorded_when_it_stops() -> None:
    daemon, tally = Daemon(early={5}, late={2}), Tally()

    def stop(refusal: Refusal) -> None:
        raise KeyError(refusal.line)

    batches = Batches(daemon, stop, 100, tally)
    for number in range(10):
        batches.add(record(number))
    with pytest.raises(KeyError, match="2"):
        batches.flush()
    assert daemon.recorded == ["task-0", "task-1"]
    assert tally == Tally(accepted=2, refused=1)


def test_long_records_go_in_smaller_batches() -> None:
    daemon = Daemon()
    batches = Batches(daemon, unexpected, 1000, Tally())
    for number in range(20):
        batches.add(record(number, size_bytes=300_000))
    batches.flush()
    assert daemon.sent == [4] * 5


@pytest.mark.parametrize(
    "error",
    [
        refusal(ErrorCode.NOT_PERMITTED, "No.", path="$.executions[0]"),
        refusal(ErrorCode.INVALID_PARAMS, "No.", path="$.executions"),
        refusal(ErrorCode.INVALID_PARAMS, "No.", path="$.executions[7].task_id"),
        refusal(ErrorCode.INVALID_PARAMS, "No."),
    ],
)
def test_an_error_that_is_about_no_record_ends_it(error: object) -> None:
    def send(_: Sequence[Execution]) -> Receipt:
        raise DaemonError(error)  # type: ignore[arg-type]

    batches = Batches(send, unexpected, 10, Tally())
    batches.add(record(1))
    with pytest.raises(DaemonError):
        batches.flush()
