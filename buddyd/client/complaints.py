"""What goes wrong in the background is said in the log of the program, once for each reason."""

import threading

from buddyd.client import forks

_MOST_REASONS = 1000


class Complaints:
    """Says each reason once, by `logging`, as a warning of the logger `buddyd.client`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def say(self, sentence: str, reason: str | None = None) -> None:
        """Log `sentence`, unless its reason (by default the sentence itself) has been said."""
        key = sentence if reason is None else reason
        with self._lock:
            if key in self._said or len(self._said) >= _MOST_REASONS:
                return
            self._said.add(key)
        try:
            _log(sentence)
        except Exception:  # Not even that can be said for now; who complains must go on.
            self.settle(key)

    def settle(self, reason: str) -> None:
        """It is over: the next time is worth saying again."""
        with self._lock:
            self._said.discard(reason)


def _log(sentence: str) -> None:
    with forks.loading:
        # Most programs never get here, and it takes as long to load as all the rest.
        import logging

    logging.getLogger("buddyd.client").warning("%s", sentence)
