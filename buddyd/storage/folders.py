"""Folders and files whose names and content outlast a power loss."""

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder for the own user alone, and those above it that are missing.

    Raises OSError.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    # SQLite syncs the folder that its files are in; that this one is there, is to be synced above.
    sync(folder.parent)


def size_of(file: Path) -> int:
    """In bytes; 0 where there is no such file, or none any more. Opens nothing."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def sync(place: Path) -> None:
    """Have a file, or the names in a folder, on the disk; raises OSError.

    Never to be used on a database that is open: it closes a descriptor of its own.
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
