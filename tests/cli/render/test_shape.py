"""Filters, order and limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.cli.render.shape import Shape, ShapeError, shaped
from buddyd.cli.render.view import Cell, Column, Facts, Plain, Table, View

COLUMNS = [
    Column("Tool", "name", ("tool_name",)),
    Column("Range", "number", ("low", "high")),
    Column("", "graph"),
]


def table(*rows: tuple[str, Plain, Plain], name: str = "tools", most: int | None = None) -> Table:
    cells = [[Cell(tool, tool), Cell("", (low, high)), Cell("")] for tool, low, high in rows]
    return Table("Tools", COLUMNS, cells, "None.", name, most)


def names(view: View) -> list[str]:
    return [row[0].text for part in view if isinstance(part, Table) for row in part.rows]


ROWS = (("b", 1, 9), ("A", 3, 7), ("c", 2, None))


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("tool_name", "Abc"),
        ("-tool_name", "cbA"),
        ("Tool", "Abc"),
        ("low", "bcA"),
        ("-low", "Acb"),
        ("range", "bcA"),
        ("high", "Abc"),
        ("-high", "bAc"),
    ],
)
def test_a_column_is_sorted_by_its_key_or_title_and_what_is_not_known_comes_last(
    sort: str, order: str
) -> None:
    assert "".join(names(shaped([table(*ROWS)], Shape(sort=sort)))) == order


def test_an_unknown_column_names_the_ones_there_are() -> None:
    with pytest.raises(ShapeError, match="no column 'x'; there are: tool_name, low, high"):
        shaped([table(*ROWS)], Shape(sort="x"))


@given(st.lists(st.integers(0, 5)))
def test_what_is_equal_stays_in_order(values: list[int]) -> None:
    rows = [(f"{n:03}", value, 0) for n, value in enumerate(values)]
    sorted_ = names(shaped([table(*rows)], Shape(sort="low")))
    assert sorted_ == [name for name, *_ in sorted(rows, key=lambda row: row[1])]


def test_a_filter_shows_only_what_it_goes_by() -> None:
    view: View = [Facts("Sums", {"All": Cell("3")}, "sums"), table(*ROWS)]
    assert names(shaped(view, Shape(tool=("A", "c")))) == ["A", "c"]
    assert len(shaped(view, Shape(tool=("A",)))) == 1


def test_a_filter_that_fits_nothing_says_so() -> None:
    (part,) = shaped([table(*ROWS)], Shape(tool=("x\x1b",)))
    assert isinstance(part, Table)
    assert part.empty == "No row is of x\\x1b."


def test_a_limit_says_how_much_it_leaves_out() -> None:
    (part,) = shaped([table(*ROWS, most=1)], Shape())
    assert isinstance(part, Table)
    assert (len(part.rows), part.left_out) == (1, 2)
    (part,) = shaped([table(*ROWS, most=1)], Shape(limit=3))
    assert isinstance(part, Table)
    assert (len(part.rows), part.left_out) == (3, 0)


def test_the_limit_comes_after_the_order() -> None:
    assert names(shaped([table(*ROWS)], Shape(sort="-low", limit=2))) == ["A", "c"]


def test_a_part_can_be_chosen_by_name() -> None:
    view: View = [Facts("Sums", {"All": Cell("3")}, "sums"), table(*ROWS)]
    assert shaped(view, Shape(table="sums")) == view[:1]
    with pytest.raises(ShapeError, match="no table 'x'; there are: sums, tools"):
        shaped(view, Shape(table="x"))
