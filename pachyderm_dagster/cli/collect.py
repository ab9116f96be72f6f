"""`collect garbage`."""

import datetime as dt
from collections.abc import Mapping

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.options import gone_option
from pachyderm_dagster.cli.printing import Cell, Column, Printer, printing, rfc3339, show_size, size
from pachyderm_dagster.durations import parse_given_duration
from pachyderm_dagster.pfs.collecting import DEFAULT_GRACE, Collected
from pachyderm_dagster.workspace import open_workspace

_NO_GRACE = ("0", "0s")


def _tally(name: str) -> Cell:
    """Shows a number of objects and their size."""
    return lambda document, _: (
        f"{show_size(document[f'{name}_bytes'])} in {document[f'{name}_objects']:,} {'object' if document[f'{name}_objects'] == 1 else 'objects'}"
    )


def _lines(collected: Collected) -> list[Column]:
    lines = [
        Column("Would free" if collected.dry_run else "Freed", _tally("freed")),
        Column("In use", _tally("kept")),
        Column("Too young to tell", _tally("young")),
        Column("Files in the heads of branches", size("head_bytes")),
    ]
    if collected.dry_run:
        lines += [Column("Referred to, of what is in use", size("live_bytes")), Column("In packs of which little is referred to", _tally("sparse"))]
    if collected.unknown:
        lines.append(Column("Kept, of commits that the record lacks", lambda document, _: f"{len(document['unknown_commits'])}: see `pachctl fsck --deep`"))
    if collected.held_by is not None:
        lines.append(Column("Held back", lambda document, _: f"job {document['held_by']} began at {rfc3339(document['before'])} and is not finished"))
    return lines


@click.command(epilog="Example: pachctl collect garbage --dry-run")
@click.option("--dry-run", is_flag=True, help="Only say what would go, and more about what is there.")
@click.option("--grace", metavar="DURATION", help="Leave alone what was stored or given up since so long ago: 1h30m, 0s. 24h unless given.")
@gone_option("-m", "--memory", instead="what is in use is kept exactly, 32 bytes an object; leave it out")
@printing
@click.pass_obj
def collect_garbage(environ: Mapping[str, str], dry_run: bool, grace: str | None, printer: Printer) -> None:
    """Frees the space of what no commit, file set or pipeline refers to any more. Others may read and write meanwhile; a write that takes longer than the
    grace is refused when it ends, but for those of jobs, which hold the collection back.
    """
    length = DEFAULT_GRACE if grace is None else _parse_grace(grace)
    workspace = open_workspace(environ)
    try:
        collected = workspace.collect_garbage(grace=length, dry_run=dry_run)
    finally:
        workspace.close()
    printer.one(_document(collected), _lines(collected))


def _parse_grace(text: str) -> dt.timedelta:
    return dt.timedelta() if text in _NO_GRACE else dt.timedelta(seconds=parse_given_duration(text))


def _document(collected: Collected) -> Fields:
    found = collected.inventory
    tallies = {"freed": collected.freed, "kept": found.kept, "young": found.young, "sparse": found.sparse if collected.dry_run else None}
    document: Fields = {"dry_run": collected.dry_run, "before": collected.before, "held_by": collected.held_by}
    document["unknown_commits"] = list(collected.unknown)
    for name, tally in tallies.items():
        document[f"{name}_objects"] = None if tally is None else tally.objects
        document[f"{name}_bytes"] = None if tally is None else tally.size_bytes
    return {
        **document,
        "sparse_live_bytes": found.sparse_live_bytes if collected.dry_run else None,
        "live_bytes": found.live_bytes,
        "head_bytes": collected.head_bytes,
    }
