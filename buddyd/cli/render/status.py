"""How the daemon itself does."""

from buddyd.cli.render import cells
from buddyd.cli.render.view import Cell, Facts, Table, Tone, View, columns
from buddyd.domain.answers import ActorStatus, DaemonStatus

_TONES: dict[str, Tone] = {"running": "good"}


def view(answer: DaemonStatus) -> View:
    """The daemon, its records and database, and one row for each actor."""
    return [
        Facts(f"buddyd {cells.printable(answer.version)}", _daemon(answer)),
        Facts("Database", _database(answer)),
        Table(
            "Actors",
            columns(
                ("Actor", "name"),
                ("State", "word"),
                ("Restarts", "number"),
                ("Mailbox", "number"),
                ("Behind", "number"),
                ("Last error", "text"),
            ),
            [_actor(actor) for actor in answer.actors],
            "There are none.",
        ),
    ]


def _daemon(answer: DaemonStatus) -> dict[str, Cell]:
    records = answer.records
    return {
        "Process": cells.said(f"{answer.pid}, up for {cells.span(answer.uptime_seconds)}"),
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
        cells.said(f"{actor.mailbox_depth:,} / {actor.mailbox_capacity:,}", actor.mailbox_depth),
        cells.count(actor.behind, "warning"),
        cells.name(actor.last_error),
    ]
