"""The timer rings by the time asked for, however often it is asked."""

import asyncio

import anyio
import pytest

from buddyd.runtime.timer import Timer

pytestmark = pytest.mark.anyio


async def test_it_rings_once_by_the_time_asked_for() -> None:
    rung = anyio.Event()
    timer = Timer(rung.set)
    begin = anyio.current_time()
    timer.ring_within(0.02)
    with anyio.fail_after(10):
        await rung.wait()
    assert anyio.current_time() - begin >= 0.02


async def test_the_earliest_time_asked_for_counts() -> None:
    rung = anyio.Event()
    timer = Timer(rung.set)
    timer.ring_within(3600)
    timer.ring_within(0.01)
    timer.ring_within(3600)
    with anyio.fail_after(10):
        await rung.wait()


async def test_asked_for_the_same_time_again_and_again_it_sets_one_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    call_later = loop.call_later

    def counted(delay: float, *arguments: object) -> asyncio.TimerHandle:
        times.append(delay)
        return call_later(delay, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_later", counted)
    timer = Timer(lambda: None)
    for _ in range(1000):
        timer.ring_within(3600)
    assert len(times) == 1
    timer.stop()


async def test_stopped_it_does_not_ring() -> None:
    rung: list[int] = []
    timer = Timer(lambda: rung.append(1))
    timer.ring_within(0.0)
    timer.stop()
    again = anyio.Event()
    Timer(again.set).ring_within(0.01)
    with anyio.fail_after(10):
        await again.wait()
    assert not rung
