"""Who records where nothing says so."""

import os
import pwd

_LONGEST_NAME = 256


def default_agent() -> str:
    """$BUDDYD_AGENT, else the user on this host."""
    return os.environ.get("BUDDYD_AGENT") or f"{_user()}@{os.uname().nodename}"[:_LONGEST_NAME]


def _user() -> str:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if name := os.environ.get(variable):
            return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
