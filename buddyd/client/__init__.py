"""Recording executions and asking the daemon, from Python.

    from buddyd.client import Client, Execution

    with Client() as client:
        client.record_execution(
            Execution(
                task_id="t-1", agent_id="scout", tool_name="search",
                duration_seconds=1.4, success=True,
            )
        )
        print(client.get_agents_status().agents)

`AsyncClient` has the same methods to be awaited. `Client` needs msgspec and the standard library
alone, so the asynchronous side is imported when it is first named.
"""

from typing import TYPE_CHECKING

from buddyd.client.calls import Call
from buddyd.client.errors import ConnectionLost, DaemonError, NotRunning, TimedOut, Unreachable
from buddyd.client.events import Events
from buddyd.client.sync import Client
from buddyd.domain.execution import Execution
from buddyd.errors import BuddydError, Unavailable
from buddyd.protocol.notifications import Changed, ExecutionCommitted, Missed

if TYPE_CHECKING:
    from buddyd.client.aio import AsyncClient

__all__ = [
    "AsyncClient",
    "BuddydError",
    "Call",
    "Changed",
    "Client",
    "ConnectionLost",
    "DaemonError",
    "Events",
    "Execution",
    "ExecutionCommitted",
    "Missed",
    "NotRunning",
    "TimedOut",
    "Unavailable",
    "Unreachable",
]


def __getattr__(name: str) -> object:
    if name != "AsyncClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from buddyd.client.aio import AsyncClient  # noqa: PLC0415 -- anyio, for those who ask for it.

    return AsyncClient
