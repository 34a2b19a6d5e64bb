"""Checking a database from outside: whether it is whole, and whether its parts agree.

It reads one moment of it and writes nothing, whether or not a daemon has it open.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from buddyd.domain.windows import HOUR, MONTH_HOURS, hour_of
from buddyd.errors import StorageBroken
from buddyd.storage.ids import id_key
from buddyd.storage.schema import APPLICATION_ID, schema_version

AT_ONCE = 10_000
MOST_DAMAGES = 10
DEDUPE_HOURS = 24
"""For how long an id is kept at the least, whatever the configuration says."""

COUNTS = {
    "executions": "SELECT count(*) FROM tier1_raw_metrics",
    "agent_events": "SELECT count(*) FROM agent_events",
    "execution_ids": "SELECT count(*) FROM execution_ids",
    "hourly_summaries": "SELECT count(*) FROM tier2_hourly_summaries",
    "tool_profiles": "SELECT count(*) FROM tier3_tool_profiles",
}

IDS = "SELECT execution_id FROM tier1_raw_metrics WHERE recorded_at >= ?"
HAS_ID = "SELECT 1 FROM execution_ids WHERE id = ?"

TIER2_WRONG = """
SELECT count(*) FROM tier2_hourly_summaries
WHERE total_tasks <> successful_tasks + failed_tasks
"""

TIER3_WRONG = """
SELECT count(*) FROM tier3_tool_profiles
WHERE total_executions <> successful_executions + failed_executions
   OR success_rate NOT BETWEEN success_rate_low - 1e-9 AND success_rate_high + 1e-9
"""

# Entries after the lowest checkpoint may not have been let go of: there is each of them.
MISSING = """
SELECT last - low - (SELECT count(*) FROM tier1_raw_metrics WHERE seq > low)
                  - (SELECT count(*) FROM agent_events WHERE seq > low)
FROM (SELECT coalesce(min(seq), 0) AS low FROM projection_checkpoints),
     (SELECT max((SELECT coalesce(max(seq), 0) FROM tier1_raw_metrics),
                 (SELECT coalesce(max(seq), 0) FROM agent_events),
                 (SELECT coalesce(max(seq), 0) FROM projection_checkpoints)) AS last)
"""

# The hours of Tier 2 that have fewer executions than Tier 1 still holds of them: what the
# aggregator had folded by its checkpoint.
HOURS_BEHIND = """
SELECT count(*) FROM (
    SELECT strftime('%Y-%m-%dT%H:00:00Z', CAST(finished_at AS INTEGER), 'unixepoch') AS hour,
           count(*) AS tasks, sum(success) AS successes
    FROM tier1_raw_metrics
    WHERE seq <= (SELECT coalesce(max(seq), 0) FROM projection_checkpoints
                  WHERE projection = 'aggregator')
    GROUP BY 1
) AS raw LEFT JOIN tier2_hourly_summaries AS tier2 USING (hour)
WHERE hour >= (SELECT coalesce(min(hour), '') FROM tier2_hourly_summaries)
  AND (coalesce(tier2.total_tasks, 0) < raw.tasks
       OR coalesce(tier2.successful_tasks, 0) < raw.successes)
"""

# Tools of Tier 3 with fewer executions than the registry had folded of those that are in Tier 1
# and finished at :since or later.
TOOLS_BEHIND = """
SELECT count(*) FROM (
    SELECT CASE WHEN n.since_seq <= t.seq THEN t.tool_name ELSE '~other' END AS tool_name,
           count(*) AS tasks, sum(t.success) AS successes
    FROM tier1_raw_metrics AS t
    LEFT JOIN counted_names AS n ON n.kind = 'tool' AND n.name = t.tool_name
    WHERE t.seq <= (SELECT coalesce(max(seq), 0) FROM projection_checkpoints
                    WHERE projection = 'registry')
      AND t.finished_at >= :since
    GROUP BY 1
) AS raw LEFT JOIN tier3_tool_profiles AS tier3 USING (tool_name)
WHERE coalesce(tier3.total_executions, 0) < raw.tasks
   OR coalesce(tier3.successful_executions, 0) < raw.successes
"""


class Finding(Struct, frozen=True):
    """What one look found: a sentence, and whether all is well with it."""

    ok: bool
    sentence: str


class Checked(Struct, frozen=True):
    """All that was found. `counts` are the rows by what they are."""

    database: str
    ok: bool
    findings: list[Finding]
    counts: dict[str, int]


def check(path: Path) -> Checked:
    """Look at the database at `path`.

    Raises StorageBroken where there is no database of ours that could be looked at.
    """
    try:
        found = path.stat()
        with closing(_reading(path)) as connection:
            connection.execute("BEGIN")
            findings, counts = _look(connection, path) if found.st_size else ([], {})
    except OSError as error:
        raise StorageBroken(f"{path} cannot be read: {error.strerror}.") from error
    except sqlite3.Error as error:
        findings, counts = [Finding(ok=False, sentence=f"It cannot be read: {error}.")], {}
    if not findings:
        findings = [Finding(ok=False, sentence="The file is empty.")]
    return Checked(str(path), all(f.ok for f in findings), findings, counts)


def _reading(path: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _look(connection: sqlite3.Connection, path: Path) -> tuple[list[Finding], dict[str, int]]:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StorageBroken(f"{path} is a database of another program.")
    whole = _integrity(connection)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != schema_version():
        return [whole, _schema(version)], {}
    if not whole.ok:
        return [whole], {}
    counts = {name: connection.execute(query).fetchone()[0] for name, query in COUNTS.items()}
    # What was let go of was so by then: the file tells of its last change, not of this moment.
    hour = hour_of(_changed_at(path))
    return [
        whole,
        _schema(version),
        _ids(connection, (hour - DEDUPE_HOURS) * HOUR),
        _none(
            connection,
            MISSING,
            "Every entry since the checkpoints is there.",
            "entries of the journal are missing",
        ),
        _none(
            connection,
            HOURS_BEHIND,
            "Tier 2 counts what Tier 1 holds.",
            "hours of Tier 2 count less than Tier 1 holds of them",
        ),
        _none(connection, TIER2_WRONG, "Tier 2 adds up.", "hours of Tier 2 do not add up"),
        _none(
            connection,
            TOOLS_BEHIND,
            "Tier 3 counts what Tier 1 holds.",
            "tools of Tier 3 count less than Tier 1 holds of them",
            {"since": (hour - MONTH_HOURS + 1) * HOUR},
        ),
        _none(connection, TIER3_WRONG, "Tier 3 adds up.", "tools of Tier 3 do not add up"),
    ], counts


def _changed_at(path: Path) -> float:
    """When the database was written last, in Unix seconds."""
    changed = path.stat().st_mtime
    # There may be no log, or none any more.
    with suppress(OSError):
        changed = max(changed, Path(f"{path}-wal").stat().st_mtime)
    return changed


def _integrity(connection: sqlite3.Connection) -> Finding:
    rows = connection.execute(f"PRAGMA integrity_check({MOST_DAMAGES})").fetchall()
    if rows == [("ok",)]:
        return Finding(ok=True, sentence="Every page and every index is in order.")
    damages = "; ".join(row[0] for row in rows)
    return Finding(ok=False, sentence=f"The file is damaged: {damages}.")


def _schema(version: int) -> Finding:
    newest = schema_version()
    if version == newest:
        return Finding(ok=True, sentence=f"The schema is {version}, the one that this buddyd uses.")
    if version < newest:
        sentence = f"The schema is {version}; buddyd will bring it to {newest} when it starts."
        return Finding(ok=True, sentence=sentence)
    sentence = f"The schema is {version}, from a newer buddyd; this one knows {newest}."
    return Finding(ok=False, sentence=sentence)


def _ids(connection: sqlite3.Connection, since: float) -> Finding:
    """Whether the ids are known of what was recorded at `since` (Unix seconds) or later."""
    unknown = 0
    records = connection.execute(IDS, (since,))
    while rows := records.fetchmany(AT_ONCE):
        for (execution_id,) in rows:
            unknown += connection.execute(HAS_ID, (id_key(execution_id),)).fetchone() is None
    if unknown:
        sentence = f"{unknown} records would be taken again: their ids are not known."
        return Finding(ok=False, sentence=sentence)
    sentence = "The id of every record that could come again is known: none is taken twice."
    return Finding(ok=True, sentence=sentence)


def _none(
    connection: sqlite3.Connection,
    query: str,
    well: str,
    ill: str,
    parameters: Mapping[str, object] | None = None,
) -> Finding:
    """What a query that counts faults says."""
    count = connection.execute(query, parameters or {}).fetchone()[0]
    return Finding(ok=count == 0, sentence=f"{count} {ill}." if count else well)
