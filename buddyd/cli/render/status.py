"""How the daemon itself does."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Column, Facts, Table, Tone, View
from buddyd.domain.answers import ActorStatus, DaemonStatus

_TONES: dict[str, Tone] = {"running": "good"}

_COLUMNS = [
    Column("Actor", "name", ("name",)),
    Column("State", "word", ("state",)),
    Column("Restarts", "number", ("restarts",)),
    Column("Mailbox", "number", ("mailbox_depth", "mailbox_capacity")),
    Column("Behind", "number", ("behind",)),
    Column("Last error", "text", ("last_error",)),
]


def view(answer: DaemonStatus) -> View:
    """The daemon, its records and database, and one row for each actor."""
    return [
        Facts(f"buddyd {cells.printable(answer.version)}", _daemon(answer), "daemon"),
        Facts("Database", _database(answer), "database"),
        Table(
            "Actors",
            _COLUMNS,
            [_actor(actor) for actor in answer.actors],
            "There are none.",
            "actors",
        ),
    ]


def _daemon(answer: DaemonStatus) -> dict[str, Cell]:
    records = answer.records
    return {
        "Process": Cell(str(answer.pid), answer.pid),
        "Up for": cells.seconds(answer.uptime_seconds),
        "Socket": cells.said(answer.socket),
        "Connections": cells.count(answer.connections),
        "Accepted": cells.count(records.accepted),
        "Duplicates": cells.count(records.duplicate),
        "Expired": cells.count(records.expired),
        "Refused": cells.count(records.refused, "bad"),
    }


def _database(answer: DaemonStatus) -> dict[str, Cell]:
    database = answer.database
    last = database.last_commit
    return {
        "File": cells.said(database.path),
        "Size": cells.size(database.size_bytes),
        "Commits": cells.count(database.commits),
        "Last commit": cells.NOTHING if last is None else cells.ago(last, answer.timestamp),
        "SQLite": cells.said(f"{database.sqlite_version}, schema {database.schema_version}"),
    }


def _actor(actor: ActorStatus) -> list[Cell]:
    return [
        cells.name(actor.name),
        cells.word(actor.state, _TONES),
        cells.count(actor.restarts, "warning"),
        Cell(
            f"{actor.mailbox_depth:,} / {actor.mailbox_capacity:,}",
            (actor.mailbox_depth, actor.mailbox_capacity),
        ),
        cells.count(actor.behind, "warning"),
        cells.name(actor.last_error),
    ]
