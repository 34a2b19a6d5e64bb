"""The daemon answers over its socket what the list of all that was sent answers, come what may."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from msgspec import UNSET

from buddyd.config import Limits, Settings
from buddyd.domain.execution import Execution
from buddyd.protocol.framing import Encoding
from buddyd.protocol.messages import (
    GetExecutions,
    RecordExecutions,
    ReportAgent,
    ReportBudget,
    ReportCosts,
    StartExecution,
)
from tests.oracle import NEW_ID, Oracle, Submission, differences
from tests.support.daemon import RawClient, Refused, copy_as_it_is, raw_client, running_daemon
from tests.support.workloads import AGENTS, TASKS, TOOLS, Clock, Workload, examples, workloads

pytestmark = pytest.mark.anyio

NOW = 1_780_394_645.678
QUERIES = (
    "get_agents_status",
    "get_predictive_capacity",
    "get_task_pipeline",
    "get_system_learning",
    "get_risk_patterns",
    "get_tool_recommendations",
    "get_risk_history",
)
COSTS = "get_api_usage_and_costing"
LISTINGS = (
    GetExecutions(limit=10_000),
    GetExecutions(limit=3),
    GetExecutions(limit=2, success=False),
    GetExecutions(limit=4, agent_id=AGENTS[0]),
    GetExecutions(tool_name=TOOLS[0], task_id=TASKS[0]),
)


class Conversation:
    """Whatever is sent to the daemon, the oracle hears too; then their answers are compared."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.oracle = Oracle(settings)
        self.clients: list[RawClient] = []

    @contextlib.asynccontextmanager
    async def with_daemon(self, folder: Path) -> AsyncIterator[Path]:
        """A daemon, and a client in each encoding; gives the path of the database."""
        async with (
            running_daemon(folder, self.settings, self.clock) as daemon,
            raw_client(daemon.socket, Encoding.JSON) as json,
            raw_client(daemon.socket, Encoding.MSGPACK) as msgpack,
        ):
            self.clients = [json, msgpack]
            yield daemon.database

    async def send(self, request: Submission) -> None:
        answer = await _sent(self.clients[0], request)
        self.clients.reverse()
        assert answer == self.oracle.send(self.clock.now, request)

    async def compare(self) -> None:
        """Every answer, in both encodings."""
        for client in self.clients:
            assert [d async for d in self._differences(client)] == []

    async def _differences(self, client: RawClient) -> AsyncIterator[str]:
        oracle, now = self.oracle, self.clock.now
        for query in QUERIES:
            answer = await client.ask(query, {})
            assert next(iter(answer)) == "timestamp"
            for difference in differences(answer, getattr(oracle, query)(now), query):
                yield difference
        costs = await client.ask(COSTS, {})
        for difference in differences(_sized(costs), oracle.get_api_usage_and_costing(now), COSTS):
            yield difference
        everything = await client.ask("get_all", {})
        _sized(everything["costs"])
        for difference in differences(everything, oracle.get_all(now), "get_all"):
            yield difference
        for listing in LISTINGS:
            found, expected = await _listed(client, listing), oracle.get_executions(now, listing)
            for difference in differences(found, expected, f"{listing}"):
                yield difference
        for since, until in ((0.0, 1e11), (now - 86_400.0, now), (now // 3600 * 3600, now)):
            hours = await client.ask("get_hourly_summaries", {"since": since, "until": until})
            expected_hours = oracle.get_hourly_summaries(now, since, until)
            for difference in differences(hours, expected_hours, f"hours from {since} to {until}"):
                yield difference


async def _sent(client: RawClient, request: Submission) -> object:
    match request:
        case RecordExecutions(executions=[execution]):
            return await client.ask("record_execution", execution)
        case RecordExecutions():
            return await client.ask("record_executions", request)
        case StartExecution():
            return await client.ask("start_execution", request)
        case ReportAgent():
            return await client.ask("report_agent", request)
        case ReportCosts():
            return await client.ask("report_costs", request)
        case ReportBudget():
            return await client.ask("report_budget", request)


def _sized(costs: dict[str, Any]) -> dict[str, Any]:
    """Without the size of the database, which depends on SQLite alone."""
    assert costs["storage"]["database_size_mb"] > 0
    costs["storage"]["database_size_mb"] = 0.0
    return costs


async def _listed(client: RawClient, listing: GetExecutions) -> list[dict[str, Any]]:
    """All pages together."""
    asked = {name: getattr(listing, name) for name in listing.__struct_fields__}
    params = {name: value for name, value in asked.items() if value is not UNSET}
    found: list[dict[str, Any]] = []
    while True:
        page = await client.ask("get_executions", params)
        assert len(page["executions"]) <= listing.limit
        found += page["executions"]
        if page["next"] is None:
            return found
        assert len(page["executions"]) == listing.limit
        params["before"] = page["next"]


async def live(workload: Workload, folder: Path) -> None:
    clock = Clock(workload.steps[0].at)
    talk = Conversation(workload.settings, clock)
    places = (folder / str(number) for number in cycle(range(10**6)))
    steps = list(workload.steps)
    place = next(places)
    place.mkdir()
    while True:
        async with talk.with_daemon(place) as database:
            while steps:
                step = steps.pop(0)
                clock.now = step.at
                await talk.send(step.request)
                if step.then == "ask":
                    await talk.compare()
                elif step.then == "crash":
                    place = next(places)
                    place.mkdir()
                    copy_as_it_is(database, place)
                    break
                elif step.then == "restart":
                    break
            else:
                clock.now = workload.end
                await talk.compare()
                return


@examples(25)
@given(workload=workloads(most_days=6, back=False, thens=("go on", "ask", "restart", "crash")))
def test_answers_are_those_of_the_whole_list_whatever_happens(workload: Workload) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(live, workload, Path(folder))


# Stories


def execution(number: int = 0, **given: Any) -> Execution:  # noqa: ANN401 - fields by name
    fields: dict[str, Any] = {
        "task_id": f"task-{number}",
        "agent_id": "scout",
        "tool_name": "search",
        "duration_seconds": 1.5,
        "success": True,
    }
    return Execution(**(fields | given))


@contextlib.asynccontextmanager
async def conversation(
    folder: Path, settings: Settings | None = None
) -> AsyncIterator[Conversation]:
    talk = Conversation(settings or Settings(timezone="UTC"), Clock(NOW))
    async with talk.with_daemon(folder):
        yield talk


async def test_a_daemon_that_was_never_told_anything_answers(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talk:
        await talk.compare()


async def test_a_day_goes_by_and_everything_leaves_the_answers(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talk:
        await talk.send(RecordExecutions(executions=[execution(n) for n in range(5)]))
        for hours in (1, 22, 1, 1, 29 * 24, 24):
            talk.clock.now += hours * 3600
            await talk.compare()
        assert talk.oracle.get_system_learning(talk.clock.now)["tool_profiles"] == []


async def test_findings_can_be_asked_for_by_time_kind_and_subject(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talk:
        failed = [execution(n, success=False, error_type="timeout") for n in range(10)]
        looped = [execution(1, tool_name="browser", agent_id="zoe") for _ in range(5)]
        await talk.send(RecordExecutions(executions=[*failed, execution(11), *looped]))
        talk.clock.now += 1.5 * 86_400
        await talk.compare()
        found = {}
        for wanted in (
            {"kind": "streak"},
            {"agent_id": "zoe"},
            {"tool_name": "search", "limit": 1},
            {"since": NOW + 86_000},
            {"since": NOW + 86_400},
        ):
            answer = await talk.clients[0].ask("get_risk_history", wanted)
            kinds = [each["kind"] for each in answer["findings"]]
            found[str(wanted)] = (answer["total_findings"], kinds)
        assert list(found.values()) == [
            (1, ["streak"]),
            (1, ["loop"]),
            (3, ["dominant_error"]),
            (2, ["dominant_error", "high_failure_rate"]),
            (0, []),
        ]
        with pytest.raises(Refused) as refusal:
            await talk.clients[0].ask("get_risk_history", {"kind": "bad luck"})
        assert refusal.value.error["data"]["path"] == "$.kind"


async def test_records_at_the_very_edges_of_the_windows(tmp_path: Path) -> None:
    minute, hour = NOW // 60 * 60, NOW // 3600 * 3600
    edges = [minute - 1439 * 60, hour - 719 * 3600, hour, minute]
    ends = [end - before for end in edges for before in (0.0, 0.001)]
    records = [execution(n, finished_at=end) for n, end in enumerate((*ends, NOW + 300))]
    async with conversation(tmp_path) as talk:
        await talk.send(RecordExecutions(executions=records))
        await talk.compare()
        assert len(talk.oracle.entries) == len(records) - 1
        ahead = RecordExecutions(executions=[execution(), execution(finished_at=NOW + 300.001)])
        with pytest.raises(Refused) as refusal:
            await talk.clients[0].ask("record_executions", ahead)
        assert refusal.value.error["data"]["path"] == "$.executions[1].finished_at"
        await talk.compare()


async def test_a_record_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    again = execution(execution_id="e1")
    talk = Conversation(Settings(timezone="UTC"), Clock(NOW))
    async with talk.with_daemon(tmp_path):
        await talk.send(RecordExecutions(executions=[again, again]))
        await talk.send(RecordExecutions(executions=[again]))
    async with talk.with_daemon(tmp_path):
        talk.clock.now += 6.9 * 86_400
        late = execution(execution_id="e1", finished_at=NOW - 40 * 86_400, cost_actual=5.0)
        await talk.send(RecordExecutions(executions=[late]))
        await talk.compare()
    assert len(talk.oracle.entries) == 1


async def test_sums_beyond_64_bits_are_exact_after_a_restart_too(tmp_path: Path) -> None:
    dear = execution(cost_actual=1e6, cost_estimate=1e6, tokens_used=10**12)
    talk = Conversation(Settings(timezone="UTC"), Clock(NOW))
    async with talk.with_daemon(tmp_path):
        await talk.send(RecordExecutions(executions=[dear] * 18_500))
        await _compare_costs(talk)
    async with talk.with_daemon(tmp_path):
        await talk.send(RecordExecutions(executions=[execution(cost_actual=1e-9)]))
        await _compare_costs(talk)


async def _compare_costs(talk: Conversation) -> None:
    """Exactly, not nearly."""
    for client in talk.clients:
        found = _sized(await client.ask(COSTS, {}))["costing"]
        expected = talk.oracle.get_api_usage_and_costing(NOW)["costing"]
        assert found["execution_costs_24h"] == expected["execution_costs_24h"]
        assert found["by_tool"] == expected["by_tool"]
        hours = await client.ask("get_hourly_summaries", {})
        assert differences(hours, talk.oracle.get_hourly_summaries(NOW)) == []


async def test_names_beyond_the_limits_are_counted_together_and_kept_apart_in_tier_1(
    tmp_path: Path,
) -> None:
    settings = Settings(timezone="UTC", limits=Limits(max_agents=2, max_tools=2))
    batch = [execution(n, agent_id=f"a{n}", tool_name=f"t{n}") for n in range(6)]
    talk = Conversation(settings, Clock(NOW))
    for _ in range(2):
        async with talk.with_daemon(tmp_path):
            await talk.send(ReportAgent(agent_id="a9", queue_depth=4))
            await talk.send(RecordExecutions(executions=batch))
            await talk.compare()
    agents = talk.oracle.get_agents_status(NOW)["agents"]
    assert [agent["agent_id"] for agent in agents] == ["a0", "a9", "~other"]
    listed = talk.oracle.get_executions(NOW, GetExecutions(agent_id="a5"))
    assert [each["agent_id"] for each in listed] == ["a5", "a5"]


async def test_many_clients_at_once_lose_nothing(tmp_path: Path) -> None:
    batches = [[execution(n * 50 + i) for i in range(50)] for n in range(20)]
    async with running_daemon(tmp_path, clock=lambda: NOW) as daemon:

        async def record(number: int, batch: list[Execution]) -> None:
            encoding = (Encoding.JSON, Encoding.MSGPACK)[number % 2]
            async with raw_client(daemon.socket, encoding) as client:
                for one in batch:
                    receipt = await client.ask("record_execution", one)
                    assert receipt == {"accepted": 1, "duplicates": 0, "expired": 0}

        async with anyio.create_task_group() as tasks:
            for number, batch in enumerate(batches):
                tasks.start_soon(record, number, batch)
        oracle = Oracle()
        oracle.send(NOW, RecordExecutions(executions=[e for batch in batches for e in batch]))
        async with raw_client(daemon.socket) as client:
            for query in ("get_task_pipeline", "get_system_learning", "get_agents_status"):
                answer = await client.ask(query, {})
                assert differences(answer, getattr(oracle, query)(NOW)) == []


async def test_an_id_that_the_daemon_gave_is_not_given_twice(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talk:
        await talk.send(RecordExecutions(executions=[execution()] * 500))
        listed = await _listed(talk.clients[0], GetExecutions(limit=10_000))
        assert len({each["execution_id"] for each in listed}) == 500
        assert NEW_ID not in {each["execution_id"] for each in listed}
