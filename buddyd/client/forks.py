"""What a child process must not share with its parent after a fork: connections, locks, threads."""

import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something whose copy in a child has to begin anew."""

    def forget(self) -> None:
        """Drop what is the parent's, without disturbing it there; no other thread runs yet."""


_known: WeakSet[Forgetful] = WeakSet()


def forget_in_children(one: Forgetful) -> None:
    """Have `one.forget()` called in every child that is forked while `one` lives."""
    _known.add(one)


def _forget_all() -> None:
    for one in list(_known):
        one.forget()


os.register_at_fork(after_in_child=_forget_all)
