"""What is said of a tool, and how far the data support it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.confidence import beta_cdf, level, level_probability, wilson_interval
from buddyd.domain.settings import DomainSettings
from tests.oracle import beta_below, wilson
from tests.support.workloads import examples

SETTINGS = DomainSettings()
RATES = st.integers(1, 999).map(lambda n: n / 1000)
COUNTS = st.integers(0, 400)


def by_simpson(x: float, a: float, b: float, panels: int = 4000) -> float:
    """I_x(a, b), with rate = sin² t, which takes the poles at both ends away."""

    def integral(end: float) -> float:
        step = end / panels
        values = [density(i * step) for i in range(panels + 1)]
        weighted = values[0] + values[-1] + 4 * sum(values[1::2]) + 2 * sum(values[2:-1:2])
        return weighted * step / 3

    def density(t: float) -> float:
        return math.pow(math.sin(t), 2 * a - 1) * math.pow(math.cos(t), 2 * b - 1)

    return integral(math.asin(math.sqrt(x))) / integral(math.pi / 2)


@pytest.mark.parametrize(
    ("x", "a", "b", "expected"),
    [
        (0.0, 2.0, 3.0, 0.0),
        (1.0, 2.0, 3.0, 1.0),
        (0.3, 1.0, 1.0, 0.3),
        (0.5, 2.5, 2.5, 0.5),
        (0.25, 0.5, 0.5, 1 / 3),
        (0.4, 2.0, 1.0, 0.16),
        (0.4, 1.0, 3.0, 1 - 0.6**3),
        # P(at least 7 of 10) for a coin.
        (0.5, 7.0, 4.0, (120 + 45 + 10 + 1) / 1024),
    ],
)
def test_beta_distribution_where_it_is_known(x: float, a: float, b: float, expected: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(expected, abs=1e-13)


@examples(200)
@given(x=RATES, successes=COUNTS, failures=COUNTS)
def test_beta_distribution_of_any_counts(x: float, successes: int, failures: int) -> None:
    exact = beta_below(x, successes, failures)
    assert beta_cdf(x, successes + 0.5, failures + 0.5) == pytest.approx(exact, abs=1e-9)


@examples(10)
@given(x=RATES, successes=st.integers(1, 60), failures=st.integers(1, 60))
def test_beta_distribution_by_integration(x: float, successes: int, failures: int) -> None:
    area = by_simpson(x, successes + 0.5, failures + 0.5)
    assert beta_cdf(x, successes + 0.5, failures + 0.5) == pytest.approx(area, abs=1e-9)


def test_beta_distribution_of_a_million_executions() -> None:
    spread = math.sqrt(0.9 * 0.1 / 1_000_000)
    below = beta_cdf(0.9 - spread, 900_000.5, 100_000.5)
    assert below == pytest.approx(0.158655, abs=1e-3)
    assert beta_cdf(0.9, 900_000.5, 100_000.5) == pytest.approx(0.5, abs=1e-3)


@examples(200)
@given(successes=COUNTS, failures=COUNTS)
def test_the_interval_holds_what_chance_explains(successes: int, failures: int) -> None:
    executions = successes + failures
    low, high = wilson_interval(successes, executions)
    if executions:
        assert (low, high) == pytest.approx(wilson(successes, executions), abs=1e-9)
        assert low <= successes / executions <= high
    else:
        assert (low, high) == (0.0, 1.0)


def test_the_interval_of_the_textbook() -> None:
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


@pytest.mark.parametrize(
    ("successes", "executions", "expected"),
    [
        (0, 2, "MEDIUM"),
        (2, 2, "MEDIUM"),
        (3, 3, "HIGH"),
        (0, 3, "LOW"),
        (19, 20, "HIGH"),
        (18, 20, "MEDIUM"),
        (949, 1000, "MEDIUM"),
        (4, 5, "MEDIUM"),
        (16, 20, "MEDIUM"),
        (15, 20, "LOW"),
        (799, 1000, "LOW"),
    ],
)
def test_levels_begin_exactly_at_their_rate(successes: int, executions: int, expected: str) -> None:
    assert level(successes, executions, SETTINGS) == expected


@examples(100)
@given(successes=COUNTS, failures=COUNTS)
def test_some_level_is_true(successes: int, failures: int) -> None:
    executions = successes + failures
    probabilities = [
        level_probability(each, successes, executions, SETTINGS)
        for each in ("LOW", "MEDIUM", "HIGH")
    ]
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-9)
    assert all(0.0 <= probability <= 1.0 for probability in probabilities)


def test_few_data_support_little() -> None:
    assert level_probability("HIGH", 3, 3, SETTINGS) < 0.5
    assert level_probability("HIGH", 300, 300, SETTINGS) > 0.999
