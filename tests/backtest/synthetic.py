"""Loads that no trace here has, each of a kind of its own: what a forecast must not be lost on."""

import math
from collections.abc import Callable, Iterator
from random import Random

import msgspec

from buddyd.domain.journal import ExecutionRecorded
from tests.backtest.traces import BEGIN, Trace, execution, from_rates

DAYS = 28
HOURS = 24 * DAYS
CLIENTS = 6
OFFICE = range(8, 18)
WORKDAYS = 5
WEEKEND_SHARE = 0.68
SERVICE_HOURS = 24 * 23
DAY = 86_400.0
SHORTEST_CALL, LONGEST_CALL = 0.1, 60.0
"""Seconds."""

Load = Callable[[int], float]


def traces() -> list[Trace]:
    """One trace of some clients for each kind."""
    made = [from_rates(f"synthetic {name}", _clients(kind, HOURS)) for name, kind in KINDS.items()]
    service = from_rates("synthetic service", _clients(_service, SERVICE_HOURS), full_load=1.0)
    several = _coding_agents("synthetic coding agent", CLIENTS, batches=HOURS)
    single = _coding_agents("synthetic single batch", 5 * CLIENTS, batches=1)
    return [*made, service, several, single]


def _clients(kind: Callable[[Random], Load], hours: int) -> dict[str, list[tuple[float, float]]]:
    return {str(client): list(_series(kind(Random(client)), hours)) for client in range(CLIENTS)}


def _series(load: Load, hours: int) -> Iterator[tuple[float, float]]:
    return ((3600.0 * hour, max(0.0, load(hour))) for hour in range(hours))


def _coding_agents(name: str, clients: int, batches: int) -> Trace:
    calls = [
        call for agent in range(clients) for call in _calls(str(agent), Random(agent), batches)
    ]
    in_order = sorted(calls, key=lambda call: call.finished_at)
    numbered = [msgspec.structs.replace(call, seq=seq) for seq, call in enumerate(in_order, 1)]
    return Trace(name, numbered, BEGIN + DAYS * DAY)


def _calls(agent: str, random: Random, batches: int) -> Iterator[ExecutionRecorded]:
    """Batches of tasks, call after call for hours; between two batches nothing for days."""
    at = random.uniform(0.0, DAY)
    for _ in range(batches):
        for _ in range(random.randint(3, 40)):
            end_of_task = at + random.lognormvariate(math.log(480.0), 0.8)
            while at < min(end_of_task, DAYS * DAY):
                duration = min(LONGEST_CALL, max(SHORTEST_CALL, random.lognormvariate(0.7, 1.4)))
                at += duration
                yield execution(agent, BEGIN + at, duration)
                # The model thinks.
                at += random.expovariate(1 / 3.0)
        at += random.uniform(0.5, 4.0) * DAY


def _service(random: Random) -> Load:
    """Cycles and noise of such a size that simple rules are off by as much as on a real one.

    Over its 23 days the last value was off by 3.4 points, yesterday by 4.0.
    """
    shift, drift = random.randrange(24), 0.0

    def load(hour: int) -> float:
        nonlocal drift
        drift = 0.42 * drift + random.gauss(0.0, 0.029)
        cycle = 0.074 * (1.0 - math.cos(math.tau * (hour + shift) / 24))
        week = 1.0 if _is_workday(hour) else WEEKEND_SHARE
        return 0.3 + cycle * week + drift + random.gauss(0.0, 0.016)

    return load


def _daily(random: Random) -> Load:
    shift = random.randrange(24)
    return lambda hour: (
        0.4 + 0.35 * math.sin(math.tau * (hour + shift) / 24) + random.gauss(0.0, 0.08)
    )


def _weekly(random: Random) -> Load:
    day = _daily(random)
    return lambda hour: day(hour) * (1.0 if _is_workday(hour) else 0.3)


def _office(random: Random) -> Load:
    def load(hour: int) -> float:
        works = _is_workday(hour) and hour % 24 in OFFICE and random.random() < 0.8
        return random.uniform(0.1, 0.8) if works else 0.0

    return load


def _bursts(random: Random) -> Load:
    busy = False

    def load(_: int) -> float:
        nonlocal busy
        busy = random.random() >= 0.25 if busy else random.random() < 0.05
        return random.uniform(0.3, 1.0) if busy else 0.0

    return load


def _idle(random: Random) -> Load:
    return lambda _: random.uniform(0.05, 0.4) if random.random() < 0.01 else 0.0


def _shifts(random: Random) -> Load:
    levels = [random.uniform(0.1, 0.9) for _ in range(4)]
    return lambda hour: levels[hour * len(levels) // HOURS] + random.gauss(0.0, 0.05)


def _noise(random: Random) -> Load:
    return lambda _: random.lognormvariate(-2.0, 1.0)


def _wander(random: Random) -> Load:
    at = 0.5

    def load(_: int) -> float:
        nonlocal at
        at = min(1.0, max(0.0, at + random.gauss(0.0, 0.06)))
        return at

    return load


def _is_workday(hour: int) -> bool:
    return hour // 24 % 7 < WORKDAYS


KINDS: dict[str, Callable[[Random], Load]] = {
    "daily cycle": _daily,
    "weekly cycle": _weekly,
    "office hours": _office,
    "bursts": _bursts,
    "rarely busy": _idle,
    "level shifts": _shifts,
    "noise": _noise,
    "random walk": _wander,
}
