"""A command run in this program's place: same streams, same terminal, same signals, same end."""

import os
import resource
import signal

from msgspec import Struct

_FORWARDED = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
}
# What a key at the terminal sends is marked so by the kernel (asm-generic/siginfo.h).
_FROM_KERNEL = 0x80
_FROM_TERMINAL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}

NOT_EXECUTABLE = 126
NOT_FOUND = 127
_SIGNAL_BASE = 128


class Ending(Struct, frozen=True):
    """How a command ended: with `code`, or killed by a signal, as which shells call it 128 + n."""

    code: int
    killed_by: int | None = None

    @property
    def error_type(self) -> str | None:
        """The class of failure that it is recorded under; None where it succeeded."""
        if self.killed_by is not None:
            return f"signal_{_signal_name(self.killed_by)}"
        return f"exit_{self.code}" if self.code else None


class Child:
    """A running command; raises OSError where it cannot be run.

    From here on this program's signals are the command's: they wait until `wait` hands them on.
    """

    def __init__(self, command: tuple[str, ...]) -> None:
        # A parent that ignores its children would have the kernel throw the ending away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED | {signal.SIGCHLD})
        try:
            self._pid = os.posix_spawnp(
                command[0],
                command,
                os.environ,
                setsigmask=before,
                # Python ignores these two, and what is ignored stays so in the command.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise

    def wait(self) -> Ending:
        """How it ended; until then every signal is handed on to it.

        A key at the terminal (Ctrl-C) signals the command itself, as one of the foreground
        processes: handed on too, it would count twice.
        """
        while True:
            received = signal.sigwaitinfo(_FORWARDED | {signal.SIGCHLD})
            if received.si_signo == signal.SIGCHLD:
                if ending := self._ending():
                    return ending
            elif received.si_code != _FROM_KERNEL:
                os.kill(self._pid, received.si_signo)

    def _ending(self) -> Ending | None:
        pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            # The shell must see the job stop, also where the command stopped itself alone.
            if os.WSTOPSIG(status) in _FROM_TERMINAL:
                signal.raise_signal(os.WSTOPSIG(status))
            return None
        if os.WIFSIGNALED(status):
            return Ending(_SIGNAL_BASE + os.WTERMSIG(status), os.WTERMSIG(status))
        return Ending(os.WEXITSTATUS(status))


def unrunnable(error: OSError) -> Ending:
    """The ending of a command that could not be run, as shells tell it."""
    return Ending(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE)


def end_like(ending: Ending) -> int:
    """Die of the signal that the command died of; else the exit code to end with.

    A shell shows `$?` as 128 + n for both, but only a death by SIGINT ends its loop as well.
    """
    if ending.killed_by is None:
        return ending.code
    # The core dump of the command is enough.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ending.killed_by != signal.SIGKILL:
        signal.signal(ending.killed_by, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {ending.killed_by})
    os.kill(os.getpid(), ending.killed_by)
    return ending.code


def _signal_name(number: int) -> str:
    # Real-time signals have no names, the first and the last apart.
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)
