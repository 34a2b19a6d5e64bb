"""The whole of buddyctl: finds the verb, and turns every way to end into an exit code."""

import importlib
import io
import os
import sys
from collections.abc import Sequence

import click

from buddyd import __version__
from buddyd.cli.app import complain, global_options
from buddyd.cli.entry import EXIT_INTERRUPTED
from buddyd.client.errors import NotRunning, TimedOut, Unreachable
from buddyd.errors import BuddydError, ConfigurationError
from buddyd.paths import HOST_SOCKET

EXIT_REFUSED = 1
EXIT_NO_DAEMON = 69  # EX_UNAVAILABLE of sysexits.h
EXIT_NO_READER = 141  # As a shell names the end by SIGPIPE.

_VERBS = {
    "Questions": [
        "agents",
        "capacity",
        "pipeline",
        "costs",
        "learning",
        "risks",
        "recommendations",
        "status",
        "ping",
        "explain",
        "plot",
        "metrics",
    ],
    "Live": ["top", "tail"],
    "Recording": ["exec", "record", "hook", "import", "export"],
    "Administration": ["aggregate", "cleanup", "backup", "check", "doctor"],
    "Shell": ["completion"],
}
"""Every verb. Its command is `command` in the module of its name, loaded when it is used."""

_MODULES = {"import": "import_"}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature.
        return [verb for verbs in _VERBS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"buddyd.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {verb: self.get_command(ctx, verb) for verb in self.list_commands(ctx)}
        column = max(len(verb) for verb in commands)
        room = formatter.width - column - 6
        for title, verbs in _VERBS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (verb.ljust(column), command.get_short_help_str(room))
                        for verb in verbs
                        if (command := commands[verb])
                    ]
                )

    def invoke(self, ctx: click.Context) -> object:
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _forget_output()
            raise click.exceptions.Exit(EXIT_NO_READER) from None
        return result


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="buddyctl", message="%(prog)s %(version)s")
@global_options
def buddyctl() -> None:
    """Record the executions of AI agents with buddyd, and ask how they are doing.

    \b
    Examples:
      buddyctl exec --tool pytest -- pytest -q
      buddyctl agents --sort -queue_depth
      buddyctl explain web_search
      buddyctl costs --json

    Exit codes: 0 success; 1 the daemon answered with an error; 2 wrong usage; 69 no daemon answers
    at the socket; 130 interrupted.
    """  # noqa: D301 -- \b is click's mark of a block that is not to be wrapped.


def run(arguments: Sequence[str]) -> int:
    """Do what `arguments` say; the exit code."""
    try:
        code = buddyctl.main(arguments, prog_name="buddyctl", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except (click.ClickException, BuddydError, OSError) as error:
        sentence, exit_code = _told(error)
        complain(sentence)
        return exit_code
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run buddyctl and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character shows its escape instead of ending the program.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def _told(error: Exception) -> tuple[str, int]:
    """What is said of an error, in one line that says what to do, and the exit code."""
    match error:
        case click.ClickException():
            return _usage(error), error.exit_code
        case Unreachable() | ConfigurationError():
            return " ".join([str(error), *_advice(error)]), EXIT_NO_DAEMON
        case OSError(filename=str(file), strerror=str(reason)):
            return f"{file}: {reason}.", EXIT_REFUSED
        case _:
            return str(error), EXIT_REFUSED


def _usage(error: click.ClickException) -> str:
    # A list of choices comes over several lines.
    sentence = " ".join(error.format_message().split())
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return sentence
    end = "" if sentence.endswith((".", "?", ")")) else "."
    return f"{sentence}{end} See `{error.ctx.command_path} --help`."


def _advice(error: BuddydError) -> list[str]:
    """What to do about a daemon that systemd does not start any more, or that does not answer."""
    if isinstance(error, TimedOut):
        return ["`buddyctl doctor` looks for the cause."]
    if not isinstance(error, NotRunning):
        return []
    # Only who finds no daemon pays for asking systemd.
    from buddyd.cli import facts, unit_checks

    is_user = facts.is_of_user(error.socket)
    if not is_user and error.socket != HOST_SOCKET:
        return []
    advice = unit_checks.given_up_advice(facts.ask_systemd(is_user=is_user))
    return [] if advice is None else [advice]


def _forget_output() -> None:
    """Nobody reads standard output any more: what is still buffered goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
