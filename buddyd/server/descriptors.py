"""File descriptors: how many there may be, and one that is kept for the moment of need."""

import os
import resource

import structlog

log = structlog.get_logger()

KEPT_FREE = 128
"""For the database, its readers and backups, the log, and connections that are turned away."""


def room_for(connections: int) -> int:
    """How many of so many connections there is room for, after asking for the room they take.

    A program may raise its own limit up to the one that the host has set for it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    wanted = connections + KEPT_FREE
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    room = min(connections, max(soft - KEPT_FREE, soft // 2))
    if room < connections:
        log.warning("fewer connections than configured", room=room, limit_nofile=soft)
    return room


class SpareDescriptor:
    """A descriptor that is given up so that one connection can be told that there are no more."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self.take_back()

    def give_up(self) -> bool:
        """Make room for one; False where it is given up already."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    def take_back(self) -> None:
        """Keep one again, where there is one."""
        if self._descriptor is None:
            try:
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                # The next accept() says so too.
                return
