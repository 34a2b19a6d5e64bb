"""The outlook of every agent: the forecast of its next window, from the series of its load alone.

A forecast comes at the end of a walk along the whole series. What is kept of an agent's walk goes
up to the window that closed last, but not over it: so what comes late for that window costs a step,
and not a walk. What changes an earlier one has the agent walk anew. So has the loss of the first
window, once a series is as long as it may be. In the course of a window the walk is taken as it
will be needed in the next one: then to look at that costs a step as well.
"""

import pickle
from itertools import pairwise

from msgspec import Struct

from buddyd.domain.forecast import Backcast, Backcaster, Prediction
from buddyd.domain.load import UNTOUCHED, BusySeries, Row

STEPS_OF_A_WALK = 5
"""To take up a walk and to put it away takes as long as so many steps."""


Free = tuple[int, int, int]
"""Low, likely and high capacity in whole percent."""


class Outlook(Struct, frozen=True, gc=False):
    """What an agent can take on in a window, and how far off such forecasts were."""

    window: int
    parallel: int
    """How many tasks it can run at once."""
    free: Free
    error: float | None
    """Mean absolute error in percentage points; None while nothing could be compared."""
    coverage: float | None
    """The share of the values that lay in their intervals; None while there were none."""


class _Walk(Struct, frozen=True, gc=False):
    """A walk along the windows from `first` to before `until`."""

    first: int
    until: int
    parallel: int
    most: float
    """The largest value or forecast, in tasks; what can run at once cuts none off from there on."""
    packed: bytes
    """The backcaster that walks; packed it takes a quarter of the memory, and nobody changes it."""

    def differs(self, parallel: int) -> bool:
        """Whether it would be another one where so many tasks can run at once."""
        return parallel != self.parallel and self.most > min(parallel, self.parallel)

    def go_on(self, parallel: int) -> Backcaster:
        """The backcaster, to walk on with where so many can."""
        caster: Backcaster = pickle.loads(self.packed)  # noqa: S301 - it was packed below
        caster.ceiling = parallel
        return caster


class Outlooks:
    """The outlook of every agent on the window that is open, `current`."""

    def __init__(self, series: BusySeries) -> None:
        self._series = series
        self._known: dict[str, Outlook] = {}
        self._walks: dict[str, _Walk] = {}

    def get(self, agent: str, parallel: int, current: int) -> Outlook | None:
        """The outlook of an agent that can run `parallel` tasks; None where none has closed."""
        row = self._series.rows.get(agent)
        if row is None or row.first >= current:
            return None
        known = self._known_still(agent, row, parallel, current)
        if known is None:
            # What was walked ahead may be over the last window already.
            until = max(current - 1, self._begin(agent, row.first, parallel, current))
            caster = self._walk(agent, row.first, parallel, until)
            self._step(caster, agent, until, current)
            known = self._known[agent] = _outlook(caster.backcast(), parallel, current)
        return known

    def prepare(self, agent: str, parallel: int, current: int, most: int) -> int:
        """Do in part what `get` would have to do; returns how many steps that was.

        They are not many more than `most`. None is left where they are 0.
        """
        row = self._series.rows.get(agent)
        if row is None or row.first >= current or self._known_still(agent, row, parallel, current):
            return 0
        begin = self._begin(agent, row.first, parallel, current)
        if current - 1 - begin > most:
            self._walk(agent, row.first, parallel, begin + most)
            return most + STEPS_OF_A_WALK
        self.get(agent, parallel, current)
        return current - begin + STEPS_OF_A_WALK

    def prepare_next(self, agent: str, parallel: int, current: int, most: int) -> int:
        """Do in part what `get` would have to do once the next window is open.

        That is to walk over the last window too, and without the one that the series loses then,
        if it does. It takes the place of the walk to the outlook of now, which has to be known.
        """
        row = self._series.rows.get(agent)
        if row is None or not self._known_still(agent, row, parallel, current):
            return 0
        first = row.first_busy(current + 1 - self._series.length)
        begin = self._begin(agent, first, parallel, current)
        steps = min(current - begin, most)
        if steps <= 0:
            return 0
        self._walk(agent, first, parallel, begin + steps)
        return steps + STEPS_OF_A_WALK

    def forget(self) -> None:
        """Drop what was known of agents that have no series any more."""
        rows = self._series.rows
        for kept in (self._known, self._walks):
            for agent in [agent for agent in kept if agent not in rows]:
                del kept[agent]

    def _known_still(self, agent: str, row: Row, parallel: int, current: int) -> Outlook | None:
        """What is known, where it still holds; what does not is dropped."""
        if row.touched < current:
            self._known.pop(agent, None)
            walk = self._walks.get(agent)
            if walk is not None and row.touched < walk.until:
                del self._walks[agent]
            row.touched = UNTOUCHED
        known = self._known.get(agent)
        if known is None or known.window != current or known.parallel != parallel:
            return None
        return known

    def _begin(self, agent: str, first: int, parallel: int, until: int) -> int:
        """The window at which a walk from `first` to `until` can begin, with what is kept."""
        walk = self._walks.get(agent)
        if walk is None or walk.first != first or walk.until > until or walk.differs(parallel):
            return first
        return walk.until

    def _walk(self, agent: str, first: int, parallel: int, until: int) -> Backcaster:
        """Walk from `first` to before `until`, and keep how far that is."""
        begin = self._begin(agent, first, parallel, until)
        caster = (
            Backcaster(self._series.width, parallel)
            if begin == first
            else self._walks[agent].go_on(parallel)
        )
        if begin < until:
            self._step(caster, agent, begin, until)
            packed = pickle.dumps(caster, pickle.HIGHEST_PROTOCOL)
            self._walks[agent] = _Walk(first, until, parallel, caster.most, packed)
        return caster

    def _step(self, caster: Backcaster, agent: str, begin: int, end: int) -> None:
        """Walk on over the windows from `begin` to before `end`."""
        series = self._series
        values = series.utilisation(agent, end, begin)
        hours = pairwise(map(series.hour_of_day, range(begin, end + 1)))
        for value, (hour, next_hour) in zip(values, hours, strict=True):
            caster.observe(value, hour, next_hour)


def free(prediction: Prediction, parallel: int) -> Free:
    """What a load leaves of all that an agent can run at once."""
    busy = (prediction.high, prediction.value, prediction.low)
    low, likely, high = (percent_free(value, parallel) for value in busy)
    return low, likely, high


def percent_free(busy: float, parallel: int) -> int:
    """What so many tasks on average leave of `parallel`, in whole percent."""
    return round(100 * (1 - min(1.0, busy / parallel)))


def unsure(value: float, parallel: int) -> Prediction:
    """The prediction where nothing is known yet of how far off it may be."""
    return Prediction(value, 0.0, float(parallel))


def _outlook(found: Backcast, parallel: int, current: int) -> Outlook:
    if found.mean_error is None:
        prediction = unsure(found.prediction.value, parallel)
        return Outlook(current, parallel, free(prediction, parallel), None, found.coverage)
    error = 100 * found.mean_error / parallel
    return Outlook(current, parallel, free(found.prediction, parallel), error, found.coverage)
