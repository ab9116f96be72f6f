"""Options that many commands share."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from pachyderm_dagster.pfs.model import checked_project_name
from pachyderm_dagster.settings import load_settings

Command = Callable[..., Any]


def in_project(command: Command) -> Command:
    """`--project`: where names without a project are looked up."""

    def choose(context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
        return given if given is not None or context.resilient_parsing else active_project(context.obj)

    return click.option("--project", callback=choose, metavar="NAME", help="The project of names that have none; the active one unless given.")(command)


def active_project(environ: Mapping[str, str]) -> str:
    """The project of names that have none, unless a command says otherwise.

    Raises:
        InvalidError: `name-invalid`, `config-invalid`.
    """
    return checked_project_name(load_settings(environ).project)


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
