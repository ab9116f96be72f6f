"""The commands for the syncs that a home remembers: look, forget."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pachyderm_dagster.cli.home import opened
from pachyderm_dagster.cli.printing import Column, Printer, optional, printing, text, time
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.syncing.health import ThingHealth, health_of, worst
from pachyderm_dagster.syncing.kept_syncs import KeptSync, KeptSyncs, time_of

_DOING = {"Status": text("status"), "Synced": time("synced"), "Looked": time("looked"), "Health": text("health"), "Error": optional("error")}
_COLUMNS = (
    Column("NAME", text("name")),
    Column("SOURCE", text("source")),
    Column("COMMIT", lambda document, _: document["commit"][:12] or "-"),
    *(Column(title.upper(), cell) for title, cell in _DOING.items()),
)
_LINES = (
    Column("Name", text("name")),
    Column("Source", text("source")),
    Column("Project", text("project")),
    Column("Commit", optional("commit")),
    *(Column(title, cell) for title, cell in _DOING.items()),
)
_THINGS = (
    Column("KIND", text("kind")),
    Column("NAME", text("name")),
    Column("HEALTH", text("health")),
    Column("REASON", lambda document, _: _reason(document)),
)


@click.command(epilog="Example: pachctl list sync")
@printing
@click.pass_obj
def list_sync(environ: Mapping[str, str], printer: Printer) -> None:
    """With the commit that the home is like, and how what it declares does: the worst of Healthy, Suspended, Progressing, Degraded and Missing."""
    with opened(environ) as record, record.database.read() as txn:
        home = Path(record.settings.home)
        documents = [_document(txn, home, one) for one in KeptSyncs(home).list()]
    printer.many(documents, _COLUMNS)


@click.command(epilog="Example: pachctl inspect sync pipelines-production")
@click.argument("sync")
@printing
@click.pass_obj
def inspect_sync(environ: Mapping[str, str], sync: str, printer: Printer) -> None:
    """With all that it declares, and how each of these does."""
    with opened(environ) as record, record.database.read() as txn:
        home = Path(record.settings.home)
        document = _document(txn, home, KeptSyncs(home).get(sync))
    printer.one(document, _LINES)
    if not printer.for_programs:
        click.echo("")
        printer.many(document["things"], _THINGS)


@click.command(epilog="Example: pachctl delete sync pipelines-production")
@click.argument("sync")
@click.pass_obj
def delete_sync(environ: Mapping[str, str], sync: str) -> None:
    """What it declared stays."""
    kept = KeptSyncs(Path(load_settings(environ).home))
    kept.delete(kept.get(sync).name)


def _document(txn: Transaction, home: Path, sync: KeptSync) -> dict[str, Any]:
    found = health_of(txn, home, sync.things)
    return {
        "name": sync.name,
        "source": str(sync.source),
        "project": sync.project,
        "commit": sync.commit,
        "status": sync.status,
        "synced": time_of(sync.synced),
        "looked": time_of(sync.looked),
        "health": worst(found).value,
        "error": sync.error,
        "things": [_thing(one, is_declared=one.thing not in sync.left) for one in found],
    }


def _thing(one: ThingHealth, *, is_declared: bool) -> dict[str, Any]:
    return {"kind": one.thing.kind, "name": one.thing.name, "declared": is_declared, "health": one.health.value, "reason": one.reason}


def _reason(document: Mapping[str, Any]) -> str:
    return "; ".join(filter(None, ("" if document["declared"] else "declared no more", document["reason"])))
