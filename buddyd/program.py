"""buddyd as a program: its options, what a process needs, and the exit code."""

import argparse
import faulthandler
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import anyio
import msgspec

from buddyd import __version__, config, log, paths
from buddyd.clock import SteadyClock
from buddyd.daemon import Options, run
from buddyd.errors import FatalError
from buddyd.systemd import listen_sockets

SWITCH_SECONDS = 0.001
INSTALLING = ("install", "uninstall")
_STDERR = 2


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the daemon in the foreground; ends the process with an exit code of sysexits.h."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words and words[0] in INSTALLING:
            # What a daemon never needs.
            from buddyd import install  # noqa: PLC0415

            install.main(words)
        _run_in_foreground(words)
    except FatalError as error:
        print(f"buddyd: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    sys.exit(0)


def _open_standard_files() -> None:
    """What is opened later must not take their numbers: lines of the log would end up in it."""
    for descriptor in range(_STDERR + 1):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free.
            os.open(os.devnull, os.O_RDWR)


def _end_after(seconds: float) -> None:
    """End the process by then, with the stacks of its threads on standard error."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)


def _run_in_foreground(arguments: Sequence[str]) -> None:
    # The database, the socket and what lies beside them are nobody else's to read.
    os.umask(0o077)
    # The thread that writes takes the interpreter's lock back after every statement: while the
    # event loop is busy, it should not have to wait long for it.
    sys.setswitchinterval(SWITCH_SECONDS)
    _open_standard_files()
    # Whatever hangs: systemd's watchdog ends it with SIGABRT, and the journal has the stacks.
    faulthandler.enable(_STDERR)
    given = _parser().parse_args(arguments)
    loaded = config.load(Path(given.config) if given.config else None)
    if given.check_config:
        print(f"{loaded.file or 'the defaults'}: all is well")  # noqa: T201
        return
    settings = _with_level(loaded.settings, given.log_level)
    log.configure(settings.log.level, settings.log.format)
    anyio.run(run, settings, _options(given, settings, loaded.file))


def _options(given: argparse.Namespace, settings: config.Settings, file: Path | None) -> Options:
    inherited = listen_sockets()
    if inherited:
        path = Path(str(inherited[0].getsockname()))
    else:
        path = paths.socket_path(given.socket, settings.socket)
    clock = SteadyClock()
    return Options(
        socket_path=path,
        clock=clock,
        in_doubt=clock.in_doubt,
        # By whatever links it is reached, its lock and its log lie beside the file itself.
        database=Path(os.path.realpath(config.database_path(settings, given.database))),
        inherited=inherited,
        reload=lambda: _with_level(config.load(file).settings, given.log_level),
        end_after=_end_after,
    )


def _with_level(settings: config.Settings, level: str | None) -> config.Settings:
    if level is None:
        return settings
    return msgspec.structs.replace(settings, log=msgspec.structs.replace(settings.log, level=level))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="buddyd",
        description="Tells the people who run AI agents how their agents are doing.",
        epilog="Without options it reads /etc/buddyd/buddyd.toml or the user's own configuration. "
        "`buddyd install` makes it a service of the host or of yours, `buddyd uninstall` undoes "
        "that; each has a --help of its own.",
    )
    parser.add_argument("--config", metavar="FILE", help="the configuration, in TOML")
    parser.add_argument("--socket", metavar="PATH", help="where to listen")
    parser.add_argument("--database", metavar="PATH", help="where to keep the records")
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error", "critical"],
        help="the least severe level that is logged",
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="say what is wrong with the configuration and exit: 0 where nothing is, 78 otherwise",
    )
    parser.add_argument("--version", action="version", version=f"buddyd {__version__}")
    return parser
