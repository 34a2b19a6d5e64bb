"""Backups: a whole copy of one moment, which overwrites nothing and is nobody else's."""

import fcntl
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from buddyd.errors import InvalidParams, StorageRefused
from buddyd.storage import backup
from buddyd.storage.database import Database
from buddyd.storage.journal import Journal
from tests.actors.house import until
from tests.storage.records import (
    NOW,
    by_another_program,
    content,
    execution,
    opened_journal,
    records,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "state" / "analytics.db"


@pytest.fixture
async def both(source: Path) -> AsyncIterator[tuple[Database, Journal]]:
    async with opened_journal(source) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where backups go."""
    path = tmp_path / "backups"
    path.mkdir()
    return path


@pytest.fixture
def taken(folder: Path) -> Path:
    """The path of something that is there already."""
    path = folder / "taken.db"
    path.write_text("mine")
    return path


@pytest.fixture
def dangling(folder: Path) -> Path:
    """A link to nowhere."""
    path = folder / "link"
    path.symlink_to(folder / "elsewhere")
    return path


def modes(folder: Path) -> dict[str, int]:
    """The rights of every file in a folder."""
    return {file.name: stat.S_IMODE(file.lstat().st_mode) for file in folder.iterdir()}


async def reason(source: Path, target: Path) -> str:
    """Why there is no backup at `target`."""
    with pytest.raises(InvalidParams) as caught:
        await backup.write(source, target)
    assert caught.value.path == "$.path"
    return caught.value.reason


async def test_a_copy_while_records_keep_coming_is_whole_and_of_one_moment(
    both: tuple[Database, Journal], source: Path, folder: Path
) -> None:
    _, journal = both
    copies = [folder / f"{number}.db" for number in range(5)]
    done = anyio.Event()
    committed: list[int] = []

    async def keep_recording() -> None:
        while not done.is_set():
            await journal.append([records(*(execution() for _ in range(50)))], NOW)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_recording)
        for copy in copies:
            committed.append(journal.last_seq)
            size = await backup.write(source, copy)
            assert size == len(content(copy))
        done.set()
    for before, copy in zip(committed, copies, strict=True):
        with by_another_program(copy) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            query = "SELECT count(*), max(seq) FROM tier1_raw_metrics"
            found, last = connection.execute(query).fetchone()
            assert found == (last or 0) >= before
            assert found % 50 == 0


async def test_a_copy_can_be_opened_in_the_place_of_the_original(
    both: tuple[Database, Journal], source: Path, folder: Path
) -> None:
    await both[1].append([records(execution("a"))], NOW)
    await backup.write(source, folder / "copy.db")
    async with opened_journal(folder / "copy.db") as (_, journal):
        assert journal.last_seq == 1
        again = await journal.append([records(execution("a"))], NOW)
        assert again.receipts[0].duplicates == 1


@pytest.mark.usefixtures("both")
async def test_a_copy_is_its_owners_alone_and_the_only_new_file(source: Path, folder: Path) -> None:
    before = os.umask(0)
    try:
        await backup.write(source, folder / "copy.db")
    finally:
        os.umask(before)
    assert modes(folder) == {"copy.db": 0o600}


@pytest.mark.usefixtures("both")
async def test_it_overwrites_nothing(
    source: Path, folder: Path, taken: Path, dangling: Path
) -> None:
    assert "exists already" in await reason(source, taken)
    assert content(taken) == b"mine"
    assert "exists already" in await reason(source, dangling)
    assert "exists already" in await reason(source, source)
    assert modes(folder).keys() == {taken.name, dangling.name}


@pytest.mark.usefixtures("both")
async def test_a_path_that_cannot_be_written_is_the_callers_fault(
    source: Path, folder: Path, taken: Path
) -> None:
    assert await reason(source, Path("copy.db")) == "Expected an absolute path"
    assert "No such file or directory" in await reason(source, folder / "nowhere" / "copy.db")
    assert "Not a directory" in await reason(source, taken / "copy.db")
    assert "NUL" in await reason(source, folder / "a\0b")
    assert "too long" in await reason(source, folder / ("x" * 300))


async def test_a_copy_that_could_not_be_finished_leaves_nothing_behind(
    source: Path, folder: Path
) -> None:
    # There is nothing to copy from.
    with pytest.raises(StorageRefused, match=r"The backup to .* failed"):
        await backup.write(source, folder / "copy.db")
    assert modes(folder) == {}


async def test_a_copy_that_is_called_off_leaves_nothing_behind(
    both: tuple[Database, Journal], source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "STEP_PAGES", 1)
    await both[1].append([records(*(execution() for _ in range(5_000)))], NOW)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backup.write, source, folder / "copy.db")
        await until(lambda: any(file.stat().st_size for file in folder.iterdir()))
        tasks.cancel_scope.cancel()
    assert modes(folder) == {}


@pytest.mark.usefixtures("both")
async def test_what_killed_daemons_left_of_copies_is_removed_and_nothing_else(
    source: Path, folder: Path
) -> None:
    left, used = (folder / f".{day}.db.{uuid4().hex}.partial" for day in ("monday", "tuesday"))
    others = folder / ".mine.partial"
    for file in (left, used, others):
        file.touch()
    with used.open() as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        await backup.write(source, folder / "copy.db")
    assert modes(folder).keys() == {used.name, others.name, "copy.db"}
