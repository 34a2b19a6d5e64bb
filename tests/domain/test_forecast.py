"""The forecast finds what a series does, and its interval covers four of five values."""

import math
from collections.abc import Callable
from itertools import pairwise
from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.forecast import Backcast, Backcaster, Prediction
from tests.backtest import synthetic
from tests.backtest.forecasts import predictions as forecasts
from tests.oracle import outlook
from tests.support.workloads import examples

DAYS = 20
MINUTES, HOUR = 300, 3600
UTILISATION = st.sampled_from((0.0, 1.0, 720.0)) | st.floats(0.0, 3.0)


def backcast(values: list[float], of_day: list[int], width: int, ceiling: int) -> Backcast:
    caster = Backcaster(width, ceiling)
    for value, (hour, next_hour) in zip(values, pairwise(of_day), strict=True):
        caster.observe(value, hour, next_hour)
    return caster.backcast()


def hours(length: int) -> list[int]:
    return [hour % 24 for hour in range(length + 1)]


def predictions(values: list[float], width: int = HOUR) -> list[Prediction]:
    """The forecast of each value from those before it; nothing for the first."""
    return list(forecasts(values, hours(len(values)), width))[:-1]


def error(values: list[float], since: int) -> float:
    pairs = list(zip(predictions(values), values[1:], strict=True))
    return mean(abs(p.value - value) for p, value in pairs[since:])


@examples(60)
@given(
    values=st.lists(UTILISATION, min_size=1, max_size=80),
    first_hour=st.integers(0, 23),
    width=st.sampled_from((MINUTES, HOUR, 86_400)),
    ceiling=st.sampled_from((1, 2, 8)),
)
def test_the_forecast_is_that_of_the_weighted_experts(
    values: list[float], first_hour: int, width: int, ceiling: int
) -> None:
    of_day = [(first_hour + number) % 24 for number in range(len(values) + 1)]
    expected = outlook(values, of_day, width, ceiling)
    found = backcast(values, of_day, width, ceiling)
    prediction = (found.prediction.value, found.prediction.low, found.prediction.high)
    assert prediction == pytest.approx(expected[:3], rel=1e-9, abs=1e-9)
    assert found.mean_error == pytest.approx(expected.mean_error)
    assert found.coverage == pytest.approx(expected.coverage)


def test_after_one_value_nothing_is_known_of_the_error() -> None:
    expected = Backcast(Prediction(0.5, 0.4984, 0.5016), None, None)
    assert backcast([0.5], [3, 4], MINUTES, 1) == expected


def test_a_constant_load_is_forecast_exactly() -> None:
    found = backcast([0.4] * 100, hours(100), MINUTES, 1)
    assert found.prediction.value == pytest.approx(0.4)
    assert found.mean_error == pytest.approx(0.0)
    assert found.prediction.high - found.prediction.low < 0.01


def test_an_idle_agent_stays_free() -> None:
    found = backcast([0.0] * 48, hours(48), HOUR, 1)
    assert (found.prediction.value, found.prediction.low, found.mean_error) == (0.0, 0.0, 0.0)
    assert found.prediction.high < 0.002


def test_an_agent_that_rarely_works_is_told_free() -> None:
    values = [0.4, *[0.0] * 30, 0.7, *[0.0] * 20, 0.2, 0.1, *[0.0] * 50, 0.5, *[0.0] * 9]
    made = predictions(values)
    assert {p.value for p in made} == {0.0}
    # Nor is it certain.
    assert made[-9].high > 0.05


def test_for_minutes_work_is_expected_to_go_on() -> None:
    assert predictions([0.4, 0.4], MINUTES)[0].value == 0.4


def test_steady_work_is_believed_in_from_its_second_hour_on() -> None:
    made = predictions([0.5, 0.55, 0.5, 0.55])
    assert made[0].value == 0.0
    assert made[1].value == 0.55
    assert made[2].value == pytest.approx(0.5, abs=0.05)


def test_that_work_lasts_for_hours_is_learned_after_a_few_batches() -> None:
    batch = [0.3, 0.6, 0.6, 0.6, 0.6, 0.6, 0.2]
    values = [value for idle in (41, 29, 67, 0) for value in [*batch, *[0.0] * idle]]
    last_batch = predictions(values)[-len(batch) :]
    assert [p.value > 0.25 for p in last_batch] == [False, *[True] * (len(batch) - 1)]


SIMPLE_RULES: dict[str, Callable[[list[float], int], float]] = {
    "last value": lambda values, at: values[at - 1],
    "yesterday": lambda values, at: values[at - (24 if at >= 24 else 1)],
    "always 100 %": lambda _, __: 0.0,
    "mean of the last ones": lambda values, at: mean(values[max(0, at - 5) : at]),
}


@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_it_is_nowhere_much_worse_than_the_best_of_simple_rules(kind: str) -> None:
    off = rules = 0.0
    for seed in range(10, 16):
        load = synthetic.KINDS[kind](Random(seed))
        values = [max(0.0, load(hour)) for hour in range(24 * 28)]
        values = values[next(at for at, value in enumerate(values) if value) :]
        off += error(values, since=0)
        rules += min(
            mean(abs(rule(values, at) - values[at]) for at in range(1, len(values)))
            for rule in SIMPLE_RULES.values()
        )
    assert off < 1.05 * rules


def test_a_daily_cycle_is_learned() -> None:
    day = [0.5 - 0.5 * math.cos(hour * math.pi / 12) for hour in range(24)]
    values = day * DAYS
    assert error(values, since=24 * 10) < 0.02
    last_value = mean(abs(a - b) for a, b in pairwise(values))
    assert error(values, since=24 * 10) < last_value / 3


def test_a_change_for_good_is_followed() -> None:
    values = [0.1] * 200 + [0.8] * 60
    assert predictions(values)[-1].value == pytest.approx(0.8, abs=0.05)


def test_errors_count_between_values_that_are_cut_off_at_what_can_run_at_once() -> None:
    values = [3.0, 5.0, 3.0, 5.0, 3.0]
    found = backcast(values, hours(5), MINUTES, 1)
    assert found.mean_error == 0.0


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3])
def test_the_interval_covers_four_of_five_values(spread: float) -> None:
    random = Random(5)
    values = [max(0.0, random.gauss(1.0, spread)) for _ in range(4000)]
    pairs = list(zip(predictions(values), values[1:], strict=True))[200:]
    covered = mean(p.low <= value <= p.high for p, value in pairs)
    assert covered == pytest.approx(0.80, abs=0.02)


def test_an_odd_window_among_even_ones_is_not_expected_again() -> None:
    values = [0.9 if number % 7 == 6 else 0.5 for number in range(24 * DAYS)]
    after_odd = [
        p.value for p, last in zip(predictions(values), values, strict=False) if last > 0.5
    ]
    assert max(after_odd[10:]) < 0.55


def test_what_follows_the_first_busy_window_is_learned_apart() -> None:
    # Of another length than what the hours of the day would tell.
    values = [0.0, 0.0, 0.0, 0.0, 0.1, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8] * 40
    made = predictions([*values, 0.0])[-11:]
    assert made[4].value > 0.4
    assert made[5].value == pytest.approx(0.8, abs=0.15)
    assert made[0].value == pytest.approx(0.0, abs=0.05)


def test_the_interval_covers_four_of_five_values_after_busy_windows_of_an_idle_agent() -> None:
    random, values, busy = Random(5), [1.0], False
    for _ in range(20_000):
        busy = random.random() < (0.9 if busy else 0.02)
        values.append(random.uniform(0.3, 1.0) if busy else 0.0)
    pairs = list(zip(predictions(values), values, values[1:], strict=False))[500:]
    after_busy = [p.low <= value <= p.high for p, last, value in pairs if last]
    assert mean(after_busy) == pytest.approx(0.80, abs=0.02)
    # That it stays idle is 98 % sure: an interval without that would be wrong on purpose.
    assert mean(p.low == 0.0 for p, last, _ in pairs if not last) > 0.999


def test_the_interval_forgets_a_leap_at_the_begin() -> None:
    random = Random(5)
    values = [0.01, *(random.gauss(0.6, 0.02) for _ in range(30))]
    last = predictions(values)[-1]
    assert last.high - last.low < 0.15
