"""`config`."""

import re
from collections.abc import Mapping

import click

from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.settings import load_settings

COLUMNS = (Column("SETTING", text("name")), Column("VALUE", text("value")), Column("ORIGIN", text("origin")))
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


@click.command(epilog="Example: pachctl config -o json")
@printing
@click.pass_obj
def config(environ: Mapping[str, str], printer: Printer) -> None:
    """Origins are `environment`, `config.toml` (in the home) and `default`. Passwords are not shown."""
    found = load_settings(environ).origins
    printer.many(({"name": name, "value": _PASSWORD.sub(r"\1:***@", one.value), "origin": one.origin} for name, one in found.items()), COLUMNS)
