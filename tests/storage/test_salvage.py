"""Rows are saved from a damaged database of an older schema as well."""

import sqlite3
from contextlib import closing

from buddyd.storage import salvage
from buddyd.storage.schema import migrate, migrations


def test_rows_of_an_older_schema_are_saved_into_the_present_one() -> None:
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as old,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as new,
    ):
        migrate(old, migrations()[:1])
        old.execute("INSERT INTO agent_events (seq, recorded_at, agent_id) VALUES (1, 0, 'a')")
        migrate(new)
        saved = {each.table: (each.rows, each.gaps) for each in salvage.save(old, new)}
        assert saved["agent_events"] == (1, 0)
        assert new.execute("SELECT agent_id, report FROM agent_events").fetchall() == [("a", None)]
