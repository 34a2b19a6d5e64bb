"""Who is at the other end of a connection, and what they may do."""

import os
import pwd
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from buddyd import config
from buddyd.protocol.messages import Role

_CREDENTIALS = struct.Struct("iII")
_EVERY_ROLE = frozenset(Role)
_ROOT = 0
_MEMBERSHIP_SECONDS = 60.0
_MOST_MEMBERSHIPS = 1_024


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

    Names are resolved when it is made, which raises ConfigurationError for an unknown one, and a
    change of the user database shows in a new policy. Who is in which group is asked when it
    matters, and remembered for a minute.
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
        self._memberships: dict[int, tuple[float, frozenset[int]]] = {}

    def roles(self, peer: Peer) -> frozenset[Role]:
        """What `peer` may do."""
        if peer.uid in self._trusted:
            return _EVERY_ROLE
        return frozenset(role for role in Role if self._holds(peer, self._holders[role]))

    def _holds(self, peer: Peer, holders: config.Principals) -> bool:
        if holders.everyone or peer.uid in holders.uids or peer.gid in holders.gids:
            return True
        return bool(holders.gids) and not holders.gids.isdisjoint(self._groups(peer.uid))

    def _groups(self, uid: int) -> frozenset[int]:
        """The gids that the user database, as of the last minute, gives `uid`."""
        now = self._clock()
        asked_at, groups = self._memberships.get(uid, (-_MEMBERSHIP_SECONDS, frozenset()))
        if now - asked_at < _MEMBERSHIP_SECONDS:
            return groups
        if len(self._memberships) >= _MOST_MEMBERSHIPS:
            self._memberships.clear()
        groups = _groups_of(uid)
        self._memberships[uid] = (now, groups)
        return groups


def _groups_of(uid: int) -> frozenset[int]:
    """What the user database says; a uid that it does not know is in no group."""
    try:
        user = pwd.getpwuid(uid)
        return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))
    except (KeyError, OSError):
        return frozenset()
