"""A cost stands out where it is more than what chance and habit explain."""

import math
from random import Random
from statistics import geometric_mean

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.domain.anomalies import Baseline, Finding
from tests.oracle import cost_findings
from tests.support.workloads import examples

# A few costs of any kind; or stretches at some level, with some spread.
FEW = st.lists(
    st.sampled_from((1, 10**7, 2 * 10**7, 2 * 10**7 + 1, 10**15)) | st.integers(1, 10**9),
    max_size=40,
).map(lambda costs: [float(cost) for cost in costs])
LIVES = st.lists(
    st.tuples(
        st.sampled_from((1.0, 1.0, 2.5, 0.3)),
        st.sampled_from((0.0, 0.2, 1.0)),
        st.integers(1, 60),
    ),
    max_size=5,
)


def findings(costs: list[float], factor: float = 2.0, least: int = 5) -> dict[int, Finding]:
    """By its place in the list, every cost that stood out."""
    baseline = Baseline(1)
    found = {}
    for number, cost in enumerate(costs):
        finding = baseline.add(cost, factor, least)
        baseline = msgspec.msgpack.decode(msgspec.msgpack.encode(baseline), type=Baseline)
        if finding is not None:
            found[number] = finding
    return found


def noise(length: int, spread: float, random: Random) -> list[float]:
    return [math.exp(random.gauss(0.0, spread)) for _ in range(length)]


FACTORS, LEAST = st.sampled_from((1.5, 2.0, 10.0)), st.sampled_from((1, 5, 20))


@examples(60)
@given(costs=FEW, factor=FACTORS, least=LEAST)
def test_findings_are_those_of_the_formula(costs: list[float], factor: float, least: int) -> None:
    agree(costs, factor, least)


@examples(100)
@given(life=LIVES, seed=st.integers(0, 2**32), least=LEAST)
def test_findings_of_a_long_life_are_those_of_the_formula(
    life: list[tuple[float, float, int]], seed: int, least: int
) -> None:
    random = Random(seed)
    costs = [level * cost for level, spread, n in life for cost in noise(n, spread, random)]
    agree(costs, 2.0, least)


@pytest.mark.parametrize("executions", [29, 30])
def test_from_thirty_executions_on_the_spread_is_known(executions: int) -> None:
    wild = [1.0, 9.0] * 15
    found = findings([*wild[:executions], 12.0], least=5)
    assert (executions in found) == (executions < 30)


@pytest.mark.parametrize("executions", range(5, 30))
def test_what_is_above_the_factor_of_a_price_that_never_varied_is_unusual(executions: int) -> None:
    found = findings([0.03] * executions + [0.0601])
    assert found[executions].unusual
    assert findings([0.03] * executions + [0.06]) == {}


def test_of_few_costs_that_vary_widely_another_such_is_a_spike_but_not_unusual() -> None:
    wild = [1.0, 2.0, 5.0, 1.0, 3.0, 4.0]
    assert not findings([*wild, 7.0])[6].unusual
    assert findings([*wild, 40.0])[6].unusual


def agree(costs: list[float], factor: float, least: int) -> None:
    expected = cost_findings(costs, factor, least)
    found = findings(costs, factor, least)
    assert [(n, f.kind, f.unusual) for n, f in found.items()] == [
        (e.place, e.kind, e.unusual) for e in expected
    ]
    assert all(math.isclose(found[e.place].usual, e.usual, rel_tol=1e-9) for e in expected)
    for e in expected:
        if e.kind == "rise":
            assert found[e.place].executions == len(e.since)
            assert found[e.place].recent == pytest.approx(geometric_mean(e.since), rel=1e-9)


def test_it_takes_five_executions_to_know_what_is_usual() -> None:
    assert findings([1.0] * 4 + [9.0]) == {}
    assert findings([1.0] * 5 + [9.0]).keys() == {5}
    assert findings([1.0] * 5 + [2.0]) == {}
    assert findings([1.0] * 5 + [2.001]).keys() == {5}


def test_a_spike_is_told_with_what_was_usual() -> None:
    (finding,) = findings([4.0] * 10 + [40.0]).values()
    assert finding.kind == "spike"
    assert math.isclose(finding.usual, 4.0)


def test_once_the_spread_is_known_a_spike_must_be_unusual_for_it() -> None:
    random = Random(1)
    wild = noise(200, 1.0, random)
    assert 199 + 1 not in findings([*wild, 3.0])
    assert findings([*wild, 1000.0])[200].kind == "spike"


def test_a_lasting_rise_is_told_soon() -> None:
    random = Random(2)
    usual = noise(100, 0.3, random)
    risen = [1.8 * cost for cost in noise(20, 0.3, random)]
    rises = [n for n, f in findings(usual + risen).items() if f.kind == "rise" and n >= 100]
    assert rises
    assert rises[0] <= 112


def test_noise_gives_few_alarms() -> None:
    random = Random(3)
    assert len(findings(noise(10_000, 0.5, random))) <= 40


def test_single_spikes_do_not_spoil_what_is_usual() -> None:
    costs = ([1.0] * 9 + [50.0]) * 20
    assert {n for n, f in findings(costs).items() if f.kind == "spike"} == set(range(9, 200, 10))
