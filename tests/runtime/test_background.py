"""Work that may hang for good."""

import threading

import anyio
import pytest

from buddyd.runtime import background

pytestmark = pytest.mark.anyio


async def test_what_comes_of_it_is_told_result_or_error() -> None:
    assert await background.begin(lambda: threading.current_thread().daemon)
    with pytest.raises(ValueError, match="odd"):
        await background.begin(odd)


def odd() -> int:
    raise ValueError("odd")


async def test_who_is_cancelled_does_not_wait_for_it() -> None:
    goes_on, ended = threading.Event(), threading.Event()

    def hang() -> None:
        goes_on.wait(20)
        ended.set()

    with anyio.move_on_after(0.01) as waiting:
        await background.begin(hang)
    assert waiting.cancelled_caught
    assert not ended.is_set()
    goes_on.set()
    assert ended.wait(20)
