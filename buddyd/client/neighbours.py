"""The neighbours of the daemon on an agent's host: what they count is reported, not counted again.

    neighbours = Neighbours(cost_tracker=tracker, budget_tracker="budgets.jsonl")
    neighbours.start(Client())

A cost tracker is any object with `get_actual_costs()`, or the JSON Lines file that it writes; a
budget tracker any object with `get_budgets()` or `get_budget_status()`, or its file. Where
`report_costs` and `report_budget` bring them is told under `reconciliation` and `budgets` of
`get_api_usage_and_costing`.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import msgspec

from buddyd.client.calls import Call
from buddyd.client.errors import DaemonError
from buddyd.client.shapes import (
    EffortLevels,
    Misshapen,
    budget,
    budgets_in,
    costs_in,
    costs_of_line,
)
from buddyd.client.tail_of_file import Line, TailOfFile
from buddyd.domain import answers
from buddyd.errors import BuddydError
from buddyd.protocol.messages import ReportBudget, ReportCosts

SYNC_SECONDS = 30.0
MOST_WAITING = 1000
"""Reports that wait for the daemon: it remembers no more. The oldest give way."""
MOST_SAID = 1000
_AWAY = "away"
_COSTS = ("get_actual_costs",)
_BUDGETS = ("get_budgets", "get_budget_status")

Report = ReportCosts | ReportBudget
Say = Callable[[str], None]
Asked = Callable[[], Any]


def _warn(sentence: str) -> None:
    logging.getLogger("buddyd.client").warning("%s", sentence)


class Reporting(Protocol):
    """What a report goes through: a `Client`."""

    def call(self, call: Call[answers.Done]) -> answers.Done:
        """Make the call; raises BuddydError."""


class Neighbours:
    """Looks at what it was given, and reports what is new.

    Raises Misshapen (a ValueError) where one of them is nothing that it knows. What is wrong later,
    a line of a file or what an object gives, is said once, with the reason, by `say` (by default
    as a warning of the logger `buddyd.client`), and passed over.
    """

    def __init__(
        self,
        *,
        cost_tracker: object = None,
        budget_tracker: object = None,
        human_energy_model: object = None,
        source: str = "cost_tracker",
        say: Say = _warn,
    ) -> None:
        self.efforts = EffortLevels(human_energy_model)
        self._say = say
        self._said: set[str] = set()
        self._waiting: dict[tuple[str, ...], Report] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        _renew_in_children(self)
        self._sources = [
            *_sources(
                cost_tracker,
                "cost_tracker",
                _COSTS,
                lambda given: costs_in(given, source),
                lambda given, line, at: costs_of_line(given, source, line, at),
            ),
            *_sources(
                budget_tracker,
                "budget_tracker",
                _BUDGETS,
                budgets_in,
                lambda given, _line, _at: budget(given),
            ),
        ]

    def effort(self, level: object) -> object:
        """LOW, MEDIUM or HIGH for a level of the human energy model; anything else as it is."""
        return self.efforts.name(level)

    def sync(self, client: Reporting) -> int:
        """Report what is new; returns how many reports were made.

        Raises BuddydError where the daemon is away: what waits is reported the next time.
        """
        with self._lock:
            for found in self._sources:
                for report in found(self._complain):
                    self._wait(report)
            reported = 0
            for key, report in list(self._waiting.items()):
                reported += self._report(client, report)
                del self._waiting[key]
            return reported

    def start(self, client: Reporting, every: float = SYNC_SECONDS) -> None:
        """Do so every so many seconds, in a thread of its own, until `close`."""
        if not self._sources:
            return

        def go_on() -> None:
            while True:
                try:
                    self.sync(client)
                    self._said.discard(_AWAY)
                except BuddydError as error:
                    self._complain(f"What trackers count is not reported for now: {error}", _AWAY)
                except Exception as error:  # The thread must outlive what nobody foresaw.
                    self._complain(f"What trackers count is not reported for now: {error!r}")
                if self._ended.wait(every):
                    return

        threading.Thread(target=go_on, name="buddyd-neighbours", daemon=True).start()

    def close(self) -> None:
        """No more of it."""
        self._ended.set()

    def renew(self) -> None:
        """In a forked process: whoever held the lock is not in it."""
        self._lock = threading.Lock()

    def _wait(self, report: Report) -> None:
        match report:
            case ReportCosts(source=source, mission_id=mission):
                key: tuple[str, ...] = ("costs", source, str(mission))
            case ReportBudget(service=service):
                key = ("budget", service)
        self._waiting.pop(key, None)
        self._waiting[key] = report
        while len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def _report(self, client: Reporting, report: Report) -> int:
        try:
            client.call(Call(report))
        except DaemonError as error:
            self._complain(f"The daemon does not take {_named(report)}: {error}")
            return 0
        return 1

    def _complain(self, sentence: str, reason: str | None = None) -> None:
        key = reason or sentence
        if key not in self._said and len(self._said) < MOST_SAID:
            self._said.add(key)
            self._say(sentence)


Source = Callable[[Say], Iterable[Report]]
"""Gives what is new, and says what is wrong."""
OfLine = Callable[[dict[str, Any], bytes, float], Report]
"""What a line says: decoded, as it stands, and when it was written."""


def _sources(
    tracker: object,
    name: str,
    methods: tuple[str, ...],
    of_object: Callable[[object], Iterator[Report]],
    of_line: OfLine,
) -> Iterator[Source]:
    if tracker is None:
        return
    if isinstance(tracker, (str, PathLike)):
        path = Path(tracker)
        yield _File(path, of_line).new
        return
    for method in methods:
        if callable(asked := getattr(tracker, method, None)):
            yield _Asked(f"{name}.{method}()", asked, of_object).new
            return
    wanted = " or ".join(f"{method}()" for method in methods)
    raise Misshapen(
        f"{name} is {tracker!r}, but must be an object with {wanted}, or the path of the JSON "
        "Lines file that it writes"
    )


class _Asked:
    """A tracker that is asked; what it counts is reported each time, changed or not."""

    def __init__(
        self, name: str, asked: Asked, reports: Callable[[object], Iterator[Report]]
    ) -> None:
        self._name = name
        self._asked = asked
        self._reports = reports

    def new(self, say: Say) -> list[Report]:
        """What it counts."""
        try:
            return list(self._reports(self._asked()))
        except Exception as error:
            # It is not ours, and may raise anything.
            reason = str(error) or type(error).__name__
            say(f"{self._name} gives nothing that can be reported: {reason}")
            return []


class _File:
    """The file of a tracker; its lines are reported as they come."""

    def __init__(self, path: Path, report: OfLine) -> None:
        self._path = path
        self._tail = TailOfFile(path)
        self._report = report
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    def new(self, say: Say) -> Iterator[Report]:
        """What its new lines say."""
        try:
            for line in self._tail.new_lines():
                if line.cut or line.text.strip():
                    yield from self._understood(line, self._written_at(), say)
        except OSError as error:
            say(f"{self._path} cannot be read: {error.strerror}")

    def _written_at(self) -> float:
        """When its lines were there at the latest: read again, they say no other time."""
        return min(time.time(), self._tail.modified_at)

    def _understood(self, line: Line, written_at: float, say: Say) -> Iterator[Report]:
        if line.cut:
            say(f"{self._path}, line {line.number} is passed over: it is longer than 1 MiB")
            return
        try:
            yield self._report(self._decode(line.text), line.text, written_at)
        except (Misshapen, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            say(f"{self._path}, line {line.number} is passed over: {error}")


def _renew_in_children(neighbours: Neighbours) -> None:
    known = weakref.ref(neighbours)

    def renew() -> None:
        if (there := known()) is not None:
            there.renew()

    os.register_at_fork(after_in_child=renew)


def _named(report: Report) -> str:
    if isinstance(report, ReportBudget):
        return f"the budget of {report.service}"
    return f"the costs of {report.source}"


__all__ = ["Misshapen", "Neighbours", "Reporting"]
