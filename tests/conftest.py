"""What all tests share."""

import pytest
from hypothesis import settings

# How long an example takes is the machine's business, which may have others.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def anyio_backend() -> str:
    """The daemon runs on asyncio: aiosqlite knows no other."""
    return "asyncio"
