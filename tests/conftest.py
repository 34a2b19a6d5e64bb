"""What all tests share."""

import signal

import pytest
from hypothesis import settings

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's business, which may have others.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def anyio_backend() -> str:
    """The daemon runs on asyncio: aiosqlite knows no other."""
    return "asyncio"
