"""CSV and Markdown, read back by others."""

import csv
import io
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from buddyd.cli.render import agents, capacity, costs, learning, pipeline, recommendations, risks
from buddyd.cli.render import status as status_view
from buddyd.cli.render.documents import csv_document, markdown_document
from buddyd.cli.render.shape import Shape, shaped
from buddyd.cli.render.view import Cell, Column, Facts, Table, View
from tests.support import gallery

VIEWS: dict[str, View] = {
    "agents": agents.view(gallery.AGENTS_STATUS),
    "capacity": capacity.view(gallery.CAPACITY),
    "pipeline": pipeline.view(gallery.PIPELINE),
    "costs": costs.view(gallery.COSTS),
    "learning": learning.view(gallery.LEARNING),
    "risks": risks.view(gallery.RISKS),
    "recommendations": recommendations.view(gallery.RECOMMENDATIONS),
    "status": status_view.view(gallery.ANSWERS["get_daemon_status"]),  # type: ignore[arg-type]
}
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


def read(document: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(document)))


def test_csv_has_plain_numbers_and_the_times_of_the_answer() -> None:
    rows = read(csv_document(VIEWS["agents"]))
    answer = gallery.AGENTS_STATUS.agents
    assert [row["agent_id"] for row in rows] == [agent.agent_id for agent in answer]
    for row, agent in zip(rows, answer, strict=True):
        assert int(row["executions_24h"]) == agent.executions_24h
        assert float(row["success_rate"]) == agent.success_rate
        assert datetime.fromisoformat(row["last_activity"]).utcoffset() is not None
        assert row["current_task_id"] == (agent.current_task_id or "")


def test_csv_has_the_bounds_of_an_interval_apart() -> None:
    crawler = read(csv_document(VIEWS["capacity"]))[1]
    assert (crawler["capacity_low"], crawler["capacity_high"]) == ("2", "31")
    assert crawler["bottleneck_tools"] == "browser.open_page_and_extract_readable_text, web_search"


@pytest.mark.parametrize("name", VIEWS)
def test_every_row_of_csv_has_a_value_for_every_key(name: str) -> None:
    tables = [part.name for part in VIEWS[name] if isinstance(part, Table) and part.name]
    for table in tables or [None]:
        document = csv_document(shaped(VIEWS[name], Shape(table=table)))
        lengths = {len(row) for row in csv.reader(io.StringIO(document))}
        assert len(lengths) == 1
        assert "\N{EN DASH}" not in document


def test_facts_alone_are_names_and_values() -> None:
    rows = read(csv_document(shaped(VIEWS["pipeline"], Shape(table="sums"))))
    assert {"name": "executions", "value": "2296"} in rows


@given(st.lists(names, min_size=1))
def test_any_name_survives_csv(texts: list[str]) -> None:
    rows = [[Cell("shown", text)] for text in texts]
    table = Table("", [Column("Name", "name", ("name",))], rows, "")
    assert [row["name"] for row in read(csv_document([table]))] == texts


def cells_of(document: str) -> list[list[str]]:
    """The texts of all tables' cells, as a page would show them."""
    tree = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(document))
    rows = [node for node in tree.walk() if node.type == "tr"]
    return [
        [
            "".join(leaf.content for leaf in cell.walk() if leaf.type == "text")
            for cell in row.children
        ]
        for row in rows
    ]


@pytest.mark.parametrize("name", VIEWS)
def test_markdown_renders_as_the_tables_that_were_meant(name: str) -> None:
    shown = cells_of(markdown_document(VIEWS[name]))
    for part in VIEWS[name]:
        if isinstance(part, Facts):
            assert all([label, cell.text] in shown for label, cell in part.cells.items())
        elif isinstance(part, Table):
            seen = [n for n, column in enumerate(part.columns) if column.kind != "graph"]
            assert [part.columns[n].title for n in seen] in shown
            assert all([row[n].text for n in seen] in shown for row in part.rows)


printable = names.filter(lambda text: text.isprintable() and text == text.strip())


@given(st.lists(printable, min_size=1, max_size=5))
def test_any_name_survives_markdown(texts: list[str]) -> None:
    columns = [Column(f"c{n}", "name", (f"c{n}",)) for n in range(len(texts))]
    table = Table("T", columns, [[Cell(text) for text in texts]], "")
    assert cells_of(markdown_document([table]))[1] == texts
