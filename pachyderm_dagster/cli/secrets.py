"""The commands for secrets. None of them shows a value."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.printing import Column, Printer, listed, printing, text, time
from pachyderm_dagster.cli.spec_files import STANDARD_INPUT, read_text
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.pps.secret_files import parse_secrets
from pachyderm_dagster.pps.secret_store import Secret, SecretStore
from pachyderm_dagster.settings import load_settings

COLUMNS = (Column("NAME", text("name")), Column("TYPE", text("type")), Column("CREATED", time("created")))
LINES = (Column("Name", text("name")), Column("Type", text("type")), Column("Created", time("created")), Column("Keys", listed("keys")))


def secret_document(secret: Secret) -> Fields:
    """What may be seen of a secret."""
    return {"name": secret.name, "type": secret.type, "created": secret.created, "keys": sorted(secret.data)}


def secret_store(environ: Mapping[str, str]) -> SecretStore:
    """The secrets of the home that the environment names."""
    settings = load_settings(environ)
    return SecretStore(settings.home, beside_cluster=settings.kubernetes is not None)


@click.command(epilog="Example: pachctl create secret -f credentials.yaml")
@click.option(
    "-f", "--file", "source", default=STANDARD_INPUT, show_default=True, metavar="PATH|URL|-", help="Kubernetes' JSON or YAML of a secret, or several."
)
@printing
@click.pass_obj
def create_secret(environ: Mapping[str, str], source: str, printer: Printer) -> None:
    """Its values are kept in the home, for its owner alone to read, and nowhere else. `data` holds base64, `stringData` text."""
    given = read_text(source)
    found = parse_secrets(given.text, source=given.source, now=SystemClock().now())
    for secret in found:
        secret_store(environ).create(secret)
    printer.only_documents(*map(secret_document, found))


@click.command(epilog="Example: pachctl list secret")
@printing
@click.pass_obj
def list_secret(environ: Mapping[str, str], printer: Printer) -> None:
    """Names, types and ages; no values."""
    printer.many(map(secret_document, secret_store(environ).list_secret()), COLUMNS)


@click.command(epilog="Example: pachctl inspect secret credentials")
@click.argument("secret")
@printing
@click.pass_obj
def inspect_secret(environ: Mapping[str, str], secret: str, printer: Printer) -> None:
    """Its keys, not their values."""
    printer.one(secret_document(secret_store(environ).get(secret)), LINES)


@click.command(epilog="Example: pachctl delete secret credentials")
@click.argument("secret")
@printing
@click.pass_obj
def delete_secret(environ: Mapping[str, str], secret: str, printer: Printer) -> None:
    """Pipelines that use it fail from then on, until there is one of that name again."""
    store = secret_store(environ)
    found = store.get(secret)
    store.delete(secret)
    printer.only_documents(secret_document(found))
