"""How a view is fitted into a width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from buddyd.cli.render.graphs import UNICODE, Glyphs, ascii_glyphs
from buddyd.cli.render.layout import Screen, lay_out, shortened
from buddyd.cli.render.view import Cell, Chart, Column, Facts, Interval, Series, Table, View

texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z", "M"]), max_size=60)
glyphs = st.sampled_from([UNICODE, ascii_glyphs("ascii")])


def lines(view: View, width: int | None, glyphs: Glyphs = UNICODE) -> list[str]:
    drawn = lay_out(view, Screen(width, None, glyphs))
    return ["".join(span.text for span in line).rstrip() for line in drawn]


def table(*rows: tuple[str, ...], columns: list[Column]) -> Table:
    return Table("", columns, [[Cell(text, text) for text in row] for row in rows], "None.")


@st.composite
def tables(draw: st.DrawFn) -> Table:
    kinds = draw(st.lists(st.sampled_from(["name", "text", "graph"]), min_size=1, max_size=5))
    columns = [Column("n", "number"), *(Column(f"c{n}", k) for n, k in enumerate(kinds))]
    rows = [
        [
            Cell(str(draw(st.integers(0, 999)))),
            *(
                Cell("", graph=Interval(0.1, 0.2, 0.3)) if kind == "graph" else Cell(draw(texts))
                for kind in kinds
            ),
        ]
        for _ in range(draw(st.integers(1, 4)))
    ]
    return Table("title", columns, rows, "None.")


@given(table=tables(), width=st.integers(40, 200), glyphs=glyphs)
def test_no_line_of_a_table_is_too_long(table: Table, width: int, glyphs: Glyphs) -> None:
    assert max(cell_len(line) for line in lines([table], width, glyphs)) <= width


@given(label=texts.filter(bool), text=texts, width=st.integers(30, 200))
def test_no_line_of_facts_is_too_long(label: str, text: str, width: int) -> None:
    view: View = [Facts("", {label[:8]: Cell(f"{text} {text} {text}")})]
    assert max(cell_len(line) for line in lines(view, width)) <= max(width, 2 * 8 + 2 + 16)


def test_off_a_terminal_every_name_is_whole() -> None:
    long = "n" * 5000
    shown = lines([table((long, "1"), columns=[Column("A", "name"), Column("B", "number")])], None)
    assert shown[1].split() == [long, "1"]


def test_the_columns_that_can_be_spared_go_first() -> None:
    columns = [
        Column("Name", "name"),
        Column("Least", "number", spare=2),
        Column("Less", "number", spare=1),
        Column("Most", "number"),
    ]
    one = table(("n" * 30, "1" * 10, "2" * 10, "3" * 10), columns=columns)
    assert lines([one], 70)[0].split() == ["Name", "Least", "Less", "Most"]
    assert lines([one], 50)[0].split() == ["Name", "Less", "Most"]
    assert lines([one], 40)[0].split() == ["Name", "Most"]
    assert lines([one], 20)[0].split() == ["Name", "Most"]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("update_reservation_flights", 26, "update_reservation_flights"),
        ("update_reservation_flights", 18, "update_reser…ights"),
        ("update_reservation_baggages", 18, "update_reser…gages"),
        ("翻訳サービスの名前", 9, "翻訳サ…前"),
        ("abc", 1, "a"),
    ],
)
def test_a_name_loses_its_middle(text: str, width: int, shown: str) -> None:
    assert shortened(text, width, UNICODE) == shown


@given(text=texts, width=st.integers(1, 40), glyphs=glyphs)
def test_a_shortened_name_fits(text: str, width: int, glyphs: Glyphs) -> None:
    shown = shortened(text, width, glyphs)
    assert cell_len(shown) <= width
    assert shown == text or cell_len(text) > width


def test_numbers_stand_to_the_right_whatever_the_names_are_written_in() -> None:
    columns = [Column("Name", "name"), Column("N", "number")]
    shown = lines([table(("翻訳", "1"), ("abcdef", "100"), columns=columns)], 80)
    assert {cell_len(line) for line in shown} == {len("abcdef  100")}


def test_a_text_is_broken_between_words() -> None:
    columns = [Column("A", "number"), Column("Text", "text")]
    shown = lines([table(("1", "one two three four five six"), columns=columns)], 20)
    assert shown == ["A  Text", "1  one two three", "   four five six"]


def test_a_text_of_blanks_is_a_line_all_the_same() -> None:
    columns = [Column("Text", "text")]
    assert lines([table((" " * 50,), columns=columns)], 20) == ["Text", ""]
    assert lines([Facts("", {"A": Cell(" " * 50), "B": Cell("1")})], 30) == ["A", "B  1"]


def test_a_part_without_rows_has_a_sentence() -> None:
    assert lines([Table("Title", [Column("A", "name")], [], "There is none.")], 80) == [
        "Title",
        "There is none.",
    ]


def test_facts_keep_their_sparkline_whole() -> None:
    shown = lines([Facts("", {"By hour": Cell("at most 4", graph=Series([1.0, 4.0]))})], 80)
    assert shown == ["By hour  ▃█  at most 4"]


@given(
    values=st.lists(st.none() | st.floats(0, 10), min_size=1, max_size=60),
    width=st.integers(80, 200),
)
def test_a_chart_fits(values: list[float | None], width: int) -> None:
    marks = dict.fromkeys(range(0, len(values), 3), "12:00")
    chart = Chart("", values, 10.0, ("10 s", "5 s"), marks)
    shown = lines([chart], width)
    assert max(map(len, shown)) <= width
    assert len(shown) == 12
