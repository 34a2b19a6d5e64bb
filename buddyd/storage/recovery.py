"""What is done about a damaged database, at the start, before anything else opens it.

The readable rows go into a new database beside the damaged one. Only when that is complete are
the names changed, and a start that finds this half done finishes it:

1. `NAME.saving-TIME` is filled; what a killed start left of it is thrown away and begun anew.
2. It is renamed to `NAME.recovered-TIME`: from here on, nothing is missing.
3. The damaged files are renamed to `NAME.damaged-TIME`, with `-wal` and `-shm`.
4. `NAME.recovered-TIME` is renamed to `NAME`.

The damaged files themselves are only ever read.
"""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import structlog

from buddyd.errors import StorageBroken
from buddyd.storage import salvage
from buddyd.storage.folders import sync
from buddyd.storage.ownership import Ownership, Past
from buddyd.storage.schema import APPLICATION_ID, migrate, migrations, schema_version

log = structlog.get_logger()

CHECK_SECONDS = 1.0
"""How long a check after an unclean end may take: a million records take a third of it. What lies
beyond is found when it is read. Where damage was met before, it takes as long as it takes."""
MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
PAGE_BYTES = 4096
_SIDES = ("", "-wal", "-shm")
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def make_sound(path: Path, ownership: Ownership) -> None:
    """See to it that there is a sound database at `path`, or none; say what was done.

    Raises StorageBroken where the file is not ours, OSError or sqlite3.Error where it cannot be
    read or replaced; it is left as it is then.
    """
    _finish(path)
    if not path.exists():
        if ownership.was_ours:
            log.error("the database is gone, a new one is begun", database=str(path))
        return
    _roll_back(path)
    damage = find_damage(path, ownership)
    if damage is not None:
        log.error("the database is damaged", database=str(path), damage=damage)
        _recover(path)


def _roll_back(path: Path) -> None:
    """Have SQLite undo what a kill left half done before the database had a write-ahead log.

    A connection that only reads cannot do it, and reads nothing before it is done.
    """
    if Path(f"{path}-journal").exists():
        try:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in _DAMAGE:
                raise


def find_damage(path: Path, ownership: Ownership) -> str | None:
    """What is wrong with the database, in words; None where nothing is.

    Raises StorageBroken for a file that is no database and was never ours.
    """
    head = _head(path)
    if not head:
        if ownership.was_ours:
            return "the file is empty"
        log.warning("the file is empty, a new database is begun in it", database=str(path))
        return None
    if not head.startswith(MAGIC):
        if not ownership.was_ours:
            raise StorageBroken(f"The file {path} is not a database; it was not touched.")
        return "the file does not begin like a database"
    if ownership.past is Past.CLEAN:
        return _truncation(path, head)
    return _check(path, thorough=ownership.past is Past.DAMAGED)


def _head(path: Path) -> bytes:
    # No connection is open yet: from here on, only SQLite opens it.
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)


def _truncation(path: Path, head: bytes) -> str | None:
    """After a clean end there is no write-ahead log, and the header says how long the file is."""
    pages, changed, valid_for = (int.from_bytes(head[at : at + 4]) for at in (28, 24, 92))
    if Path(f"{path}-wal").exists() or changed != valid_for:
        return None
    size = path.stat().st_size
    if size < pages * PAGE_BYTES and int.from_bytes(head[16:18]) == PAGE_BYTES:
        return f"the file has {size} bytes of {pages * PAGE_BYTES}"
    return None


def _check(path: Path, *, thorough: bool) -> str | None:
    try:
        with closing(reading(path)) as connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                return None  # Whose it is, is looked at when it is opened.
            return _run_check(connection, thorough=thorough)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _DAMAGE:
            return str(error)
        raise


def _run_check(connection: sqlite3.Connection, *, thorough: bool) -> str | None:
    began = time.monotonic()
    timer = threading.Timer(CHECK_SECONDS, connection.interrupt)
    if not thorough:
        timer.start()
    try:
        pragma = "integrity_check(3)" if thorough else "quick_check(3)"
        found = [row[0] for row in connection.execute(f"PRAGMA {pragma}")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        log.info("the check after an unclean end was cut short", seconds=CHECK_SECONDS)
        return None
    finally:
        timer.cancel()
    seconds = round(time.monotonic() - began, 3)
    log.info("database checked", thorough=thorough, seconds=seconds, sound=found == ["ok"])
    return None if found == ["ok"] else "; ".join(found)


def reading(path: Path) -> sqlite3.Connection:
    """A connection that leaves the file and its write-ahead log as they are, at its end too."""
    uri = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


# Saving what can be read


def _recover(path: Path) -> None:
    stamp = _free_stamp(path)
    saving = Path(f"{path}.saving-{stamp}")
    source = _readable(path, Path(f"{saving}.source"))
    with closing(reading(source)) as damaged:
        version = _version(damaged)
        saved = _save(damaged, saving, version)
    _remove(Path(f"{saving}.source"))
    sync(saving)
    saving.rename(f"{path}.recovered-{stamp}")
    sync(path.parent)
    log.error(
        "the readable rows were saved into a new database",
        damaged=f"{path}.damaged-{stamp}",
        rows=sum(each.rows for each in saved),
        tables={each.table: each.rows for each in saved},
        unreadable={each.table: each.gaps for each in saved if each.gaps},
    )
    _finish(path)


def _save(damaged: sqlite3.Connection, target: Path, version: int) -> list[salvage.Saved]:
    # With narrow rights before SQLite opens it, which keeps them.
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        # Nobody reads it before it is complete and synced.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        migrate(connection, [step for step in migrations() if step[0] <= version])
        return salvage.save(damaged, connection)


def _version(damaged: sqlite3.Connection) -> int:
    """The schema of the damaged database: what it says, where it can be believed."""
    try:
        version = int(damaged.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error:
        return schema_version()
    return version if 0 < version <= schema_version() else schema_version()


def _readable(path: Path, copy: Path) -> Path:
    """The database, or a copy with a new first page where SQLite cannot make sense of its own."""
    try:
        with closing(reading(path)) as connection:
            connection.execute("SELECT count(*) FROM tier1_raw_metrics WHERE seq < 0").fetchone()
            return path
    except sqlite3.Error as error:
        reason = str(error)
    if path.stat().st_size <= PAGE_BYTES:
        return path
    log.warning("its first page is lost and was made anew to read the rest", reason=reason)
    shutil.copyfile(path, copy)
    if (wal := Path(f"{path}-wal")).exists():
        shutil.copyfile(wal, f"{copy}-wal")
    _new_first_page(copy)
    return copy


def _new_first_page(copy: Path) -> None:
    """Give a copy the first page of an empty schema, and then the schema that ours have.

    With auto_vacuum the roots of tables are always the first pages, in the order in which the
    tables were made: they are where they are in any new database.
    """
    template = sqlite3.connect(":memory:", isolation_level=None)
    template.execute("PRAGMA auto_vacuum = INCREMENTAL")
    empty = template.serialize() or _serialized_empty(template)
    migrate(template)
    schema = template.execute("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema")
    rows = schema.fetchall()
    largest = max(row[3] for row in rows)
    page = bytearray(empty[:PAGE_BYTES])
    page[28:32] = (copy.stat().st_size // PAGE_BYTES).to_bytes(4)
    page[92:96] = page[24:28]
    page[32:40] = bytes(8)  # No free pages.
    page[44:48] = (4).to_bytes(4)
    page[52:56] = largest.to_bytes(4)
    with copy.open("r+b") as file:
        file.write(page)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        insert = (
            "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES (?,?,?,?,?)"
        )
        connection.executemany(insert, rows)


def _serialized_empty(template: sqlite3.Connection) -> bytes:
    # An empty database has no page before something is written to it.
    template.execute("PRAGMA user_version = 0")
    template.execute("CREATE TABLE t (x)")
    template.execute("DROP TABLE t")
    return template.serialize()


# Changing the names


def _finish(path: Path) -> None:
    """Do what is left of a recovery that was begun."""
    for remains in _beside(path, ".saving-"):
        log.warning("what an interrupted recovery had saved is begun anew", removed=str(remains))
        remains.unlink()
    for recovered in _beside(path, ".recovered-"):
        stamp = recovered.name.removeprefix(f"{path.name}.recovered-")
        aside = f"{path}.damaged-{stamp}"
        for source, target in _pairs(path, aside):
            _rename(source, target)
        _rename(recovered, path)
        log.warning("database recovered", database=str(path), damaged=aside)


def _beside(path: Path, mark: str) -> list[Path]:
    # No pattern: the name may hold what a pattern would take for something else.
    files = sorted(path.parent.iterdir())
    return [file for file in files if file.name.startswith(path.name + mark)]


def _pairs(path: Path, aside: str) -> Iterator[tuple[Path, Path]]:
    # The log goes last: without its database, nobody mistakes it for that of the new one.
    for side in _SIDES:
        source = Path(f"{path}{side}")
        if source.exists():
            yield source, Path(f"{aside}{side}")


def _rename(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists already, and {source} was to be renamed to it")
    source.rename(target)
    sync(target.parent)


def _free_stamp(path: Path) -> str:
    while True:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        if not any(stamp in file.name for file in _beside(path, ".")):
            return stamp
        time.sleep(0.1)


def _remove(copy: Path) -> None:
    for side in _SIDES:
        Path(f"{copy}{side}").unlink(missing_ok=True)
