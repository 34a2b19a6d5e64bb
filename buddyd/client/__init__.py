"""Recording executions and asking the daemon, from Python.

An agent records, and never notices:

    from buddyd.client import Recorder

    recorder = Recorder("scout")
    with recorder.execution("order-17", "web_search") as run:
        run.tokens = search("…").tokens

Whoever has a question asks it:

    from buddyd.client import Client

    with Client() as client:
        print(client.get_agents_status().agents)

`AsyncClient` has the same methods to be awaited. Each of the names below is loaded when it is first
used, so that an agent waits for nothing that it does not need: msgspec and the protocol come with
the first call of a `Client` and, in the background, with the first record of a `Recorder`; anyio
comes with `AsyncClient`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buddyd.client.aio import AsyncClient
    from buddyd.client.calls import Call
    from buddyd.client.errors import ConnectionLost, DaemonError, NotRunning, TimedOut, Unreachable
    from buddyd.client.events import Events
    from buddyd.client.recorder import Recorder
    from buddyd.client.runs import Run
    from buddyd.client.sync import Client
    from buddyd.domain.execution import Execution
    from buddyd.errors import BuddydError, Unavailable
    from buddyd.protocol.notifications import Changed, ExecutionCommitted, Missed

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
    "Recorder",
    "Run",
    "TimedOut",
    "Unavailable",
    "Unreachable",
]

_HOME = {
    "AsyncClient": "buddyd.client.aio",
    "BuddydError": "buddyd.errors",
    "Call": "buddyd.client.calls",
    "Changed": "buddyd.protocol.notifications",
    "Client": "buddyd.client.sync",
    "ConnectionLost": "buddyd.client.errors",
    "DaemonError": "buddyd.client.errors",
    "Events": "buddyd.client.events",
    "Execution": "buddyd.domain.execution",
    "ExecutionCommitted": "buddyd.protocol.notifications",
    "Missed": "buddyd.protocol.notifications",
    "NotRunning": "buddyd.client.errors",
    "Recorder": "buddyd.client.recorder",
    "Run": "buddyd.client.runs",
    "TimedOut": "buddyd.client.errors",
    "Unavailable": "buddyd.errors",
    "Unreachable": "buddyd.client.errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
