"""`put file`, and `put-file` of Pachyderm 1.x."""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import click

from pachyderm_dagster.cli.documents import commit_document
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.cli.progress import Progress
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.putting import Manner, put_sources
from pachyderm_dagster.pfs.sources import plan_sources, read_source_list
from pachyderm_dagster.workspace import open_workspace

SPLITTING = ("--split", "--target-file-datums", "--target-file-bytes", "--header-records")


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
        click.option("-i", "--input-file", "lists", multiple=True, metavar="PATH|URL|-", help="A file that names, a line each, what -f could name."),
        click.option("-r", "--recursive", is_flag=True, help="Take folders, and all objects below object-store URLs."),
        click.option("--full-path", is_flag=True, help="Files that go by their name go by their whole path."),
        click.option("-m", "--message", "description", default="", help="What the commit is about."),
        click.option("--progress/--no-progress", default=True, help="Show how far it is."),
        click.option("-p", "--parallelism", type=int, hidden=True, expose_value=False),
        click.option("-c", "--commit", is_flag=True, hidden=True, expose_value=False),
    )
    for option in reversed(options):
        command = option(command)
    return command


def refusing_split(command: Callable[..., Any]) -> Callable[..., Any]:
    """1.x's options that cut a file into many, which are refused with what to do."""

    def refuse(_context: click.Context, option: click.Parameter, value: object) -> None:
        if value is not None:
            raise InvalidError("option-gone", f"{option.opts[0]} does not exist here; put the file whole and let a pipeline split it")

    for name in SPLITTING:
        command = click.option(name, hidden=True, expose_value=False, callback=refuse)(command)
    return command


@click.command(epilog="Example: pachctl put file images@master:/2026 -r -f photos")
@click.argument("target", metavar="REPO@BRANCH[:PATH]")
@reading_sources
@click.option("-a", "--append", is_flag=True, help="Append to what the files hold instead of replacing it.")
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
@refusing_split
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
    description: str,
    progress: bool,
) -> None:
    stdin = sys.stdin.buffer
    with closing(open_workspace(environ, project=project)) as workspace:
        path = workspace.pfs.parse(target).path
        locations = [*files, *(location for name in lists for location in read_source_list(name, stdin))]
        if lists and not locations:
            raise InvalidError("sources-missing", f"{', '.join(lists)} names no file; write one path or URL a line")
        planned = plan_sources(locations, path, recursive=recursive, full_path=full_path)
        shown = Progress("put file") if progress else contextlib.nullcontext()
        with shown, workspace.pfs.modify_file(target, description=description) as staged:
            put_sources(staged, workspace.store, planned, stdin=stdin, manner=Manner(append=append))
        if printer is not None:
            printer.only_json(commit_document(staged.commit))
