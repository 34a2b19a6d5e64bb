"""`buddyd install`, below another root and in a user's home.

What a running systemd makes of it is in `test_booted.py`.
"""

import os
import re
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from buddyd import install
from buddyd.errors import FatalError
from buddyd.install import hidden_from_service
from buddyd.install.plan import host_place, steps_to_install, user_place
from buddyd.install.steps import Write
from buddyd.systemd import program_line

ROOT = Path(__file__).parents[2]
UNITS = "usr/local/lib/systemd/system"


def buddyd(
    *arguments: str, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "buddyd", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
    )


def marks(output: str) -> dict[str, str]:
    """The names of the files of a list of steps, with their marks."""
    found = re.findall(r"^([+~=-]) (/\S+)", output, re.MULTILINE)
    return {Path(path).name: mark for mark, path in found}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    done = buddyd("install", "--root", str(tmp_path), "--dry-run")
    assert marks(done.stdout) == {
        "buddyd.service": "+",
        "buddyd.socket": "+",
        "buddyd.conf": "+",
        "buddyd.catalog": "+",
        "buddyd.toml": "+",
    }
    assert done.stdout.endswith("Nothing was changed.\n")
    assert files(tmp_path) == {}


def test_everything_is_put_in_place_for_everybody_to_read(tmp_path: Path) -> None:
    assert buddyd("install", "--root", str(tmp_path)).returncode == 0
    assert set(files(tmp_path)) == {
        f"{UNITS}/buddyd.service",
        f"{UNITS}/buddyd.socket",
        "usr/local/lib/sysusers.d/buddyd.conf",
        "usr/local/lib/tmpfiles.d/buddyd.conf",
        "usr/local/lib/systemd/catalog/buddyd.catalog",
        "etc/buddyd/buddyd.toml",
    }
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_the_configuration_tells_every_user_where_the_socket_is(tmp_path: Path) -> None:
    buddyd("install", "--root", str(tmp_path))
    file = tmp_path / "etc/buddyd/buddyd.toml"
    assert tomllib.loads(file.read_text())["socket"] == "/run/buddyd/buddyd.sock"
    assert buddyd("--check-config", "--config", str(file)).returncode == 0


def test_a_second_run_finds_nothing_to_do(tmp_path: Path) -> None:
    buddyd("install", "--root", str(tmp_path))
    before = files(tmp_path)
    assert buddyd("install", "--root", str(tmp_path)).stdout == "There is nothing to do.\n"
    assert files(tmp_path) == before


def test_a_unit_that_is_not_the_packages_any_more_is_replaced(tmp_path: Path) -> None:
    buddyd("install", "--root", str(tmp_path))
    unit = tmp_path / UNITS / "buddyd.service"
    wanted = unit.read_bytes()
    unit.write_text("of an earlier version")
    done = buddyd("install", "--root", str(tmp_path))
    assert marks(done.stdout) == {"buddyd.service": "~"}
    assert unit.read_bytes() == wanted


def test_a_changed_configuration_is_never_written_over(tmp_path: Path) -> None:
    buddyd("install", "--root", str(tmp_path))
    config = tmp_path / "etc/buddyd/buddyd.toml"
    default = config.read_bytes()
    config.write_text('durability = "normal"\n')
    done = buddyd("install", "--root", str(tmp_path))
    assert marks(done.stdout) == {"buddyd.toml": "=", "buddyd.toml.new": "+"}
    assert config.read_text() == 'durability = "normal"\n'
    assert config.with_name("buddyd.toml.new").read_bytes() == default
    assert "There is nothing to do." in buddyd("install", "--root", str(tmp_path)).stdout


def test_uninstalling_leaves_what_was_changed_and_says_where_the_data_are(tmp_path: Path) -> None:
    buddyd("install", "--root", str(tmp_path))
    config = tmp_path / "etc/buddyd/buddyd.toml"
    config.write_text('durability = "normal"\n')
    buddyd("install", "--root", str(tmp_path))
    done = buddyd("uninstall", "--root", str(tmp_path))
    assert "/var/lib/buddyd" in done.stdout
    assert set(files(tmp_path)) == {"etc/buddyd/buddyd.toml"}
    assert config.read_text() == 'durability = "normal"\n'


def test_uninstalling_an_unchanged_installation_leaves_nothing(tmp_path: Path) -> None:
    buddyd("install", "--root", str(tmp_path))
    buddyd("uninstall", "--root", str(tmp_path))
    assert files(tmp_path) == {}
    assert not (tmp_path / "etc/buddyd").exists()


def test_a_user_has_an_instance_in_the_own_home(tmp_path: Path) -> None:
    unset = {"XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}
    done = buddyd("install", "--user", "--root", str(tmp_path), HOME="/home/ada", **unset)
    assert done.returncode == 0
    assert set(files(tmp_path / "home/ada")) == {
        ".local/share/systemd/user/buddyd.service",
        ".local/share/systemd/user/buddyd.socket",
        ".config/buddyd/buddyd.toml",
    }
    assert "socket" not in tomllib.loads(
        (tmp_path / "home/ada/.config/buddyd/buddyd.toml").read_text()
    )
    done = buddyd("uninstall", "--user", "--root", str(tmp_path), HOME="/home/ada", **unset)
    assert "= /home/ada/.local/state/buddyd" in done.stdout
    assert files(tmp_path) == {}


def test_the_service_starts_the_program_that_was_installed(tmp_path: Path) -> None:
    buddyd("install", "--root", str(tmp_path), "--program", "/opt/a b/buddyd")
    unit = (tmp_path / UNITS / "buddyd.service").read_text()
    assert 'ExecStart="/opt/a b/buddyd"\n' in unit
    assert unit.count("ExecStart") == 1


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("/usr/bin/buddyd", "/usr/bin/buddyd"),
        ("/opt/100%/$x", "/opt/100%%/$$x"),
        ('/a "b"\\c', '"/a \\"b\\"\\\\c"'),
    ],
)
def test_whatever_a_path_holds_systemd_reads_it_so(word: str, quoted: str) -> None:
    assert program_line([word]) == f"ExecStart={quoted}"


@pytest.mark.parametrize(("version", "there"), [(None, False), (252, False), (253, True)])
def test_a_systemd_that_knows_it_waits_for_reloads(
    tmp_path: Path, version: int | None, *, there: bool
) -> None:
    steps = steps_to_install(host_place(tmp_path, "/usr"), ["buddyd"], version)
    names = [step.path.name for step in steps if isinstance(step, Write)]
    assert ("notify-reload.conf" in names) is there


def test_what_the_service_could_not_read_is_refused(tmp_path: Path) -> None:
    assert hidden_from_service([Path("/usr/bin/env")]) is None
    assert hidden_from_service([Path("/usr/bin/env"), Path("/root")]) == Path("/root")
    with pytest.raises(FatalError, match=r"--user") as raised:
        install._refuse_hidden(str(tmp_path))
    assert raised.value.exit_code == 77


def test_a_program_that_is_not_there_is_refused() -> None:
    done = buddyd("install", "--program", "/usr/nowhere/buddyd", "--dry-run")
    assert done.returncode == 77
    assert done.stderr == "buddyd: /usr/nowhere/buddyd: No such file or directory.\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_without_root_it_says_what_to_do() -> None:
    done = buddyd("install", "--program", "/usr/bin/env")
    assert done.returncode == 77
    assert "--user" in done.stderr.splitlines()[-1]


def test_a_wheel_has_all_that_is_put_in_place(tmp_path: Path) -> None:
    """What is installed from it is what is installed from the sources."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", str(tmp_path)], cwd=ROOT, check=True)
    [wheel] = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    found = []
    for where in (ROOT, unpacked):
        host = tmp_path / f"host-of-{where.name}"
        done = buddyd("install", "--root", str(host), PYTHONPATH=str(where), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found.append(files(host))
    assert found[0] == found[1]
    assert found[0]


def test_a_user_place_follows_the_xdg_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    place = user_place(Path("/"))
    assert place.units == tmp_path / "data/systemd/user"
    assert place.settings == tmp_path / "config/buddyd"
