"""Options that pachctl takes with every command, where they mean nothing here: taken when they ask for what is always so, refused otherwise."""

import click

from pachyderm_dagster import __version__
from pachyderm_dagster.errors import InvalidError


def _refuse(context: click.Context, option: click.Parameter, value: object) -> None:
    if not value or context.resilient_parsing:
        return
    instead = _REFUSED[str(option.name)]
    raise InvalidError("option-gone", f"{option.opts[-1]} does nothing here: {instead}")


_REFUSED = {
    "verbose": "what went wrong unforeseen is kept in `tracebacks/` in the home, and `pachctl logs` shows what user code said; leave it out",
    "rpc_timeout": "no server is asked; leave it out, or limit `wait`, `flush` and `find commit` with --timeout",
}
# Nothing here is coloured, paged, or sent to anybody.
_ALWAYS_SO = ("--no-color", "--no-pager", "--no-metrics")


def _show_version(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(f"pachyderm-dagster {__version__}")
        context.exit()


def version_option() -> click.Option:
    """`--version`, for the habit of it; `version` says more."""
    return click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version and exit.")


def pachctl_options() -> list[click.Option]:
    """The options, hidden from help."""
    taken = [click.Option([name], is_flag=True, hidden=True, expose_value=False) for name in _ALWAYS_SO]
    verbose = click.Option(["-v", "--verbose"], is_flag=True, hidden=True, expose_value=False, callback=_refuse)
    timeout = click.Option(["--rpc-timeout"], hidden=True, expose_value=False, callback=_refuse)
    return [*taken, verbose, timeout]
