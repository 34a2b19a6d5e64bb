"""Traces: files of executions or of rates, as entries of a journal.

A file of executions is what `buddyctl import` takes: one JSON object a line. A file of rates is a
CSV with a first column of seconds and one of loads for each client, as ServeGen's.
"""

import csv
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct

from buddyd.domain.execution import Execution
from buddyd.domain.journal import ExecutionRecorded, microseconds, nanodollars

BEGIN = 1_735_689_600.0
"""When a trace of rates begins: the midnight that 2025 begins with."""
RATE_WINDOW = 3600
PERCENTILE = 0.99
"""A client runs at full load where it reaches this percentile of its own rates."""


class Trace(Struct, frozen=True):
    """Executions in the order of their ends, and what is known of them."""

    name: str
    entries: list[ExecutionRecorded]
    end: float
    """Unix seconds."""
    window: int | None = None
    """The window to forecast, in seconds; None where it is to be chosen."""
    full_load: float | None = None
    """What an agent can do at once; None where it is as many as were seen."""


def read(path: Path) -> Trace:
    """The trace in a file; ValueError where it is none."""
    if path.suffix == ".csv":
        return from_rates(path.stem, _rates(path))
    found = list(entries(_executions(path)))
    if not found:
        raise ValueError(f"{path} holds no execution.")
    return Trace(path.stem, found, found[-1].finished_at)


def entries(executions: list[Execution]) -> Iterator[ExecutionRecorded]:
    """The journal of executions that are recorded as they end."""
    if any(e.finished_at is UNSET for e in executions):
        raise ValueError("Every execution of a trace must have its `finished_at`.")
    in_order = sorted(executions, key=lambda e: float(e.finished_at or 0.0))
    for seq, e in enumerate(in_order, 1):
        finished_at = float(e.finished_at or 0.0)
        yield ExecutionRecorded(
            seq=seq,
            recorded_at=finished_at,
            agent=e.agent_id,
            tool=e.tool_name,
            execution_id=str(seq),
            task_id=e.task_id,
            finished_at=finished_at,
            duration=microseconds(e.duration_seconds),
            success=e.success,
            cost=nanodollars(e.cost_actual),
            estimate=nanodollars(e.cost_estimate),
            tokens=e.tokens_used,
            effort=e.human_effort_level,
            browser=e.browser_used,
            error_type=e.error_type,
        )


def from_rates(
    name: str, rates: dict[str, list[tuple[float, float]]], full_load: float | None = None
) -> Trace:
    """Loads as executions that take as much time.

    What a client can do at once is `full_load`, or its own peak.
    """
    numbers = count(1)
    found: list[ExecutionRecorded] = []
    end = BEGIN
    for client, series in rates.items():
        step = min(after - before for (before, _), (after, _) in pairwise(series))
        in_order = sorted(rate for _, rate in series)
        peak = full_load or in_order[int(PERCENTILE * (len(in_order) - 1))] or 1.0
        for begin, rate in series:
            found += _busy(client, BEGIN + begin, step, rate / peak)
            end = max(end, BEGIN + begin + step)
    in_order_of_end = sorted(found, key=lambda e: e.finished_at)
    numbered = [msgspec.structs.replace(e, seq=next(numbers)) for e in in_order_of_end]
    return Trace(name, numbered, end, RATE_WINDOW, 1.0)


def _busy(client: str, begin: float, step: float, load: float) -> Iterator[ExecutionRecorded]:
    """Executions that end together, and keep a client busy at `load` for a step."""
    while load > 0.0:
        part = min(1.0, load)
        load -= part
        yield execution(client, begin + step * part, step * part)


def execution(agent: str, end: float, duration: float) -> ExecutionRecorded:
    """An execution of which nothing matters but when it ran."""
    return ExecutionRecorded(
        seq=0,
        recorded_at=end,
        agent=agent,
        tool="request",
        execution_id="",
        task_id="",
        finished_at=end,
        duration=microseconds(duration),
        success=True,
        cost=0,
        estimate=0,
        tokens=0,
        effort="MEDIUM",
        browser=False,
        error_type=None,
    )


def _executions(path: Path) -> list[Execution]:
    decode = msgspec.json.Decoder(Execution).decode
    found = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    found.append(decode(line))
                except msgspec.MsgspecError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from error
    return found


def _rates(path: Path) -> dict[str, list[tuple[float, float]]]:
    with path.open(newline="") as file:
        names, *rows = csv.reader(file)
    times = [float(row[0]) for row in rows]
    return {
        name: [(time, float(row[column])) for time, row in zip(times, rows, strict=True)]
        for column, name in enumerate(names[1:], 1)
    }
