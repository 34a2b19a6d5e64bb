"""buddyctl completion."""

import click
from click.shell_completion import get_completion_class

from buddyd.cli.app import examples, global_options


@click.command(
    epilog=examples(
        'eval "$(buddyctl completion bash)"      # in ~/.bashrc',
        'eval "$(buddyctl completion zsh)"       # in ~/.zshrc',
        "buddyctl completion fish | source       # in ~/.config/fish/config.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@global_options
def command(shell: str) -> None:
    """Print the completion script for a shell.

    With it the shell completes verbs, options, and the names of agents and tools that the running
    daemon knows.
    """
    program = click.get_current_context().find_root().command
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(script(program, {}, "buddyctl", "_BUDDYCTL_COMPLETE").source())
