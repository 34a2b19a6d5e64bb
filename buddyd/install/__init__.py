"""`buddyd install` and `buddyd uninstall`: the units, the user and the configuration of a host.

First it is worked out what there is to do, as a list of steps that people can read (`plan.py`),
then the steps are done (`steps.py`). A second run finds nothing to do. The files come with the
package.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from buddyd.install.plan import (
    Place,
    host_place,
    steps_to_install,
    steps_to_uninstall,
    user_place,
)
from buddyd.install.steps import Keep, NotInstalled, say

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 -- nothing is put there
"""What ProtectHome= and PrivateTmp= hide from the service."""
READABLE = 0o005
"""The rights of others that it takes to use a folder or a program."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Do what `buddyd install …` or `buddyd uninstall …` asks for."""
    os.umask(0o022)
    given = _parser().parse_args(arguments)
    root = Path(given.root).absolute()
    place = user_place(root) if given.user else host_place(root, given.prefix)
    version = systemd_version()
    with _explained():
        if given.verb == "install":
            program = _program(given.program)
            if place.is_live and not given.user:
                _refuse_hidden(program[0])
            steps = steps_to_install(place, program, version)
        else:
            steps = steps_to_uninstall(place, systemd=version is not None)
    for step in steps:
        say(step.describe())
        if not given.dry_run:
            with _explained():
                step.do()
    if all(isinstance(step, Keep) for step in steps):
        say("There is nothing to do.")
    elif given.dry_run:
        say("Nothing was changed.")
    elif given.verb == "install":
        say(_farewell(place, version))
    sys.exit(0)


def _refuse_hidden(program: str) -> None:
    package = Path(__file__).parents[1]
    hidden = hidden_from_service([Path(program), Path(sys.executable).resolve(), package])
    if hidden is not None:
        raise NotInstalled(
            f"The host's service cannot read {hidden}: it has a user of its own, and sees no home. "
            "Install buddyd for the host (`python3 -m venv /opt/buddyd && /opt/buddyd/bin/pip "
            "install buddyd`), or for yourself alone with `buddyd install --user`."
        )


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the host's refusals into sentences."""
    try:
        yield
    except OSError as error:
        hint = ""
        if isinstance(error, PermissionError):
            hint = " Run it as root, or install for yourself alone with --user."
        raise NotInstalled(f"{error.filename}: {error.strerror}.{hint}") from error


def _farewell(place: Place, version: int | None) -> str:
    if not place.is_live:
        return "Nothing is enabled below another root: leave that to the host's presets."
    if version is None:
        return "No systemd runs here: start the daemon with `buddyd`."
    user = " --user" * place.is_user
    linger = " `loginctl enable-linger` keeps it when you log out." * place.is_user
    return (
        "systemd listens, and starts the daemon with the first query. A daemon that ran before "
        f"goes on as it was: `systemctl{user} restart buddyd`.{linger}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="buddyd")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("install", "Put units, user and configuration in place, and have systemd listen."),
        ("uninstall", "Undo it. The data, and a configuration that was changed, stay."),
    ):
        each = verbs.add_parser(verb, description=text, help=text)
        each.add_argument("--user", action="store_true", help="for yourself alone, without root")
        each.add_argument("--dry-run", action="store_true", help="only say what would be done")
        each.add_argument("--root", metavar="DIR", default="/", help="what / stands for")
        each.add_argument(
            "--prefix", metavar="DIR", default="/usr/local", help="for packagers: /usr"
        )
        if verb == "install":
            each.add_argument("--program", metavar="PATH", help="the buddyd that systemd starts")
    return parser


def _program(given: str | None) -> list[str]:
    """How systemd can start buddyd: this very one, unless another one is `given`."""
    if given is not None:
        return [str(Path(given).absolute())]
    script = Path(sys.argv[0])
    if script.name == "buddyd" and script.is_file() and os.access(script, os.X_OK):
        return [str(script.absolute())]
    return [sys.executable, "-m", "buddyd"]


def hidden_from_service(paths: Sequence[Path]) -> Path | None:
    """The first of `paths` that the host's service could not read, by its place or its rights."""
    for path in paths:
        for each in (path, *path.parents):
            if str(each) in HIDDEN or each.stat().st_mode & READABLE != READABLE:
                return path
    return None


def systemd_version() -> int | None:
    """The version of the systemd that runs here; None where none does."""
    if not Path("/run/systemd/system").is_dir():
        return None
    done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)  # noqa: S607
    words = done.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0
