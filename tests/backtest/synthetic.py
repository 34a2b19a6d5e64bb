"""Loads that no trace here has, each of a kind of its own: what a forecast must not be lost on."""

import math
from collections.abc import Callable, Iterator
from random import Random

from tests.backtest.traces import Trace, from_rates

DAYS = 28
HOURS = 24 * DAYS
CLIENTS = 6
OFFICE = range(8, 18)
WORKDAYS = 5

Load = Callable[[int], float]


def traces() -> list[Trace]:
    """One trace of some clients for each kind."""
    return [
        from_rates(
            f"synthetic {name}",
            {str(client): list(_series(kind, Random(client))) for client in range(CLIENTS)},
        )
        for name, kind in KINDS.items()
    ]


def _series(kind: Callable[[Random], Load], random: Random) -> Iterator[tuple[float, float]]:
    load = kind(random)
    return ((3600.0 * hour, max(0.0, load(hour))) for hour in range(HOURS))


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
