"""The configuration: a TOML file, checked and frozen.

The structs are the reference of the file: a field is a key, a struct with a section's name is
that section, and a key that the file leaves out has the default that stands here. Whatever is
wrong with a file is told with the file, the key, the reason, and what would be right.
"""

import grp
import os
import pwd
import tomllib
from collections.abc import Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from buddyd.config_wording import explain
from buddyd.errors import ConfigurationError
from buddyd.paths import config_file

_LOCALTIME = Path("/etc/localtime")
_LARGEST_ID = 2**32 - 2
_MONTH_SECONDS = 2_592_000
MOST_BUDGETS = 100

Count = Annotated[int, Meta(ge=1, le=100_000)]
# So much that it makes a difference to a time of day, and that time passes between two looks.
Seconds = Annotated[float, Meta(ge=0.1, le=_MONTH_SECONDS)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Who = str | Annotated[int, Meta(ge=0, le=_LARGEST_ID)]
RoleName = Literal["record", "query", "admin"]
Level = Literal["debug", "info", "warning", "error", "critical"]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Retention(Section, frozen=True, kw_only=True):
    """How long is kept what was recorded."""

    tier1_hours: Annotated[int, Meta(ge=24, le=87_600)] = 24
    """Hours that single executions are kept."""
    tier2_days: Annotated[int, Meta(ge=1, le=3_650)] = 30
    """Days that hourly summaries are kept."""
    dedupe_days: Annotated[int, Meta(ge=1, le=3_650)] = 7
    """Days that an `execution_id` is remembered, so that its record counts once."""


class Limits(Section, frozen=True, kw_only=True):
    """What clients can make the daemon hold."""

    # From 2**30 on the first byte of a frame's length could be taken for JSON.
    max_message_bytes: Annotated[int, Meta(ge=1_024, le=2**30)] = 8_388_608
    """Bytes of one message, at most."""
    max_connections: Count = 1_024
    """Connections at once, at most."""
    max_agents: Count = 1_000
    """Agents told apart; those beyond count under `~other`."""
    max_tools: Count = 1_000
    """Tools told apart; those beyond count under `~other`."""


class Agents(Section, frozen=True, kw_only=True):
    """When an agent counts as gone."""

    offline_after_seconds: Seconds = 120
    """Seconds of silence after which an agent that has reported before is `OFFLINE`."""
    execution_timeout_seconds: Seconds = 3_600
    """Seconds after which a started execution no longer keeps its agent busy."""


class Learning(Section, frozen=True, kw_only=True):
    """How the success of a tool becomes its confidence level."""

    min_executions: Annotated[int, Meta(ge=1, le=10**9)] = 3
    """Executions below which a tool is new, and its level `MEDIUM`."""
    high_success_rate: Rate = 0.95
    """Share of successes from which the level is `HIGH`."""
    medium_success_rate: Rate = 0.80
    """Share of successes from which the level is `MEDIUM`; below it is `LOW`."""


class Capacity(Section, frozen=True, kw_only=True):
    """How far ahead the forecasts look."""

    window_seconds: Annotated[int, Meta(ge=300, le=86_400)] = 3_600
    """Seconds ahead that the capacity of an agent is forecast for."""


class Cost(Section, frozen=True, kw_only=True):
    """What things cost."""

    storage_price_per_gib_month: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.18
    """US dollars for a GiB kept for a month."""


class Risk(Section, frozen=True, kw_only=True):
    """When a cost is out of the ordinary."""

    cost_anomaly_factor: Annotated[float, Meta(gt=1, le=1_000_000)] = 2.0
    """Times the usual cost above which an execution is a cost anomaly."""
    min_executions: Annotated[int, Meta(ge=1, le=10**9)] = 5
    """Earlier executions that it takes to know what is usual."""


class Budget(Section, frozen=True, kw_only=True):
    """A limit to what may be spent: on an agent, on a tool, or without either on all."""

    limit: Annotated[float, Meta(ge=1e-9, le=1_000_000_000)]
    """US dollars, which are counted in billionths."""
    period: Literal["day", "month"]
    """Both begin at midnight in `timezone`."""
    agent: Name | None = None
    tool: Name | None = None


class Access(Section, frozen=True, kw_only=True):
    """Who has which role: users by name or uid, groups as `@name` or `@gid`, `*` for everyone."""

    record: tuple[Who, ...] = ("*",)
    """Who may record, of those who can open the socket."""
    query: tuple[Who, ...] = ("*",)
    """Who may ask, of those who can open the socket."""
    admin: tuple[Who, ...] = ()
    """Who may administer, beside root and the daemon's own user."""


class Log(Section, frozen=True, kw_only=True):
    """What is logged, and how."""

    level: Level = "info"
    """The least severe level that is logged."""
    format: Literal["auto", "journald", "console", "json"] = "auto"
    """`auto`: journald under systemd, console on a terminal, else json."""


class Settings(Section, frozen=True, kw_only=True):
    """Everything that can be configured."""

    socket: str | None = None
    """Path of the socket; None for the place that `buddyd.paths` finds."""
    database: str | None = None
    """Path of the database; None for the place that `database_path` finds."""
    durability: Literal["full", "normal"] = "full"
    """What an accepted record survives: `full` a power loss, `normal` a crash of the process."""
    timezone: str = "local"
    """Where the day begins at midnight: an IANA name, or `local` for the host's zone."""
    retention: Retention = Retention()
    limits: Limits = Limits()
    agents: Agents = Agents()
    learning: Learning = Learning()
    capacity: Capacity = Capacity()
    cost: Cost = Cost()
    risk: Risk = Risk()
    budget: tuple[Budget, ...] = ()
    access: Access = Access()
    log: Log = Log()


class Loaded(NamedTuple):
    """The settings in force and the file they were read from; None where there was none."""

    settings: Settings
    file: Path | None


class Principals(NamedTuple):
    """Whom an access list names."""

    everyone: bool
    uids: frozenset[int]
    gids: frozenset[int]


# Reading


def load(path: Path | None = None, env: Mapping[str, str] = os.environ) -> Loaded:
    """The settings of the file at `path`, else of the first file found, else the defaults.

    Raises ConfigurationError for whatever would make the daemon run otherwise than was meant.
    """
    file = path or config_file(env)
    if file is None:
        return Loaded(Settings(), None)
    try:
        settings = _convert(_parse(file))
        _check(settings)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from error
    return Loaded(settings, file)


def _home(env: Mapping[str, str]) -> Path:
    return Path(env.get("HOME") or "/")


def _parse(file: Path) -> dict[str, Any]:
    """The tables of a TOML file; raises ConfigurationError."""
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise ConfigurationError(f"The file cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8, which TOML has to be"
        raise ConfigurationError(f"The file is not TOML: {reason}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The file is not TOML: {error}.") from error
    except RecursionError as error:
        raise ConfigurationError("The file is nested too deeply.") from error


def _convert(tables: dict[str, Any]) -> Settings:
    try:
        return msgspec.convert(tables, Settings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(explain(tables, str(error), Settings)) from error


def _check(settings: Settings) -> None:
    """Raise ConfigurationError for what a type cannot say."""
    learning = settings.learning
    if learning.medium_success_rate > learning.high_success_rate:
        raise ConfigurationError(
            f"learning.medium_success_rate is {learning.medium_success_rate}, but must not be "
            f"above learning.high_success_rate, which is {learning.high_success_rate}."
        )
    if len(settings.budget) > MOST_BUDGETS:
        raise ConfigurationError(
            f"There are {len(settings.budget)} [[budget]] tables, but at most {MOST_BUDGETS} are "
            "counted."
        )
    for index, budget in enumerate(settings.budget):
        if budget.agent is not None and budget.tool is not None:
            raise ConfigurationError(
                f"budget[{index}] names an agent and a tool, but a budget is for one of them, or "
                "for neither."
            )
    timezone(settings)
    for role in ("record", "query", "admin"):
        principals(settings.access, role)


# What follows from the settings


def timezone(
    settings: Settings, env: Mapping[str, str] = os.environ, localtime: Path = _LOCALTIME
) -> tzinfo:
    """The zone in which a day begins, with its daylight saving time.

    Raises ConfigurationError where the host knows no zone of the configured name.
    """
    if settings.timezone == "local":
        return _local_zone(env, localtime)
    zone = _zone_named(settings.timezone)
    if zone is None:
        raise ConfigurationError(
            f"timezone is {settings.timezone!r}, which is no time zone on this host; "
            'it must be "local" or a name such as "Europe/Berlin".'
        )
    return zone


def _local_zone(env: Mapping[str, str], localtime: Path) -> tzinfo:
    """The zone that $TZ names, else that of the host, else UTC."""
    by_variable = env.get("TZ", "").removeprefix(":")
    by_link = str(localtime.resolve()).rpartition("zoneinfo/")[2]
    return (
        _zone_named(by_variable)
        or _zone_in(Path(by_variable))
        or _zone_named(by_link)
        or _zone_in(localtime)
        or UTC
    )


def _zone_named(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def _zone_in(file: Path) -> ZoneInfo | None:
    """The zone that a TZif file holds."""
    try:
        with file.open("rb") as data:
            return ZoneInfo.from_file(data, key="localtime")
    except (ValueError, OSError):
        return None


def database_path(
    settings: Settings, override: str | None = None, env: Mapping[str, str] = os.environ
) -> Path:
    """Where the database is: as asked for, as configured, or the place that is customary."""
    chosen = override or settings.database
    if chosen:
        return Path(os.path.expanduser(chosen))  # noqa: PTH111 -- leaves an unknown ~user as it is
    if folders := env.get("STATE_DIRECTORY"):
        return Path(folders.split(":")[0]) / "analytics.db"
    if os.geteuid() == 0:
        return Path("/var/lib/buddyd/analytics.db")
    state = Path(env.get("XDG_STATE_HOME") or _home(env) / ".local/state")
    return state / "buddyd/analytics.db"


def principals(access: Access, role: RoleName) -> Principals:
    """Whom the list of `role` names; asks the user database, which may take a moment.

    Raises ConfigurationError for a name that is in neither database.
    """
    everyone, uids, gids = False, set(), set()
    for index, who in enumerate(getattr(access, role)):
        key = f"access.{role}[{index}]"
        if who == "*":
            everyone = True
        elif isinstance(who, str) and who.startswith("@"):
            gids.add(_gid(who[1:], key))
        else:
            uids.add(_uid(who, key))
    return Principals(everyone, frozenset(uids), frozenset(gids))


def _uid(who: str | int, key: str) -> int:
    if isinstance(who, int) or _is_id(who):
        return int(who)
    try:
        return pwd.getpwnam(who).pw_uid
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{key} is {who!r}, but this host has no user of that name; "
            'it must be a user, a uid, a group as "@name", or "*" for everyone.'
        ) from error


def _gid(group: str, key: str) -> int:
    if _is_id(group):
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{key} is {'@' + group!r}, but this host has no group of that name; "
            "it must be a group's name or gid after the @."
        ) from error


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= _LARGEST_ID
