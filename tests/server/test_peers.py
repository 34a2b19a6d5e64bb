import os
import pwd
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from buddyd.config import Access
from buddyd.errors import ConfigurationError
from buddyd.protocol.messages import Role
from buddyd.server import peers
from buddyd.server.peers import AccessPolicy, Peer, credentials

pytestmark = pytest.mark.anyio

EVERY_ROLE = frozenset(Role)
NOBODY = AccessPolicy(Access(record=(), query=(), admin=()), own_uid=1)


def peer(uid: int = 54321, gid: int = 54321) -> Peer:
    """A process of a user whom no database knows."""
    return Peer(pid=1, uid=uid, gid=gid)


def member_of_a_second_group() -> tuple[int, int, int]:
    """(uid, primary gid, another gid) of somebody on this host, root apart."""
    for user in pwd.getpwall():
        others = set(os.getgrouplist(user.pw_name, user.pw_gid)) - {user.pw_gid}
        if others and user.pw_uid:
            return user.pw_uid, user.pw_gid, min(others)
    pytest.skip("nobody on this host is in a second group")


@pytest.fixture
def own_uid() -> Iterator[int]:
    """The uid with which the test runs: not root's, and where it can be, a high one."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(4_000_000_000)
    yield os.geteuid()
    os.seteuid(before)


def test_the_kernel_tells_who_is_at_the_other_end(own_uid: int) -> None:
    left, right = socket.socketpair()
    with left, right:
        assert credentials(left) == (os.getpid(), own_uid, os.getegid())


def test_a_connection_over_a_path_tells_the_client(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client.connect(str(tmp_path / "s"))
        connection, _ = listener.accept()
        with connection:
            assert credentials(connection).uid == os.geteuid()


async def test_by_default_whoever_can_connect_records_and_asks() -> None:
    assert await AccessPolicy(Access()).roles(peer()) == {Role.RECORD, Role.QUERY}


async def test_root_and_the_daemons_own_user_may_do_everything() -> None:
    assert await NOBODY.roles(peer(uid=0)) == EVERY_ROLE
    assert await NOBODY.roles(peer(uid=1)) == EVERY_ROLE
    assert await NOBODY.roles(peer(uid=2)) == frozenset()


async def test_the_daemons_own_user_is_the_one_it_runs_as(own_uid: int) -> None:
    policy = AccessPolicy(Access(record=(), query=()))
    assert await policy.roles(peer(uid=own_uid)) == EVERY_ROLE
    assert await policy.roles(peer(uid=own_uid + 1)) == frozenset()


async def test_everyone_may_administer_where_the_configuration_says_so() -> None:
    assert await AccessPolicy(Access(admin=("*",))).roles(peer()) == EVERY_ROLE


@pytest.mark.parametrize("who", [54321, "54321", "@54321"])
async def test_users_and_primary_groups_are_known_by_number(who: str | int) -> None:
    policy = AccessPolicy(Access(record=(who,), query=()))
    assert await policy.roles(peer()) == {Role.RECORD}
    assert await policy.roles(peer(uid=1234, gid=1234)) == frozenset()


async def test_users_are_known_by_name() -> None:
    name, uid = next((user.pw_name, user.pw_uid) for user in pwd.getpwall() if user.pw_uid)
    policy = AccessPolicy(Access(record=(name,), query=()))
    assert await policy.roles(peer(uid=uid)) == {Role.RECORD}
    assert await policy.roles(peer()) == frozenset()


async def test_a_second_group_counts_by_the_user_database() -> None:
    uid, primary, second = member_of_a_second_group()
    policy = AccessPolicy(Access(record=(), query=(f"@{second}",)))
    assert await policy.roles(peer(uid=uid, gid=primary)) == {Role.QUERY}
    assert await policy.roles(peer()) == frozenset()


async def test_membership_is_asked_again_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    policy = AccessPolicy(Access(record=(), query=("@777",)), clock=lambda: now)
    uid, primary, _ = member_of_a_second_group()
    asker = peer(uid=uid, gid=primary)
    assert await policy.roles(asker) == frozenset()
    # To change the host's user database is not for a test.
    monkeypatch.setattr(os, "getgrouplist", lambda *_: [primary, 777])
    now += 59.0
    assert await policy.roles(asker) == frozenset()
    now += 1.0
    with anyio.fail_after(10):
        # Until the answer is there, the old one counts.
        while await policy.roles(asker) != {Role.QUERY}:  # noqa: ASYNC110 - nobody is told
            await anyio.sleep(0.001)


async def test_a_user_database_that_hangs_keeps_only_those_waiting_whom_it_never_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    uid, primary, second = member_of_a_second_group()
    access = Access(record=(), query=(f"@{second}",), admin=(999,))
    policy = AccessPolicy(access, own_uid=1, clock=lambda: now)
    member = peer(uid=uid, gid=primary)
    assert await policy.roles(member) == {Role.QUERY}
    answers, asked = threading.Event(), []

    def hang(user: str, gid: int) -> list[int]:
        asked.append(user)
        answers.wait(20)
        return [gid]

    monkeypatch.setattr(os, "getgrouplist", hang)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.getpwnam("root"))
    now += 3600.0
    for _ in range(3):
        assert await policy.roles(member) == {Role.QUERY}
        assert await policy.roles(peer(uid=999, gid=second)) == {Role.QUERY, Role.ADMIN}
        assert await policy.roles(peer(uid=0)) == EVERY_ROLE
    with anyio.move_on_after(0.05) as waiting:
        await policy.roles(peer(uid=999))
    assert waiting.cancelled_caught
    # Once each, whoever comes meanwhile.
    assert len(asked) == 2
    # Of whom it has never told, the groups are given up after a while.
    monkeypatch.setattr(peers, "_PATIENCE_SECONDS", 0.05)
    assert await policy.roles(peer(uid=999)) == {Role.ADMIN}
    answers.set()
    with anyio.fail_after(10):
        assert await policy.roles(peer(uid=999)) == {Role.ADMIN}


@pytest.mark.parametrize(
    ("access", "key"),
    [
        (Access(record=("root", "no such user")), r"access.record\[1\]"),
        (Access(admin=("@no such group",)), r"access.admin\[0\]"),
    ],
)
def test_an_unknown_name_is_refused_by_its_key(access: Access, key: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        AccessPolicy(access)
