"""Reading what can be read of a damaged database, table by table.

An unreadable page is stepped over. In a table with row numbers the next readable row is searched
for; in one without, whose keys cannot be guessed, the rows are read from both ends.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import structlog
from msgspec import Struct

from buddyd.storage.ids import id_key

log = structlog.get_logger()

Row = Sequence[object]

FARTHEST = 2**34
"""How many row numbers ahead of an unreadable row the next readable one is searched."""
AT_ONCE = 1000

# In the order in which they are looked at by whoever needs them first.
NUMBERED = ("tier1_raw_metrics", "agent_events")
KEYED = {
    "execution_ids": ("id",),
    "counted_names": ("kind", "name"),
    "tier2_hourly_summaries": ("hour",),
    "tier3_tool_profiles": ("tool_name",),
    "projection_checkpoints": ("projection",),
    "projection_states": ("projection", "part", "key"),
}

STATES = ("projection_checkpoints", "projection_states")


class Saved(Struct):
    """What was saved of a table. `gaps` are the unreadable stretches, of unknown length."""

    table: str
    rows: int = 0
    gaps: int = 0


class _Unreadable(Exception):
    """The source cannot be read any further from here."""


def save(damaged: sqlite3.Connection, new: sqlite3.Connection) -> list[Saved]:
    """Copy every readable row into `new`, which has the schema and no rows.

    Raises sqlite3.Error where `new` cannot be written.
    """
    new.execute("BEGIN")
    saved = [_save(new, table, _numbered(damaged, table)) for table in NUMBERED]
    saved += [_save(new, table, _keyed(damaged, table, key)) for table, key in KEYED.items()]
    _know_again(new)
    if _is_cut(damaged) or not all(_is_whole(damaged, table) for table in STATES):
        _rebuild(new)
    new.execute("COMMIT")
    return saved


def _save(new: sqlite3.Connection, table: str, rows: Iterable[Row | None]) -> Saved:
    saved = Saved(table)
    width = len(new.execute(f"PRAGMA table_info({table})").fetchall())
    # The names of tables are this file's.
    insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * width)})"  # noqa: S608
    for row in rows:
        if row is None:
            saved.gaps += 1
            continue
        # A database of an older schema has fewer columns.
        whole = (*row, *[None] * (width - len(row)))
        try:
            saved.rows += new.execute(insert, whole).rowcount
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            # What a damaged page made of a row.
            saved.gaps += 1
    return saved


def _read(source: sqlite3.Connection, query: str, parameters: Row = ()) -> Iterator[Row]:
    """The rows up to the damage; raises _Unreadable there."""
    try:
        cursor = source.execute(query, parameters)
        yield from cursor
    except (sqlite3.Error, OverflowError, MemoryError) as error:
        raise _Unreadable from error


def _numbered(source: sqlite3.Connection, table: str) -> Iterator[Row | None]:
    """Every readable row, and None for each stretch that is not."""
    query = f"SELECT * FROM {table} NOT INDEXED WHERE seq >= ? ORDER BY seq"  # noqa: S608
    at: int | None = 0
    while at is not None:
        try:
            for number, row in _from_number(source, query, at):
                yield row
                at = number + 1
        except _Unreadable:
            yield None
            at = _next_readable(source, query, at)
        else:
            return


def _from_number(source: sqlite3.Connection, query: str, at: int) -> Iterator[tuple[int, Row]]:
    for row in _read(source, query, (at,)):
        number = row[0]
        # A damaged inner page can lead back to where the reading came from.
        if not isinstance(number, int) or number < at:
            raise _Unreadable
        yield number, row
        at = number + 1


def _next_readable(source: sqlite3.Connection, query: str, at: int) -> int | None:
    """The first row number after `at` from which on something can be read; None where nothing can.

    The rows of a page have numbers that follow each other: leaps that double find a page behind,
    and halving the last leap finds where it begins.
    """
    leap = 1
    while not _is_readable(source, query, at + leap):
        leap *= 2
        if leap > FARTHEST:
            return None
    low, high = at + leap // 2, at + leap
    while low + 1 < high:
        middle = (low + high) // 2
        if _is_readable(source, query, middle):
            high = middle
        else:
            low = middle
    return high


def _is_readable(source: sqlite3.Connection, query: str, at: int) -> bool:
    try:
        next(_from_number(source, f"{query} LIMIT 1", at), None)
    except _Unreadable:
        return False
    return True


def _keyed(source: sqlite3.Connection, table: str, key: tuple[str, ...]) -> Iterator[Row | None]:
    """Every row that can be reached from either end, and None for what lies between."""
    last: Row | None = None
    try:
        for row in _read(source, _ordered(table, key, "ASC")):
            yield row
            last = row[: len(key)]
    except _Unreadable:
        yield None
        yield from _backwards(source, _ordered(table, key, "DESC"), last)


def _backwards(source: sqlite3.Connection, query: str, last: Row | None) -> Iterator[Row]:
    try:
        for row in _read(source, query):
            # What was read already; a damaged inner page may lead there.
            if last is not None and row[: len(last)] == last:
                return
            yield row
    except _Unreadable:
        return


def _ordered(table: str, key: tuple[str, ...], direction: str) -> str:
    order = ", ".join(f"{column} {direction}" for column in key)
    return f"SELECT * FROM {table} ORDER BY {order}"  # noqa: S608


def _is_whole(source: sqlite3.Connection, table: str) -> bool:
    """Whether nothing is wrong with a table: the end of a long value can be lost unnoticed."""
    try:
        return source.execute(f"PRAGMA quick_check({table})").fetchall() == [("ok",)]
    except sqlite3.Error:
        return False


def _is_cut(source: sqlite3.Connection) -> bool:
    """Whether pages may be missing at the end: SQLite reads them as zeros."""
    pages = source.execute("PRAGMA page_count").fetchone()[0]
    size = source.execute("PRAGMA page_size").fetchone()[0]
    path = source.execute("PRAGMA database_list").fetchone()[2]
    return bool(Path(path).stat().st_size < pages * size)


def _know_again(new: sqlite3.Connection) -> None:
    """Whatever became of the ids: those of the records that are there are known."""
    ids = new.execute(
        "SELECT execution_id, CAST(recorded_at / 3600 AS INTEGER) FROM tier1_raw_metrics"
    )
    while rows := ids.fetchmany(AT_ONCE):
        keys = [(id_key(execution_id), hour) for execution_id, hour in rows]
        new.executemany("INSERT OR IGNORE INTO execution_ids VALUES (?, ?)", keys)


def _rebuild(new: sqlite3.Connection) -> None:
    """Let the projections begin anew from the journal: a state with a hole answers wrongly."""
    for table in STATES:
        new.execute(f"DELETE FROM {table}")  # noqa: S608
    log.error("the projections are rebuilt from the journal, as far back as it goes")
