"""`completion`."""

import click
from click.shell_completion import get_completion_class

from pachyderm_dagster.cli.names import NAMES, completion_variable


@click.command(epilog='Example: eval "$(pachctl completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """The shell completes commands and options once it has read the script, for instance in ~/.bashrc."""
    kind = get_completion_class(shell)
    assert kind is not None
    for name in NAMES:
        click.echo(kind(context.find_root().command, {}, name, completion_variable(name)).source())
