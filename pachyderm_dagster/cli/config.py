"""`config`, and the one context that a home is."""

import re
from collections.abc import Mapping
from typing import Any

import click

from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import gone_option
from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.coordination.opening import check_coordination_url
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.settings import HOME, PROJECT, load_settings, save_setting
from pachyderm_dagster.storage.storage_urls import check_home_url

COLUMNS = (Column("SETTING", text("name")), Column("VALUE", text("value")), Column("ORIGIN", text("origin")))
CONTEXT_COLUMNS = (
    Column("ACTIVE", lambda document, _: "*"),
    Column("NAME", text("name")),
    Column("HOME", text("home")),
    Column("PROJECT", text("project")),
)
CONTEXT = "home"
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")
# PostgreSQL takes a password behind the ? too.
_SECRET = re.compile(r"([?&][^=&]*(?:password|secret|token|key(?!_id))[^=&]*)=[^&]*")
_ELSEWHERE = ("--pachd-address", "--namespace", "--auth-info", "--cluster-name", "--cluster-deployment-id", "--server-cas")


def without_password(url: str) -> str:
    """A setting as it may be shown."""
    return _SECRET.sub(r"\1=***", _PASSWORD.sub(r"\1:***@", url))


@click.command(epilog="Example: pachctl config -o json")
@printing
@click.pass_obj
def config(environ: Mapping[str, str], printer: Printer) -> None:
    """Origins are `environment`, `config.toml` (in the home) and `default`. Passwords are not shown. `config update context --project NAME` chooses the
    active project; `config get context` shows it.
    """
    settings = load_settings(environ)
    check_home_url(settings.storage_url)
    check_coordination_url(settings.coordination_url, settings.etcd)
    found = settings.origins
    printer.many(({"name": name, "value": without_password(one.value), "origin": one.origin} for name, one in found.items()), COLUMNS)


def _elsewhere(command: Any) -> Any:
    """Pachyderm's options for where a server is, which are refused."""
    for name in _ELSEWHERE:
        command = gone_option(name, instead=f"a context is a home folder; {HOME} chooses another one")(command)
    return command


@click.command(epilog="Example: pachctl config update context --project vision")
@click.argument("context", required=False)
@click.option("--project", "active", required=True, metavar="NAME", help="The project of names that have none, from now on.")
@_elsewhere
@printing
@click.pass_obj
def update_context(environ: Mapping[str, str], context: str | None, active: str, printer: Printer) -> None:
    """It is written into `config.toml` in the home. PACHYDERM_PROJECT in the environment and `--project` of a command win over it."""
    _check_name(context)
    with reading(environ) as txn:
        repos.ensure_project(txn, active)
    save_setting(load_settings(environ).home, PROJECT, active)
    in_force = load_settings(environ).origins[PROJECT]
    if in_force.value != active:
        click.echo(f"note: {PROJECT} in the environment is {in_force.value!r} and wins over config.toml", err=True)
    printer.only_documents(_document(environ))


@click.command(epilog="Example: pachctl config get context")
@click.argument("context", required=False)
@printing
@click.pass_obj
def get_context(environ: Mapping[str, str], context: str | None, printer: Printer) -> None:
    """Always as a document: the home and the project of names that have none."""
    _check_name(context)
    printer.always_documents(_document(environ))


@click.command(epilog="Example: pachctl config get active-context")
@click.pass_obj
def get_active_context(environ: Mapping[str, str]) -> None:
    """It is always `home`: the home that PACHYDERM_HOME names, or the usual one."""
    load_settings(environ)
    click.echo(CONTEXT)


@click.command(epilog="Example: pachctl config set active-context home")
@click.argument("context")
def set_active_context(context: str) -> None:
    """There is one context, `home`; PACHYDERM_HOME chooses another home."""
    _check_name(context)


@click.command(epilog="Example: pachctl config list context")
@printing
@click.pass_obj
def list_context(environ: Mapping[str, str], printer: Printer) -> None:
    """There is one: the home."""
    printer.many([_document(environ)], CONTEXT_COLUMNS)


def _check_name(context: str | None) -> None:
    if context not in (None, CONTEXT):
        raise NotFoundError("context-not-found", f"context {context!r} does not exist; a home has one, called '{CONTEXT}', and {HOME} chooses the home")


def _document(environ: Mapping[str, str]) -> dict[str, object]:
    settings = load_settings(environ)
    return {"name": CONTEXT, "home": str(settings.home), "project": settings.project}
