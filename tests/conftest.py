"""What all tests share."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The daemon runs on asyncio: aiosqlite knows no other."""
    return "asyncio"
