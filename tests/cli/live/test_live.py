"""The live screen without a terminal: what follows from keys and answers, and what is seen."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from buddyd.cli.live.picture import picture
from buddyd.cli.live.state import (
    Answered,
    Event,
    Focus,
    Key,
    Lost,
    Resized,
    State,
    Ticked,
    Told,
    cursor,
    update,
    visible,
)
from buddyd.domain.answers import AgentsStatus, AgentStatus, Everything
from tests.support.samples import AGENT, AGENTS, ANSWERS, TOOL
from tests.support.workloads import examples

SAMPLE = ANSWERS["get_all"]
assert isinstance(SAMPLE, Everything)


def with_agents(*names: str, **fields: Any) -> Everything:  # noqa: ANN401 - of an agent
    agents: list[AgentStatus] = [
        msgspec.structs.replace(AGENTS.agents[1], agent_id=name, **fields) for name in names
    ]
    status = AgentsStatus(timestamp=AGENTS.timestamp, total_agents=len(agents), agents=agents)
    return msgspec.structs.replace(SAMPLE, agents=status)


def after(*events: Event | str, state: State | None = None) -> State:
    """The state after these; a text stands for a key."""
    state = state or State()
    for event in events:
        state = update(state, Key(event) if isinstance(event, str) else event)
    return state


def shown(state: State) -> list[str]:
    return [line.plain for line in picture(state)]


def names(state: State) -> list[str]:
    section = visible(state, state.section)
    assert section is not None
    return [row.name for row in section.rows]


START = Answered(SAMPLE, 10.0)
FIVE = Answered(with_agents("a", "b", "c", "d", "e"), 10.0)

KEYS = [*"12345sr/p ?qgGjkhx", "up", "down", "left", "right", "tab", "back-tab"]
KEYS += ["enter", "escape", "backspace", "page-up", "page-down", "home", "end", "redraw"]
events = st.one_of(
    st.sampled_from(KEYS).map(Key),
    st.builds(Resized, st.integers(1, 220), st.integers(1, 80)),
    st.sampled_from([START, FIVE, Answered(with_agents(), 20.0), Lost("gone"), Ticked(99.0)]),
    st.builds(Told, st.builds(Focus, st.just("agent"), st.sampled_from([AGENT, "a"])), st.just([])),
)


@examples(150)
@given(st.lists(events, max_size=25))
def test_whatever_happens_the_picture_fills_the_window_exactly(happened: list[Event]) -> None:
    state = after(*happened)
    lines = shown(state)
    assert len(lines) == state.rows
    assert {cell_len(line) for line in lines} == {state.columns}


def test_before_any_answer_it_says_that_it_waits() -> None:
    assert shown(State())[2].strip() == "Waiting for the daemon."


def test_all_five_sections_have_a_title_with_what_matters_even_in_a_small_window() -> None:
    lines = shown(after(START, Resized(60, 8)))
    titles = ["1 Agents", "2 Capacity", "3 Tasks", "4 Usage and costs", "5 Learning"]
    assert [title for title in titles if any(line.startswith(title) for line in lines)] == titles


@pytest.mark.parametrize(
    ("keys", "section"),
    [
        (["3"], "tasks"),
        (["tab"], "capacity"),
        (["back-tab"], "learning"),
        (["5", "right"], "agents"),
        (["left", "left"], "costs"),
    ],
)
def test_sections_are_chosen(keys: list[str], section: str) -> None:
    assert after(START, *keys).section == section


def test_the_cursor_stays_on_its_row_when_others_come_and_go() -> None:
    state = after(FIVE, "down", "down")
    assert cursor(state, "agents", visible(state, "agents").rows) == 2  # type: ignore[union-attr]
    state = after(Answered(with_agents("B", "b", "c"), 11.0), state=state)
    assert cursor(state, "agents", visible(state, "agents").rows) == 2  # type: ignore[union-attr]
    state = after(Answered(with_agents("x"), 12.0), state=state)
    assert cursor(state, "agents", visible(state, "agents").rows) == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("keys", "name"),
    [(["end"], "e"), (["G", "up"], "d"), (["up"], "a"), (["end", "down"], "e"), (["j", "k"], "a")],
)
def test_the_cursor_stays_within_the_rows(keys: list[str], name: str) -> None:
    state = after(FIVE, *keys)
    assert names(state)[cursor(state, "agents", visible(state, "agents").rows)] == name  # type: ignore[union-attr]


def test_rows_that_do_not_fit_are_scrolled_to() -> None:
    many = Answered(with_agents(*(f"agent-{n:03}" for n in range(300))), 10.0)
    lines = shown(after(many, "end"))
    assert any("agent-299" in line for line in lines)
    assert not any("agent-000" in line for line in lines)


def test_rows_are_sorted_by_each_column_in_turn_and_then_as_they_came() -> None:
    agents = [("b", 3), ("a", 5), ("c", 1)]
    answers = with_agents(*(name for name, _ in agents))
    answers = msgspec.structs.replace(
        answers,
        agents=msgspec.structs.replace(
            answers.agents,
            agents=[
                msgspec.structs.replace(agent, tasks_completed_today=count)
                for agent, (_, count) in zip(answers.agents.agents, agents, strict=True)
            ],
        ),
    )
    state = after(Answered(answers, 1.0))
    assert names(state) == ["b", "a", "c"]
    assert names(after("s", state=state)) == ["a", "b", "c"]
    today = after("s", "s", "s", state=state)
    assert names(today) == ["a", "b", "c"]
    assert any("Today\N{BLACK DOWN-POINTING TRIANGLE}" in line for line in shown(today))
    assert names(after("r", state=today)) == ["c", "b", "a"]
    assert names(after(*["s"] * 10, state=state)) == ["b", "a", "c"]


def test_what_has_no_value_comes_last_whichever_way_it_is_sorted() -> None:
    state = after(START, "s", "s", "s", "s")
    assert names(state) == names(after("r", state=state)) == [AGENT, "zoe"]


def test_a_filter_leaves_the_names_that_have_these_letters() -> None:
    state = after(Answered(with_agents("Scout", "zoe", "outer"), 1.0), "/", "O", "u", "t")
    assert names(state) == ["Scout", "outer"]
    assert "/Out_" in shown(state)[0]
    kept = after("enter", "down", state=state)
    assert not kept.typing
    assert names(after("escape", state=kept)) == ["Scout", "zoe", "outer"]
    assert names(after("backspace", "backspace", "backspace", state=state))[1] == "zoe"
    assert any("No name has these letters." in line for line in shown(after("!", state=state)))


def test_a_paused_screen_stays_as_it_is_until_it_goes_on() -> None:
    state = after(START, "p", FIVE)
    assert "zoe" in names(state)
    assert "PAUSED" in shown(state)[0]
    assert names(after("p", state=state)) == ["a", "b", "c", "d", "e"]


def test_times_go_on_between_answers() -> None:
    assert any("2 min ago" in line for line in shown(after(START)))
    assert any("4 min ago" in line for line in shown(after(START, Ticked(10.0 + 100.0))))


def test_a_daemon_that_is_gone_is_said_and_the_last_answers_stay() -> None:
    state = after(START, Lost("No daemon listens at /x."))
    assert "no daemon, retrying" in shown(state)[0]
    assert "as of 12:00:00" in shown(after(Ticked(500.0), state=state))[0]
    assert shown(state)[-1].strip() == "No daemon listens at /x."
    assert any("zoe" in line for line in shown(state))
    assert "no daemon" not in shown(after(START, state=state))[0]


@pytest.mark.parametrize(
    ("keys", "focus", "told"),
    [
        (["enter"], Focus("agent", AGENT), ["BUSY", "task-77", "62 %", "2 min ago"]),
        (["5", "enter"], Focus("tool", TOOL), ["LOW (99.9 %)", "timeout 18", "degrading"]),
        (["3", "end", "enter"], Focus("tool", "seldom"), ["24 h"]),
        (["4", "enter"], Focus("agent", AGENT), ["$12.50"]),
    ],
)
def test_a_row_is_looked_into(keys: list[str], focus: Focus, told: list[str]) -> None:
    state = after(START, Resized(120, 40), *keys)
    assert state.focus == focus
    text = "\n".join(shown(state))
    assert [each for each in told if each not in text] == []
    assert after("escape", state=state).focus is None
    assert after("escape", state=state).section == state.section


def test_executions_of_something_else_are_passed_over() -> None:
    state = after(START, "enter", Told(Focus("agent", "zoe"), []))
    assert state.executions is None
    assert after(Told(Focus("agent", AGENT), []), state=state).executions == []


def test_help_is_shown_until_a_key_is_pressed() -> None:
    assert any("sort the other way round" in line for line in shown(after(START, "?")))
    state = after(START, "?", "q")
    assert (state.help, state.ended) == (False, False)


def test_q_ends_it_but_not_within_a_filter() -> None:
    assert after(START, "q").ended
    assert not after(START, "/", "q").ended


def test_a_name_cannot_drive_the_terminal() -> None:
    evil = Answered(with_agents("\x1b]0;owned\x07[bold]"), 1.0)
    for state in (after(evil), after(evil, "enter"), after(evil, "/", "["), after(Lost("\x1b[2J"))):
        assert all(line.isprintable() for line in shown(state))
