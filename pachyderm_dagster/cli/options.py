"""Options that many commands share."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import checked_project_name
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.settings import load_settings

Command = Callable[..., Any]

# What a column of the record, `LIMIT` and `itertools.islice` take, on every system.
LARGEST_COUNT = 2**31 - 1
COUNT = click.IntRange(1, LARGEST_COUNT)
"""How many of something."""


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


def gone_option(*names: str, instead: str, **settings: Any) -> Callable[[Command], Command]:
    """An option of pachctl's that is refused, when it is given, with what to do instead."""

    def refuse(context: click.Context, option: click.Parameter, value: object) -> None:
        if value and not context.resilient_parsing:
            raise InvalidError("option-gone", f"{option.opts[-1]} is not taken here: {instead}")

    return click.option(*names, hidden=True, expose_value=False, callback=refuse, **settings)


def without_effect(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """An option of pachctl's that asks for what always happens, or says only how; it is taken, and changes nothing."""
    return click.option(*names, hidden=True, expose_value=False, **settings)


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


def in_given_project(project: str, reference: str) -> str:
    """The reference with its project written out: the one that it names, else this one."""
    at = parse_reference(reference, project=project)
    return reference if "/" in reference.partition("@")[0] else f"{at.repo.project}/{reference}"
