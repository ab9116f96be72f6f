"""`upgrade`."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.metadata.upgrade import upgrade_record
from pachyderm_dagster.settings import load_settings

LINES = (Column("Record", text("record")), Column("From schema", text("from")), Column("To schema", text("to")), Column("Copy", text("copy")))


@click.command(epilog="Example: pachyderm-dagster upgrade --check")
@click.option("--check", is_flag=True, help="Only look; exit with 1 when there is something to upgrade.")
@printing
@click.pass_obj
def upgrade(environ: Mapping[str, str], check: bool, printer: Printer) -> None:
    """A record in the home is upgraded by itself when it is first used, and its file is kept as it was.

    One on a server waits for this command: end what uses it and back it up first.
    """
    found = upgrade_record(load_settings(environ).metadata_url, check=check)
    printer.one({"record": found.record, "from": found.before, "to": found.after, "copy": str(found.copy) if found.copy else None}, LINES)
    if check and found.before != found.after:
        raise StateError("home-version", f"the record at {found.record} has schema {found.before!r}, this version reads {found.after!r}; run `upgrade`")
