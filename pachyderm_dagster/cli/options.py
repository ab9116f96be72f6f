"""Options that many commands share."""

from collections.abc import Callable
from typing import Any

import click

from pachyderm_dagster.pfs.model import DEFAULT_PROJECT

Command = Callable[..., Any]


def in_project(command: Command) -> Command:
    """`--project`: where names without a project are looked up."""
    return click.option("--project", default=DEFAULT_PROJECT, show_default=True, metavar="NAME", help="The project of names that have none.")(command)


def force(help: str) -> Callable[[Command], Command]:
    """`-f/--force`, with what it overrides."""
    return click.option("-f", "--force", is_flag=True, help=help)


def only_one(what: str, name: str | None, *, all_of_them: bool) -> None:
    """Refuses a name together with `--all`, and neither.

    Raises:
        UsageError: for both and for none.
    """
    if (name is None) is not all_of_them:
        raise click.UsageError(f"name one {what}, or use --all", click.get_current_context())
