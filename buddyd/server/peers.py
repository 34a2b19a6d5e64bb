"""Who is at the other end of a connection, and what they may do."""

import asyncio
import os
import pwd
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import anyio
import structlog

from buddyd import config
from buddyd.protocol.messages import Role
from buddyd.runtime import background

log = structlog.get_logger()

_CREDENTIALS = struct.Struct("iII")
_EVERY_ROLE = frozenset(Role)
_ROOT = 0
_MEMBERSHIP_SECONDS = 60.0
_MOST_MEMBERSHIPS = 1_024
_PATIENCE_SECONDS = 10.0
"""How long the first lookup of a user is waited for."""
_MOST_LOOKUPS = 16
"""Users who are looked up side by side; further ones wait, for the user database is slow then."""


class Peer(NamedTuple):
    """A process as the kernel knew it when it connected."""

    pid: int
    uid: int
    gid: int


def credentials(connection: socket.socket) -> Peer:
    """The peer of a connected Unix socket; raises OSError for any other socket."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(data))


class AccessPolicy:
    """Which roles a peer has; root and the daemon's own user have all of them.

    Names are resolved when it is made, which raises ConfigurationError for an unknown one and may
    take a moment, and a change of the user database shows in a new policy. Who is in which group
    is asked when it matters, and again after a minute. A user database that does not answer keeps
    those of whom it has never told waiting for some seconds, and then they are in no group; for
    others counts what it told last.
    """

    def __init__(
        self,
        access: config.Access,
        own_uid: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trusted = {_ROOT, os.geteuid() if own_uid is None else own_uid}
        self._holders = {role: config.principals(access, role.value) for role in Role}
        self._clock = clock
        self._memberships: dict[int, _Membership] = {}
        self._lookups: set[int] = set()
        self._found = anyio.Event()

    async def roles(self, peer: Peer) -> frozenset[Role]:
        """What `peer` may do; waits for the user database only where it tells something new."""
        if peer.uid in self._trusted:
            return _EVERY_ROLE
        held = {role for role in Role if _holds(peer, self._holders[role])}
        by_groups = {role: self._holders[role].gids for role in Role if role not in held}
        if any(by_groups.values()):
            groups = await self._groups(peer.uid)
            held |= {role for role, gids in by_groups.items() if not gids.isdisjoint(groups)}
        return frozenset(held)

    async def _groups(self, uid: int) -> frozenset[int]:
        """The gids that the user database gives `uid`, as it told last.

        None where it has never told, and does not within some seconds: whoever waits for that
        keeps a connection from others.
        """
        with anyio.move_on_after(_PATIENCE_SECONDS):
            while uid not in self._memberships:
                self._look_up(uid)
                await self._found.wait()
        known = self._memberships.get(uid)
        if known is None:
            log.warning("the user database does not answer", uid=uid, seconds=_PATIENCE_SECONDS)
            return frozenset()
        if self._clock() - known.asked_at >= _MEMBERSHIP_SECONDS:
            self._look_up(uid)
        return known.groups

    def _look_up(self, uid: int) -> None:
        """Begin to ask the user database, unless that is under way."""
        if uid in self._lookups or len(self._lookups) >= _MOST_LOOKUPS:
            return
        lookup = background.begin(partial(_groups_of, uid))
        self._lookups.add(uid)
        lookup.add_done_callback(partial(self._learn, uid, self._clock()))

    def _learn(self, uid: int, asked_at: float, lookup: asyncio.Future[frozenset[int]]) -> None:
        self._lookups.discard(uid)
        if len(self._memberships) >= _MOST_MEMBERSHIPS:
            self._memberships.clear()
        self._memberships[uid] = _Membership(asked_at, lookup.result())
        found, self._found = self._found, anyio.Event()
        found.set()


class _Membership(NamedTuple):
    """The gids of a user, and when they were asked for."""

    asked_at: float
    groups: frozenset[int]


def _holds(peer: Peer, holders: config.Principals) -> bool:
    """Whether a role is held by what the kernel tells of a peer."""
    return holders.everyone or peer.uid in holders.uids or peer.gid in holders.gids


def _groups_of(uid: int) -> frozenset[int]:
    """What the user database says; a uid that it does not know is in no group."""
    try:
        user = pwd.getpwuid(uid)
        return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))
    except (KeyError, OSError, ValueError):
        return frozenset()
