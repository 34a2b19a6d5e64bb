import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd import config, paths
from buddyd.config import Access, Principals, Settings
from buddyd.errors import ConfigurationError

SAMPLE = Path(__file__).parents[1] / "config/buddyd.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "buddyd.toml"


def complaint(file: Path, text: str) -> str:
    """What the author of a file that says `text` is told, without the file's name."""
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        config.load(file)
    name, _, reason = str(caught.value).partition(": ")
    assert name == str(file)
    return reason


@contextmanager
def refusal_names(keys: Iterable[str]) -> Iterator[None]:
    """A refusal is fine that begins with one of `keys`."""
    try:
        yield
    except ConfigurationError as error:
        if not str(error).startswith(tuple(keys)):
            raise


# Finding the file


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    if not Path("/etc/buddyd/buddyd.toml").exists():
        assert config.load(env=env) == (Settings(), None)


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("XDG_CONFIG_HOME", "buddyd/buddyd.toml"),
        ("HOME", ".config/buddyd/buddyd.toml"),
    ],
)
def test_daemon_and_clients_find_the_users_file(tmp_path: Path, variable: str, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text('socket = "/somewhere/s"')
    env = {variable: str(tmp_path)}
    loaded = config.load(env=env)
    assert loaded.file == file
    assert loaded.settings.socket == "/somewhere/s"
    assert paths.find_socket(env=env) == Path("/somewhere/s")


def test_the_named_file_goes_before_the_found_one(tmp_path: Path, file: Path) -> None:
    found = tmp_path / "buddyd/buddyd.toml"
    found.parent.mkdir()
    found.write_text('durability = "full"')
    file.write_text('durability = "normal"')
    loaded = config.load(file, {"XDG_CONFIG_HOME": str(tmp_path)})
    assert loaded.settings.durability == "normal"


def test_a_named_file_that_does_not_exist_is_an_error(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"^{file}: .*No such file") as caught:
        config.load(file)
    assert caught.value.exit_code == 78


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        config.load(tmp_path)


# What a file says


def test_what_a_file_leaves_out_keeps_its_default(file: Path) -> None:
    file.write_text("[limits]\nmax_agents = 5\n")
    settings = config.load(file).settings
    assert settings.limits.max_agents == 5
    assert settings.limits.max_tools == Settings().limits.max_tools


def test_a_whole_number_will_do_for_a_fraction(file: Path) -> None:
    file.write_text("risk.cost_anomaly_factor = 3\nagents.offline_after_seconds = 0.5\n")
    settings = config.load(file).settings
    assert settings.risk.cost_anomaly_factor == 3.0
    assert settings.agents.offline_after_seconds == 0.5


def uncommented(text: str) -> str:
    return re.sub(r"^# (\w+ = .*|\[\[.*)$", r"\1", text, flags=re.MULTILINE)


def test_the_sample_holds_every_key_at_its_default() -> None:
    assert config.load(SAMPLE).settings == Settings()
    tables = tomllib.loads(uncommented(SAMPLE.read_text()))
    keys = msgspec.to_builtins(Settings())
    assert {name: set(table) for name, table in tables.items() if isinstance(table, dict)} == {
        name: set(table) for name, table in keys.items() if isinstance(table, dict)
    }
    assert set(tables) == set(keys)


def test_the_commented_keys_of_the_sample_are_valid(file: Path) -> None:
    file.write_text(uncommented(SAMPLE.read_text()))
    settings = config.load(file).settings
    assert settings.socket == "/run/buddyd/buddyd.sock"
    assert settings.database == "/var/lib/buddyd/analytics.db"
    assert settings.budget == (
        config.Budget(limit=50.0, period="month"),
        config.Budget(limit=2.0, period="day", agent="scout"),
    )


# What is wrong with a file


COMPLAINTS = {
    "[retention]\ntier1_hours = 12": (
        "retention.tier1_hours is 12, but must be a whole number from 24 to 87600."
    ),
    "[retention]\ntier1_hours = '24'": (
        "retention.tier1_hours is '24', but must be a whole number from 24 to 87600."
    ),
    "[retention]\ntier2_days = true": (
        "retention.tier2_days is True, but must be a whole number from 1 to 3650."
    ),
    "[risk]\ncost_anomaly_factor = 1.0": (
        "risk.cost_anomaly_factor is 1.0, but must be a number above 1 and at most 1000000."
    ),
    "[learning]\nhigh_success_rate = nan": (
        "learning.high_success_rate is nan, but must be a number from 0 to 1."
    ),
    "[agents]\noffline_after_seconds = inf": (
        "agents.offline_after_seconds is inf, but must be a number from 0.1 to 2592000."
    ),
    "[agents]\noffline_after_seconds = 1e-8": (
        "agents.offline_after_seconds is 1e-08, but must be a number from 0.1 to 2592000."
    ),
    "durability = 'some'": 'durability is \'some\', but must be "full" or "normal".',
    "socket = 5": "socket is 5, but must be text in quotation marks.",
    "log = 'info'": "log is 'info', but must be a section with keys of its own.",
    "[access]\nrecord = ['*', 1.5]": (
        "access.record[1] is 1.5, but must be text in quotation marks or a whole number from "
        "0 to 4294967294."
    ),
    "[access]\nrecord = '*'": (
        "access.record is '*', but must be a list, each item text in quotation marks or a "
        "whole number from 0 to 4294967294."
    ),
    "[retention]\ntier2_days = 30\ntier1_hour = 24": (
        "retention.tier1_hour is not a known key. Did you mean tier1_hours? The keys of "
        "[retention] are tier1_hours, tier2_days, dedupe_days."
    ),
    "xyzzy = 1": (
        "xyzzy is not a known key. The top-level keys are socket, database, "
        "durability, timezone, retention, limits, agents, learning, capacity, cost, risk, "
        "budget, access, log."
    ),
    "[learning]\nmedium_success_rate = 0.96": (
        "learning.medium_success_rate is 0.96, but must not be above "
        "learning.high_success_rate, which is 0.95."
    ),
    "[[budget]]\nlimit = 0\nperiod = 'day'": (
        "budget[0].limit is 0, but must be a number from 0.000000001 to 1000000000."
    ),
    "[[budget]]\nlimit = 5\nperiod = 'week'": (
        'budget[0].period is \'week\', but must be "day" or "month".'
    ),
    "[[budget]]\nlimit = 5": 'budget[0].period is missing; it must be "day" or "month".',
    "[[budget]]\nlimit = 5\nperiod = 'day'\ntools = 'x'": (
        "budget[0].tools is not a known key. Did you mean tool? The keys of [[budget]] are limit, "
        "period, agent, tool."
    ),
    "[[budget]]\nlimit = 5\nperiod = 'day'\ntool = 'x'\nagent = 'y'": (
        "budget[0] names an agent and a tool, but a budget is for one of them, or for neither."
    ),
    "[[budget]]\nlimit = 1\nperiod = 'day'\n" * 101: (
        "There are 101 [[budget]] tables, but at most 100 are counted."
    ),
    "timezone = 'Mars/Olympus'": (
        "timezone is 'Mars/Olympus', which is no time zone on this host; it must be \"local\" "
        'or a name such as "Europe/Berlin".'
    ),
    "[access]\nquery = ['root', 'no such user']": (
        "access.query[1] is 'no such user', but this host has no user of that name; it must "
        'be a user, a uid, a group as "@name", or "*" for everyone.'
    ),
    "[access]\nadmin = ['@no such group']": (
        "access.admin[0] is '@no such group', but this host has no group of that name; it "
        "must be a group's name or gid after the @."
    ),
}
"""What a file says, and what its author is told."""


@pytest.mark.parametrize(("text", "reason"), COMPLAINTS.items())
def test_a_wrong_key_is_named_with_what_would_be_right(file: Path, text: str, reason: str) -> None:
    assert complaint(file, text) == reason


def test_a_syntax_error_is_told_with_its_line(file: Path) -> None:
    reason = complaint(file, 'durability = "full"\nsocket = \n')
    assert reason == "The file is not TOML: Invalid value (at line 2, column 10)."


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = " + b"[" * 5_000, b"a = 1\na = 2"])
def test_what_is_no_toml_is_refused_in_plain_words(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r": The file is "):
        config.load(file)


KEYS = st.sampled_from(["retention", "access", "record", "tier1_hours", "log", "x", "a.b"])
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text("ab@*", max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(Settings.__struct_fields__) | KEYS, VALUES, max_size=3))
def test_whatever_the_tables_hold_they_are_taken_or_explained(tables: dict[str, Any]) -> None:
    with refusal_names(tables):
        assert isinstance(config._convert(tables), Settings)


# The time zone


def utc_offsets(zone: tzinfo) -> list[float]:
    """The zone's offsets from UTC in January and July, in hours."""
    offsets = (zone.utcoffset(datetime(2026, month, 1)) for month in (1, 7))  # noqa: DTZ001
    return [offset / timedelta(hours=1) for offset in offsets if offset is not None]


def test_a_named_zone_has_its_daylight_saving_time() -> None:
    assert utc_offsets(config.timezone(Settings(timezone="Europe/Berlin"))) == [1, 2]


@pytest.mark.parametrize(
    "tz", ["America/New_York", ":America/New_York", "/usr/share/zoneinfo/America/New_York"]
)
def test_the_local_zone_is_that_of_the_variable(tz: str, tmp_path: Path) -> None:
    zone = config.timezone(Settings(), {"TZ": tz}, tmp_path / "localtime")
    assert utc_offsets(zone) == [-5, -4]


@pytest.mark.parametrize("env", [{}, {"TZ": ""}, {"TZ": "nowhere"}])
def test_else_it_is_that_which_the_host_links_to(env: dict[str, str], tmp_path: Path) -> None:
    localtime = tmp_path / "localtime"
    localtime.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    zone = config.timezone(Settings(), env, localtime)
    assert str(zone) == "Europe/Berlin"


def test_a_copied_localtime_keeps_its_daylight_saving_time(tmp_path: Path) -> None:
    localtime = tmp_path / "localtime"
    localtime.write_bytes(Path("/usr/share/zoneinfo/Europe/Berlin").read_bytes())
    assert utc_offsets(config.timezone(Settings(), {}, localtime)) == [1, 2]


@pytest.mark.parametrize("content", [None, b"", b"no zone"])
def test_a_host_that_tells_no_zone_is_on_utc(content: bytes | None, tmp_path: Path) -> None:
    localtime = tmp_path / "localtime"
    if content is not None:
        localtime.write_bytes(content)
    assert config.timezone(Settings(), {}, localtime) is UTC


# The database


def test_the_database_is_where_the_nearest_word_says() -> None:
    settings = Settings(database="/configured/a.db")
    env = {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two", "XDG_STATE_HOME": "/state"}
    assert config.database_path(settings, "/given/a.db", env) == Path("/given/a.db")
    assert config.database_path(settings, None, env) == Path("/configured/a.db")
    assert config.database_path(Settings(), None, env) == Path("/var/lib/one/analytics.db")


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    settings = Settings(database="~/a.db")
    assert config.database_path(settings) == Path("/home/ann/a.db")


@pytest.mark.usefixtures("ordinary_user")
def test_an_ordinary_user_has_the_database_in_the_state_folder() -> None:
    def place(env: dict[str, str]) -> Path:
        return config.database_path(Settings(), None, env)

    assert place({"XDG_STATE_HOME": "/state"}) == Path("/state/buddyd/analytics.db")
    assert place({"HOME": "/home/ann"}) == Path("/home/ann/.local/state/buddyd/analytics.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_root_has_the_database_among_the_hosts() -> None:
    env = {"HOME": "/root", "XDG_STATE_HOME": "/root/state"}
    assert config.database_path(Settings(), None, env) == Path("/var/lib/buddyd/analytics.db")


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """The test runs with the rights of a user who is not root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


# Whom a list names


def test_lists_name_users_groups_and_everyone() -> None:
    access = Access(record=("*",), query=("root", 1000, "1001"), admin=("@root", "@1002"))
    assert config.principals(access, "record") == Principals(True, frozenset(), frozenset())
    assert config.principals(access, "query") == Principals(
        False, frozenset({0, 1000, 1001}), frozenset()
    )
    assert config.principals(access, "admin") == Principals(
        False, frozenset(), frozenset({0, 1002})
    )


@pytest.mark.parametrize("who", ["4294967295", "٣", "@4294967295", "@", ""])
def test_what_only_looks_like_an_id_is_refused(who: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^access\.admin\[0\] is "):
        config.principals(Access(admin=(who,)), "admin")


@given(st.text("a1@*\0\udcff²", max_size=9))
def test_whatever_is_listed_is_resolved_or_refused_by_its_key(who: str) -> None:
    with refusal_names(["access.record[0] is "]):
        config.principals(Access(record=(who,)), "record")
