"""The table of events: whole, and the same wherever it is told."""

import ast
import re
from pathlib import Path

import pytest

import buddyd
from buddyd.events import MESSAGE_IDS

ROOT = Path(__file__).parents[1]
METHODS = {"debug", "info", "warning", "error", "critical", "exception"}


def logged() -> set[str]:
    """The text of every event that the code logs."""
    found = set()
    for file in Path(buddyd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in METHODS
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(node.args[0].value)
    return found


def catalog() -> dict[str, str]:
    """The first line of each entry of the catalog, by its id."""
    text = (ROOT / "systemd/buddyd.catalog").read_text()
    return dict(re.findall(r"^-- ([0-9a-f]{32})\nSubject: (.+)$", text, re.MULTILINE))


def test_every_event_of_the_table_is_logged() -> None:
    assert set(MESSAGE_IDS) - logged() == set()


def test_an_id_is_128_bits_and_one_events_alone() -> None:
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in MESSAGE_IDS.values())
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)


def test_the_catalog_explains_every_event() -> None:
    assert set(catalog()) == set(MESSAGE_IDS.values())


@pytest.mark.parametrize(("event", "message_id"), MESSAGE_IDS.items())
def test_the_readme_lists_every_event(event: str, message_id: str) -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if message_id in line]
    assert len(rows) == 1
    assert f"`{event}`" in rows[0]
