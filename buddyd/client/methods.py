"""The methods that both clients offer, without a twin kept in step by hand.

A blocking method answers `R`, an awaitable one a coroutine of `R`; no base class can say "the same
methods, but awaited". A descriptor can: `Endpoint` holds the description of a call, and its
`__get__` has one type on a blocking client and another on an awaitable one. So type checkers and
editors know the arguments and the answer of `client.get_executions` on either, and a method is
added in one line.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from buddyd.client.deferred import Deferred

if TYPE_CHECKING:
    from buddyd.client import calls
    from buddyd.client.calls import Call
    from buddyd.domain.answers import Answer
else:
    calls = Deferred("buddyd.client.calls")

P = ParamSpec("P")
R = TypeVar("R", bound="Answer")

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call may take, its repetitions included."""


class Endpoint(Generic[P, R]):
    """A method of a client: the call that a function describes, made by that client.

    `find` gives that function, which is not loaded before the method is used.
    """

    def __init__(self, find: "Callable[[], Callable[P, Call[R]]]") -> None:
        self._find = find

    @overload
    def __get__(self, client: None, owner: type[object]) -> Self: ...
    @overload
    def __get__(self, client: "BlockingMethods", owner: type[object]) -> Callable[P, R]: ...
    @overload
    def __get__(
        self, client: "AwaitableMethods", owner: type[object]
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(
        self, client: "BlockingMethods | AwaitableMethods | None", owner: type[object]
    ) -> Self | Callable[P, R] | Callable[P, Coroutine[Any, Any, R]]:
        if client is None:
            return self

        describe = self._find()

        @functools.wraps(describe)
        def method(*args: P.args, **kwargs: P.kwargs) -> R | Coroutine[Any, Any, R]:
            return client.call(describe(*args, **kwargs))

        return method  # type: ignore[return-value]  # One body serves both kinds of client.


class Methods:
    """Every method of the protocol."""

    record_execution = Endpoint(lambda: calls.record_execution)
    record_executions = Endpoint(lambda: calls.record_executions)
    start_execution = Endpoint(lambda: calls.start_execution)
    report_agent = Endpoint(lambda: calls.report_agent)
    report_costs = Endpoint(lambda: calls.report_costs)
    report_budget = Endpoint(lambda: calls.report_budget)

    get_agents_status = Endpoint(lambda: calls.get_agents_status)
    get_predictive_capacity = Endpoint(lambda: calls.get_predictive_capacity)
    get_task_pipeline = Endpoint(lambda: calls.get_task_pipeline)
    get_api_usage_and_costing = Endpoint(lambda: calls.get_api_usage_and_costing)
    get_system_learning = Endpoint(lambda: calls.get_system_learning)
    get_risk_patterns = Endpoint(lambda: calls.get_risk_patterns)
    get_tool_recommendations = Endpoint(lambda: calls.get_tool_recommendations)
    get_risk_history = Endpoint(lambda: calls.get_risk_history)
    get_all = Endpoint(lambda: calls.get_all)
    ping = Endpoint(lambda: calls.ping)
    get_executions = Endpoint(lambda: calls.get_executions)
    get_hourly_summaries = Endpoint(lambda: calls.get_hourly_summaries)
    get_daemon_status = Endpoint(lambda: calls.get_daemon_status)

    run_hourly_aggregation = Endpoint(lambda: calls.run_hourly_aggregation)
    cleanup_old_data = Endpoint(lambda: calls.cleanup_old_data)
    backup = Endpoint(lambda: calls.backup)


class BlockingMethods(Methods, ABC):
    """The methods of a client whose calls block."""

    @abstractmethod
    def call(self, call: "Call[R]", *, within: float | None = None) -> R:
        """The answer to `call` within that many seconds (by default the client's `timeout`)."""


class AwaitableMethods(Methods, ABC):
    """The methods of a client whose calls are awaited."""

    @abstractmethod
    async def call(self, call: "Call[R]", *, within: float | None = None) -> R:
        """The answer to `call` within that many seconds (by default the client's `timeout`)."""
