"""Reading one moment of the database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is read inside is of one moment, whatever is committed meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        # SQLite has ended it after some errors: to do so again would hide the reason.
        if connection.in_transaction:
            connection.execute("COMMIT")
