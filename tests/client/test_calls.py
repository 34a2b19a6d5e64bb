"""Every method of the protocol is offered once, by both clients, with the types that it has."""

import inspect
import typing

import pytest
from msgspec import UNSET

from buddyd.client import AsyncClient, Client, Execution, calls
from buddyd.client.methods import Endpoint
from buddyd.protocol.messages import METHODS, GetExecutions, RecordExecutions
from tests.support.samples import execution


@pytest.mark.parametrize("method", METHODS)
def test_a_call_names_the_answer_that_the_protocol_gives(method: str) -> None:
    answer = typing.get_type_hints(getattr(calls, method))["return"]
    assert typing.get_args(answer) == (METHODS[method].result,)


# Their clients' method takes a connection of its own, and gives what comes over it.
SUBSCRIPTION = {"subscribe", "unsubscribe"}


@pytest.mark.parametrize("method", sorted(METHODS.keys() - SUBSCRIPTION))
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_both_clients_offer_every_method(client: type, method: str) -> None:
    endpoint = inspect.getattr_static(client, method)
    assert isinstance(endpoint, Endpoint)
    assert endpoint._find() is getattr(calls, method)


def test_a_method_shows_its_arguments_and_meaning() -> None:
    method = Client("/nowhere").get_executions
    assert method.__name__ == "get_executions"
    assert "newest first" in (method.__doc__ or "")
    assert "tool_name" in inspect.signature(method).parameters


def test_what_is_none_is_left_out() -> None:
    params = calls.get_executions(agent_id="scout").params
    assert isinstance(params, GetExecutions)
    assert params.agent_id == "scout"
    assert params.tool_name is UNSET


def test_a_recording_has_its_id_before_it_is_sent() -> None:
    recorded = calls.record_execution(execution()).params
    assert isinstance(recorded, Execution)
    assert isinstance(recorded.execution_id, str)


def test_an_id_that_was_given_is_kept() -> None:
    batch = calls.record_executions([execution(execution_id="mine"), execution()]).params
    assert isinstance(batch, RecordExecutions)
    assert batch.executions[0].execution_id == "mine"
    assert batch.executions[1].execution_id not in {UNSET, "mine"}
