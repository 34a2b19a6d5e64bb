"""The clock believes what the host's says, wild jumps forward after a while."""

import pytest

from buddyd.clock import SteadyClock, since_boot

MONTH = 30 * 86_400.0


class Host:
    """A clock on the wall, and the time that really passes."""

    def __init__(self) -> None:
        self.elapsed = 1000.0
        self.ahead = 1.7e9

    def wall(self) -> float:
        return self.elapsed + self.ahead

    def clock(self) -> SteadyClock:
        return SteadyClock(self.wall, lambda: self.elapsed)


@pytest.fixture
def host() -> Host:
    return Host()


def test_it_goes_as_the_host_goes(host: Host) -> None:
    clock = host.clock()
    for seconds in (0.0, 0.001, 60.0, MONTH):
        host.elapsed += seconds
        assert clock() == pytest.approx(host.wall(), abs=1e-6)
    assert not clock.in_doubt()


@pytest.mark.parametrize("step", [-1e9, -MONTH, -86_400.0, -3600.0, -0.5, 0.5, 300.0, 3599.0])
def test_steps_back_and_small_ones_forward_count_at_once(host: Host, step: float) -> None:
    clock = host.clock()
    host.ahead += step
    assert clock() == pytest.approx(host.wall(), abs=1e-6)
    assert not clock.in_doubt()


@pytest.mark.parametrize("jump", [3601.0, 86_400.0, MONTH, 1e9])
def test_a_jump_forward_that_is_taken_back_never_was(host: Host, jump: float) -> None:
    clock = host.clock()
    host.ahead += jump
    for _ in range(9):
        assert clock() == pytest.approx(host.wall() - jump, abs=1e-6)
        assert clock.in_doubt()
        host.elapsed += 60.0
    host.ahead -= jump
    assert clock() == pytest.approx(host.wall(), abs=1e-6)
    assert not clock.in_doubt()


def test_a_jump_forward_that_stays_counts(host: Host) -> None:
    clock = host.clock()
    host.ahead += MONTH
    clock()
    host.elapsed += 600.0
    clock()
    assert not clock.in_doubt()
    assert clock() == pytest.approx(host.wall(), abs=1e-6)


def test_a_clock_that_jumps_about_is_not_believed(host: Host) -> None:
    clock = host.clock()
    begin = host.ahead
    for number in range(1, 20):
        host.ahead = begin + number * 2 * 86_400.0
        clock()
        host.elapsed += 599.0
        assert clock() < host.wall() - 86_400.0


def test_the_time_since_boot_goes_on() -> None:
    assert 0.0 < since_boot() <= since_boot()
