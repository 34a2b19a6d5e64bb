"""The errors that callers decide by: one class for each decision."""


class BuddydError(Exception):
    """Anything that buddyd raises on purpose. Its text is a sentence that a person can act on."""


class RequestRefused(BuddydError):
    """A request that the daemon will not serve as it stands; sending it again is of no use."""


class InvalidParams(RequestRefused):
    """A parameter is wrong. `path` says which one, such as `$.executions[3].duration_seconds`."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Unavailable(BuddydError):
    """It cannot be done for now; try again after `retry_after_seconds`."""

    def __init__(self, reason: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class StorageRefused(Unavailable):
    """The database takes no writes for now: the disk is full, or another program holds a lock."""


class FatalError(BuddydError):
    """The daemon must end. `exit_code` is from sysexits.h."""

    exit_code = 70


class StorageBroken(FatalError):
    """The database cannot be opened, read or written, and trying again will not help."""

    exit_code = 74


class AlreadyRunning(FatalError):
    """Another daemon holds the database or the socket."""

    exit_code = 75


class ConfigurationError(FatalError):
    """The configuration is wrong; the text names file, key and reason."""

    exit_code = 78


class ActorGaveUp(FatalError):
    """An actor crashed too often in too short a time; the text names the actor and the cause."""
