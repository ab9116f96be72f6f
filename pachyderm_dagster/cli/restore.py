"""`restore`."""

import contextlib
import sys
from collections.abc import Iterator, Mapping

import click
import sqlalchemy as sa

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.printing import Column, Printer, printing, rfc3339, text
from pachyderm_dagster.cli.progress import Progress
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.moving.extracting import Header, extracting
from pachyderm_dagster.moving.frames import Frame
from pachyderm_dagster.moving.places import open_frames
from pachyderm_dagster.moving.restoring import end_restoring, finish_restoring
from pachyderm_dagster.moving.restoring import restore as fill_home
from pachyderm_dagster.pfs.store_ids import find_own_store_id
from pachyderm_dagster.pps.checking import check_home
from pachyderm_dagster.settings import HOME, METADATA_URL, STORAGE_URL, load_settings
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.workspace import Workspace, open_workspace

COUNTED = {"projects": t.project, "repos": t.repo, "branches": t.branch, "commits": t.commit, "pipelines": t.pipeline, "jobs": t.job}
LINES = (
    Column("Extracted", lambda document, _: rfc3339(document["extracted"])),
    *(Column(name.capitalize(), text(name)) for name in COUNTED),
    Column("Objects", lambda document, _: "as they were" if document["objects"] is None else f"{document['objects']:,}"),
)


@click.command(epilog="Example: PACHYDERM_HOME=/tmp/new pachctl restore -f home.extract")
@click.option("-f", "--file", "-u", "--url", "place", metavar="FILE|FOLDER|URL", help="What `pachctl extract` wrote, standard input unless given, or for `-`.")
@click.option("--from", "home", type=click.Path(exists=True, file_okay=False), metavar="HOME", help="The folder of another home, to copy it directly.")
@click.option("--no-pipelines", is_flag=True, help="Without pipelines and their jobs; what they wrote stays.")
@click.option("--verify", is_flag=True, help="Read back all that was stored at the end, as `pachctl fsck --deep` does.")
@printing
@click.pass_obj
def restore(environ: Mapping[str, str], place: str | None, home: str | None, no_pipelines: bool, verify: bool, printer: Printer) -> None:
    """The home that PACHYDERM_HOME and its kin name must be empty; its record may be SQLite or PostgreSQL and its store a folder or a bucket, whatever they
    were. Interrupted, the same command goes on. At the end the home is checked: all that the record refers to is there.
    """
    if home is not None and place is not None:
        raise click.UsageError("--from copies a home, -f restores an extract: give one of them", click.get_current_context())
    if home is None and place is None and sys.stdin.isatty():
        raise click.UsageError("standard input is a terminal; use -f FILE, or --from HOME", click.get_current_context())
    settings = load_settings(environ)
    with _source(environ, place, home) as (frames, beside), Progress("restore") as progress:
        done = 0

        def show(size: int, total: int | None) -> None:
            nonlocal done
            done += size
            progress.reach(done, total)

        header = fill_home(settings, SystemClock(), frames, beside, show)
    with contextlib.closing(open_workspace(environ)) as workspace:
        finish_restoring(workspace, without_pipelines=no_pipelines)
        document = _document(workspace, header)
        problems = _check(workspace, deep=verify)
        end_restoring(workspace)
    printer.one(document, LINES)
    for problem in problems:
        click.echo(f"{visible(problem)}", err=True)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise StateError("problems-found", f"{count} found in what was restored; `pachctl fsck` tells whether what was extracted has them too")


@contextlib.contextmanager
def _source(environ: Mapping[str, str], place: str | None, home: str | None) -> Iterator[tuple[Iterator[Frame], ObjectStore | None]]:
    if home is None:
        with open_frames(place or "-", sys.stdin.buffer) as opened:
            yield opened
        return
    own = {name: value for name, value in environ.items() if name not in (METADATA_URL, STORAGE_URL)}
    with (
        contextlib.closing(open_workspace({**own, HOME: home})) as source,
        # The same id each time, so that what an interrupted copy brought over is known again.
        extracting(source, with_objects=True, id=_store_id(source)) as extraction,
    ):
        yield extraction.frames(objects_inside=False, progress=lambda _: None), source.store


def _store_id(workspace: Workspace) -> str | None:
    with workspace.database.read() as txn:
        return find_own_store_id(txn.connection)


def _document(workspace: Workspace, header: Header) -> Fields:
    """What is there now, in numbers."""
    with workspace.database.read() as txn:
        counts = {name: txn.connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for name, table in COUNTED.items()}
    return {"id": header.id, "extracted": header.written, **counts, "objects": header.objects, "size_bytes": header.size_bytes}


def _check(workspace: Workspace, *, deep: bool) -> list[str]:
    with Progress("fsck") as progress:
        found = check_home(workspace.database, workspace.store, deep=deep, progress=progress.advance)
    return [one.problem.message for one in found]
