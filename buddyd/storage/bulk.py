"""Inserting many rows at once.

The interpreter takes its lock back after every statement, and where the event loop is busy it has
to wait for it each time. One statement of many rows does its work in one go.

What is not exactly an int, a float, a str or a bytearray is offered to adapters before it is bound,
which takes four times as long as to bind it. That goes for None, for a bool and for bytes.
"""

import sqlite3
from collections.abc import Collection, Sequence

LARGEST = 1024
"""Rows of one statement, at the most; a power of two."""


class Insert:
    """An insertion into a table, of any number of rows. `verb` is `INSERT` or a variant of it.

    A column of `no_empty` holds no empty text: one that is given stands for NULL.
    """

    def __init__(
        self, verb: str, table: str, columns: Sequence[str], no_empty: Collection[str] = ()
    ) -> None:
        head = f"{verb} INTO {table} ({', '.join(columns)}) VALUES "
        values = ("nullif(?, '')" if column in no_empty else "?" for column in columns)
        row = f"({', '.join(values)})"
        sizes = (1 << bits for bits in range(LARGEST.bit_length()))
        self._statements = {size: head + ", ".join([row] * size) for size in sizes}

    def run(self, connection: sqlite3.Connection, columns: Sequence[Sequence[object]]) -> int:
        """Insert rows that are given column by column, in order; returns how many were."""
        inserted = begin = 0
        while left := len(columns[0]) - begin:
            # Sizes that are powers of two, so that few statements do for all numbers of rows.
            size = min(LARGEST, 1 << (left.bit_length() - 1))
            values = _row_by_row([column[begin : begin + size] for column in columns], size)
            inserted += connection.execute(self._statements[size], values).rowcount
            begin += size
        return inserted


def _row_by_row(columns: Sequence[Sequence[object]], rows: int) -> list[object]:
    """All values, a row after the other; no row is made."""
    values: list[object] = [None] * (rows * len(columns))
    for index, column in enumerate(columns):
        values[index :: len(columns)] = column
    return values
