"""`edit metadata`, and the cluster, which is all of a home."""

from collections.abc import Mapping

import click

from pachyderm_dagster import __version__
from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.config import without_password
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, noted, printing, text
from pachyderm_dagster.pfs.object_metadata import ObjectKind, parse_edit, read_metadata
from pachyderm_dagster.pfs.requests import EditMetadata
from pachyderm_dagster.settings import load_settings

WORDS_OF_AN_EDIT = 4
LINES = (
    Column("Version", text("version")),
    Column("Home", text("home")),
    Column("Record", text("record")),
    Column("Storage", text("storage")),
    Column("Coordination", text("coordination")),
    Column("Executor", text("executor")),
    Column("Metadata", noted("metadata")),
)


@click.command(epilog="Example: pachctl edit metadata repo images add owner=ann")
@click.argument("words", nargs=-1, required=True, metavar="KIND OBJECT EDIT DATA...")
@in_project
@click.pass_obj
def edit_metadata(environ: Mapping[str, str], words: tuple[str, ...], project: str) -> None:
    """KIND is cluster, project, repo, branch or commit; OBJECT names one of them, `.` the cluster. EDIT and DATA are `add KEY=VALUE` for a new key,
    `edit KEY=VALUE` for one that exists, `delete KEY`, or `replace` with a JSON object of texts. More edits may follow; all are done, or none.
    """
    if len(words) % WORDS_OF_AN_EDIT:
        raise click.UsageError(f"an edit is KIND OBJECT EDIT DATA; {len(words)} words are no whole number of them", click.get_current_context())
    parts = zip(*(words[at::WORDS_OF_AN_EDIT] for at in range(WORDS_OF_AN_EDIT)), strict=True)
    ask(environ, EditMetadata(tuple(parse_edit(kind, named, operation, data, project=project) for kind, named, operation, data in parts)))


@click.command(epilog="Example: pachctl inspect cluster")
@printing
@click.pass_obj
def inspect_cluster(environ: Mapping[str, str], printer: Printer) -> None:
    """The version, where everything is, and what was noted on it with `edit metadata cluster .`."""
    settings = load_settings(environ)
    with reading(environ) as txn:
        noted_on_it = read_metadata(txn, ObjectKind.CLUSTER)
    document = {
        "version": __version__,
        "home": str(settings.home),
        "record": without_password(settings.metadata_url),
        "storage": without_password(settings.storage_url),
        "coordination": without_password(settings.coordination_url),
        "executor": settings.executor,
        "metadata": noted_on_it,
    }
    printer.one(document, LINES)
