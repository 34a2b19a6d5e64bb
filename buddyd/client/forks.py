"""What a child process must not share with its parent after a fork: connections, locks, threads."""

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something whose copy in a child has to begin anew."""

    def forget(self) -> None:
        """Drop what is the parent's, without disturbing it there; no other thread runs yet."""


loading = threading.RLock()
"""Held by a thread in the background while it imports. A fork waits for that: in the child the
module would stay half loaded for ever, for the thread that loads it is not there."""

_known: WeakSet[Forgetful] = WeakSet()


def forget_in_children(one: Forgetful) -> None:
    """Have `one.forget()` called in every child that is forked while `one` lives."""
    _known.add(one)


def _in_child() -> None:
    loading.release()
    for one in list(_known):
        one.forget()


os.register_at_fork(
    before=loading.acquire, after_in_parent=loading.release, after_in_child=_in_child
)
