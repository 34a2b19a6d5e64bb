"""buddyctl exec."""

import sys
import time

import click

from buddyd.cli import child, params
from buddyd.cli.app import App, complain, examples, global_options, pass_app
from buddyd.cli.child import Child, Ending
from buddyd.client import BuddydError, Client
from buddyd.domain.execution import MAX_DURATION_SECONDS, Execution

# A daemon that hangs must not hold the command up.
_START_SECONDS = 0.5
_RECORD_SECONDS = 2.0

_UNRUNNABLE = {child.NOT_FOUND: "not_found", child.NOT_EXECUTABLE: "not_executable"}


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "buddyctl exec --tool pytest -- pytest -q",
        'buddyctl exec --tool deploy --agent ci --task "$BUILD_ID" -- make deploy',
    ),
)
@params.tool_option("What it counts as.")
@params.agent_option
@params.task_option
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@global_options
@pass_app
def command(app: App, tool: str, agent: str, task: str, words: tuple[str, ...]) -> None:
    """Run COMMAND and record it as an execution.

    Its input, output, signals and exit code pass through untouched: if it is killed by a signal,
    buddyctl dies of the same signal; the exit code is 127 for a command that is not found and 126
    for one that cannot be run. Exit code 0 is a success; otherwise the error type is exit_3,
    signal_SIGTERM, not_found or not_executable. If no daemon records it, one line on standard error
    says so.
    """
    execution = _Watched(app, tool, agent, task)
    try:
        running = Child(words)
    except OSError as error:
        ending = child.unrunnable(error)
        complain(f"{words[0]}: {_why(ending, error)}")
        execution.record(_UNRUNNABLE[ending.code])
    else:
        # Told only now, it cannot hold up the command's start.
        execution.start()
        ending = running.wait()
        execution.record(ending.error_type)
    sys.stdout.flush()
    raise click.exceptions.Exit(child.end_like(ending))


def _why(ending: Ending, error: OSError) -> str:
    return "command not found" if ending.code == child.NOT_FOUND else str(error.strerror)


class _Watched:
    """One execution, from the start of its command on."""

    def __init__(self, app: App, tool: str, agent: str, task: str) -> None:
        self._app = app
        self._tool, self._agent, self._task = tool, agent, task
        self._started_at = time.time()
        self._clock = time.monotonic()

    def start(self) -> None:
        """Mark the agent busy. Where that fails, `record` will tell."""
        try:
            with self._client(_START_SECONDS) as client:
                client.start_execution(
                    self._task, self._agent, self._tool, started_at=self._started_at
                )
        except BuddydError:
            return

    def record(self, error_type: str | None) -> None:
        """Record it, or say why not."""
        execution = Execution(
            task_id=self._task,
            agent_id=self._agent,
            tool_name=self._tool,
            duration_seconds=min(time.monotonic() - self._clock, MAX_DURATION_SECONDS),
            finished_at=time.time(),
            success=error_type is None,
            error_type=error_type,
        )
        try:
            with self._client(_RECORD_SECONDS) as client:
                client.record_execution(execution)
        except BuddydError as error:
            complain(f"not recorded: {error}")

    def _client(self, seconds: float) -> Client:
        return self._app.client(seconds)
