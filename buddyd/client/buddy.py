"""The drop-in for agents that used to have their analytics in the process.

    from buddyd.client.buddy import AnalyticsEngine

    engine = AnalyticsEngine()
    engine.record_execution("order-17", "scout", "web_search", 1.8, True, cost_actual=0.002)
    print(engine.get_agents_status()["agents"])

Recording never blocks and never raises (`Recorder`). Every query is answered with the daemon's
answer as a plain dictionary. Where the daemon is away, a dashboard is not to hang or to break: the
answer then has the same members with nothing in them (0, "", [], {}, None), and one more,
`unavailable`, that says why in a sentence. It comes within `timeout` seconds, and for a while
afterwards at once; only what an administrator asks for, an aggregation or a cleanup, is waited for
up to a minute. With `strict=True` the client's exception is raised instead.
"""

import time
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from buddyd.client import forks
from buddyd.client.complaints import Complaints
from buddyd.client.recorder import Recorder
from buddyd.errors import BuddydError

if TYPE_CHECKING:
    from buddyd.client.calls import Call
    from buddyd.client.neighbours import Neighbours
    from buddyd.client.sync import Client
    from buddyd.domain.answers import Answer

Plain = dict[str, Any]
"""An answer as JSON has it."""

_RETRY_SECONDS = 2.0
_ADMIN_SECONDS = 60.0
"""What an administrator asks for takes its time; that it does tells nothing about the daemon."""
_OUTAGE = "outage"
_PAGE = 1000


class AnalyticsEngine:
    """Records executions and answers the queries, over the daemon at `socket`.

    `socket` is found as `buddyctl` finds it. `recorder` is what records, where the agent has one
    already. What a `cost_tracker` and a `budget_tracker` count, objects or the files that they
    write, is reported to the daemon, and the levels of a `human_energy_model` are understood:
    `Neighbours` says in what shapes. Raises ValueError where one of them is nothing that it knows.
    """

    def __init__(
        self,
        *,
        socket: str | Path | None = None,
        timeout: float = 1.0,
        strict: bool = False,
        recorder: Recorder | None = None,
        cost_tracker: object = None,
        budget_tracker: object = None,
        human_energy_model: object = None,
    ) -> None:
        self._neighbours = _neighbours(cost_tracker, budget_tracker, human_energy_model)
        self.recorder = recorder or Recorder(socket=socket)
        self._daemon = _Daemon(self.recorder.socket, timeout, strict=strict)
        if self._neighbours is not None:
            self._neighbours.start(self._daemon.connected())
        self.metrics_collector = MetricsCollector(self._daemon)
        self.storage_manager = StorageManager(self._daemon)
        self.tool_registry = ToolRegistry(self._daemon)

    def record_execution(  # noqa: PLR0917 -- the arguments that agents know.
        self,
        task_id: str,
        agent_id: str,
        tool_name: str,
        duration_seconds: float,
        success: bool,  # noqa: FBT001 -- the same.
        cost_actual: float = 0.0,
        tokens_used: int = 0,
        human_effort_level: object = "MEDIUM",
        browser_used: bool = False,  # noqa: FBT001, FBT002 -- the same.
    ) -> None:
        """Record one execution that has just finished.

        `human_effort_level` is `LOW`, `MEDIUM` or `HIGH`, as a string or a member of an enum.
        """
        if self._neighbours is not None:
            human_effort_level = self._neighbours.effort(human_effort_level)
        self.recorder.record_execution(
            task_id,
            agent_id,
            tool_name,
            duration_seconds,
            success,
            cost_actual,
            tokens_used,
            human_effort_level,
            browser_used,
        )

    def get_agents_status(self) -> Plain:
        """How the agents are."""
        return self._daemon.ask("get_agents_status")

    def get_predictive_capacity(self) -> Plain:
        """What the agents can take on in the next window."""
        return self._daemon.ask("get_predictive_capacity")

    def get_task_pipeline(self) -> Plain:
        """What was done in the last day, and what runs and waits now."""
        return self._daemon.ask("get_task_pipeline")

    def get_api_usage_and_costing(self) -> Plain:
        """What the agents used, and what it cost."""
        return self._daemon.ask("get_api_usage_and_costing")

    def get_system_learning(self) -> Plain:
        """What was learned about the tools."""
        return self._daemon.ask("get_system_learning")

    def get_risk_patterns(self) -> Plain:
        """What goes wrong."""
        return self._daemon.ask("get_risk_patterns")

    def get_tool_recommendations(self) -> Plain:
        """What to do about the tools that fail."""
        return self._daemon.ask("get_tool_recommendations")

    def run_hourly_aggregation(self) -> Plain:
        """Bring the hourly summaries up to date now; the daemon does so by itself as well."""
        return self._daemon.ask("run_hourly_aggregation")

    def cleanup_old_data(self) -> Plain:
        """Remove now what is past its time; the daemon does so by itself as well."""
        return self._daemon.ask("cleanup_old_data")

    def close(self) -> None:
        """Deliver what was recorded, and end the connection."""
        if self._neighbours is not None:
            self._neighbours.close()
        self.recorder.close()
        self._daemon.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Daemon:
    """Asks the daemon, and does not ask one that is away again and again."""

    def __init__(self, socket: Path, timeout: float, *, strict: bool) -> None:
        self.complaints = Complaints()
        self._socket = socket
        self._timeout = timeout
        self._strict = strict
        self._client: Client | None = None
        self._away: BuddydError | None = None
        self._ask_again_at = 0.0

    def ask(self, method: str, **params: object) -> Plain:
        """The answer of a method; where there is none, an empty one that says so."""
        # msgspec and the protocol: not for agents that only record.
        with forks.loading:
            from buddyd.client import calls

        call: Call[Answer] = getattr(calls, method)(**params)
        try:
            return self._answer(call, patient=_takes_its_time(method))
        except BuddydError as error:
            if self._strict:
                raise
            self.complaints.say(f"{method} has no answer: {error}", _OUTAGE)
            return _nothing(method) | {"unavailable": str(error)}

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()

    def _answer(self, call: "Call[Answer]", *, patient: bool) -> Plain:
        if self._away is not None and time.monotonic() < self._ask_again_at:
            raise self._away
        within = max(self._timeout, _ADMIN_SECONDS) if patient else self._timeout
        try:
            answer = self.connected().call_plain(call, within=within)
        except BuddydError as error:
            if not (patient and isinstance(error, TimeoutError)):
                self._remember(error)
            raise
        self._away = None
        self.complaints.settle(_OUTAGE)
        return answer

    def _remember(self, error: BuddydError) -> None:
        from buddyd.client.errors import DaemonError

        # A refusal is an answer: the daemon is there.
        if not isinstance(error, DaemonError):
            self._away, self._ask_again_at = error, time.monotonic() + _RETRY_SECONDS

    def connected(self) -> "Client":
        """The client, which connects when it is asked something."""
        with forks.loading:
            from buddyd.client.sync import Client

            if self._client is None:
                self._client = Client(self._socket, timeout=self._timeout)
            return self._client


class _Owned:
    """Something that had a database of its own, before the daemon had them all."""

    def __init__(self, daemon: _Daemon) -> None:
        self._daemon = daemon
        self._db_path: object = None

    @property
    def db_path(self) -> object:
        """What it was set to. Nothing is read or written there: the daemon owns the database."""
        return self._db_path

    @db_path.setter
    def db_path(self, path: object) -> None:
        self._db_path = path
        self._daemon.complaints.say(
            f"The db_path {path} is not used: the daemon buddyd owns the database", "db_path"
        )


class StorageManager(_Owned):
    """Where the records are kept: with the daemon."""


class MetricsCollector(_Owned):
    """The raw records of Tier 1."""

    def get_recent_metrics(self, hours: float = 24) -> list[Plain]:
        """The executions that finished in the last so many hours (24 are kept), newest first.

        Each has all the members of an execution; where the daemon is away there are none.
        """
        since = time.time() - hours * 3600
        found: list[Plain] = []
        cursor: object = None
        while True:
            page = self._daemon.ask("get_executions", since=since, limit=_PAGE, before=cursor)
            found += page["executions"]
            cursor = page["next"]
            if cursor is None:
                return found


class ToolRegistry:
    """What was learned about the tools."""

    def __init__(self, daemon: _Daemon) -> None:
        self._daemon = daemon

    def get_tool_confidence(self, tool_name: str) -> str:
        """`HIGH`, `MEDIUM` or `LOW`; a tool of which nothing is known is as a new one, `MEDIUM`."""
        for profile in self._profiles():
            if profile["tool_name"] == tool_name:
                return str(profile["confidence_level"])
        return "MEDIUM"

    def get_tools_by_confidence(self, level: str | Enum) -> list[str]:
        """The names of the tools of a level, those with most executions first."""
        name = level.name if isinstance(level, Enum) else level
        return [
            profile["tool_name"]
            for profile in self._profiles()
            if profile["confidence_level"] == name.upper()
        ]

    def _profiles(self) -> list[Plain]:
        profiles: list[Plain] = self._daemon.ask("get_system_learning")["tool_profiles"]
        return profiles


def _neighbours(
    cost_tracker: object, budget_tracker: object, human_energy_model: object
) -> "Neighbours | None":
    """What reports for them; None where there are none, for it has much to load."""
    if cost_tracker is None and budget_tracker is None and human_energy_model is None:
        return None
    from buddyd.client.neighbours import Neighbours  # see above.

    return Neighbours(
        cost_tracker=cost_tracker,
        budget_tracker=budget_tracker,
        human_energy_model=human_energy_model,
    )


def _takes_its_time(method: str) -> bool:
    from buddyd.protocol.messages import METHODS, Role

    return METHODS[method].role is Role.ADMIN


def _nothing(method: str) -> Plain:
    """An answer of a method with all its members, and nothing in them."""
    import msgspec

    from buddyd.client.emptiness import empty
    from buddyd.protocol.messages import METHODS

    plain: Plain = msgspec.to_builtins(empty(METHODS[method].result, time.time()))
    return plain
