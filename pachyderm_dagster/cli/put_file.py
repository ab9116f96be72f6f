"""`put file`, and `put-file` of Pachyderm 1.x."""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import click

from pachyderm_dagster.cli.asking import check_not_waiting
from pachyderm_dagster.cli.documents import commit_document
from pachyderm_dagster.cli.options import LARGEST_COUNT, in_project, without_effect
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.cli.progress import PutProgress
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.kept_downloads import KeptDownloads
from pachyderm_dagster.pfs.putting import Manner, put_sources
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pfs.sources import plan_sources, read_source_list
from pachyderm_dagster.pfs.splitting import Split, SplitKind
from pachyderm_dagster.pfs.transfers import DEFAULT_PARALLELISM, MAX_PARALLELISM, Transfers
from pachyderm_dagster.workspace import open_workspace


def reading_sources(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is put and where it goes."""
    options = (
        click.option(
            "-f",
            "--file",
            "files",
            multiple=True,
            metavar="PATH|URL|-",
            help="A file, a folder (with -r), an http(s) or object-store URL; - is standard input.",
        ),
        click.option(
            "-i",
            "--input-file",
            "lists",
            multiple=True,
            metavar="PATH|URL|-",
            help="A file that names, a line each, what -f could name; lines that begin with # say nothing.",
        ),
        click.option("-r", "--recursive", is_flag=True, help="Take folders, and all objects below object-store URLs."),
        click.option("--untar", is_flag=True, help="Unpack tar archives: what is in them goes below PATH."),
        click.option("--full-path", is_flag=True, help="Files that go by their name go by their whole path."),
        click.option("-m", "--message", "description", default="", help="What the commit is about."),
        click.option("--progress/--no-progress", default=True, help="Show how far it is."),
        click.option(
            "-p",
            "--parallelism",
            type=click.IntRange(1, MAX_PARALLELISM),
            default=DEFAULT_PARALLELISM,
            show_default=True,
            help="How many URLs to download at once.",
        ),
        # What Pachyderm 1.x needed to be told is what always happens: a commit of its own.
        without_effect("-c", "--commit", is_flag=True),
        # How pachctl sends files to its server; there is nothing to send to.
        without_effect("--compress", is_flag=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


def splitting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that cut files into many."""
    number = click.IntRange(0, LARGEST_COUNT)
    options = (
        click.option("-s", "--split", "kind", type=click.Choice([kind.value for kind in SplitKind]), help="Cut each file into files of whole records."),
        click.option("--target-file-datums", "records", type=number, default=0, metavar="N", help="So many records each; one unless a size is given."),
        click.option("--target-file-bytes", "size", type=number, default=0, metavar="N", help="At least so many bytes each, but for the last."),
        click.option("--header-records", type=number, default=0, metavar="N", help="The first N records stand at the beginning of each."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog="Example: pachctl put file images@master:/2026 -r -f photos")
@click.argument("target", metavar="REPO@BRANCH[:PATH]")
@reading_sources
@splitting
@click.option("-a/", "--append/--overwrite", "append", default=False, help="Append to what the files hold, or replace it, as without either.")
@in_project
@printing
@click.pass_obj
def put_file(environ: Mapping[str, str], /, target: str, append: bool, project: str, printer: Printer, **sources: Any) -> None:
    """On a branch, in a commit of its own; all of it or nothing. While a commit is open on the branch, into that.

    One file goes to PATH, or into it when PATH ends in /; without PATH it keeps its name. Several go below PATH by their names. What is in a folder goes
    below PATH.
    """
    _put(environ, target, project, printer, append=append, **sources)


@click.command(epilog="Example: pachctl put-file images master liberty.png -f http://example.com/liberty.png")
@click.argument("repo")
@click.argument("branch")
@click.argument("path", required=False)
@reading_sources
@splitting
@click.option("-o", "--overwrite", is_flag=True, help="Replace what the files hold.")
@in_project
@click.pass_obj
def put_file_appending(environ: Mapping[str, str], /, repo: str, branch: str, path: str | None, overwrite: bool, project: str, **sources: Any) -> None:
    """The 1.x form of `put file`, which appends."""
    target = f"{repo}@{branch}" if path is None else f"{repo}@{branch}:{path}"
    _put(environ, target, project, None, append=not overwrite, **sources)


def _put(
    environ: Mapping[str, str],
    target: str,
    project: str,
    printer: Printer | None,
    *,
    append: bool,
    files: Sequence[str],
    lists: Sequence[str],
    recursive: bool,
    full_path: bool,
    untar: bool,
    parallelism: int,
    description: str,
    progress: bool,
    **cut: Any,
) -> None:
    check_not_waiting(environ, parse_reference(target, project=project))
    stdin = sys.stdin.buffer
    manner = Manner(append=append, unpack=untar, split=_split(**cut), transfers=Transfers(parallelism))
    with closing(open_workspace(environ, project=project)) as workspace:
        path = workspace.pfs.parse(target).path or None
        locations = [*files, *(location for name in lists for location in read_source_list(name, stdin))]
        if lists and not locations:
            raise InvalidError("sources-missing", f"{', '.join(lists)} names no file; write one path or URL a line")
        planned = plan_sources(locations, path, recursive=recursive, full_path=full_path, unpack=untar, append=append)
        kept = KeptDownloads(workspace.database, workspace.store)
        shown = PutProgress() if progress else contextlib.nullcontext()
        with shown as watcher, workspace.pfs.modify_file(target, description=description) as staged:
            put_sources(staged, workspace.store, planned, stdin=stdin, manner=manner, watcher=watcher, kept=kept)
        if printer is not None:
            printer.only_documents(commit_document(staged.commit))


def _split(*, kind: str | None, records: int, size: int, header_records: int) -> Split | None:
    if kind is not None:
        return Split(SplitKind(kind), records, size, header_records)
    if records or size or header_records:
        raise click.UsageError("--target-file-datums, --target-file-bytes and --header-records belong to --split", click.get_current_context())
    return None
