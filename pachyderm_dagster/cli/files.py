"""The commands that list, copy and delete files."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.asking import check_not_waiting
from pachyderm_dagster.cli.documents import commit_document
from pachyderm_dagster.cli.file_documents import file_document, print_files, show_name
from pachyderm_dagster.cli.file_history import print_history
from pachyderm_dagster.cli.numbers import number_of_versions
from pachyderm_dagster.cli.options import in_given_project, in_project
from pachyderm_dagster.cli.printing import Column, Printer, printing, size, text
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.entries import DIRECTORY
from pachyderm_dagster.pfs.reading import is_glob
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.workspace import open_workspace

LINES = (Column("Path", show_name), Column("Type", text("type")), Column("Size", size("size_bytes")), Column("Hash", text("hash")))


@click.command(epilog="Example: pachctl list file images@master:/2026")
@click.argument("directory", metavar="REPO@REF[:PATH]")
@click.option("--history", callback=number_of_versions, metavar="N|all", help="The last N versions of each, or all, with the commits that made them.")
@in_project
@printing
@click.pass_obj
def list_file(environ: Mapping[str, str], directory: str, history: int | None, project: str, printer: Printer) -> None:
    """The sizes of directories are those of everything below them. A pattern lists what it matches."""
    with closing(open_workspace(environ, project=project)) as workspace:
        path = workspace.pfs.parse(directory).path or "/"
        if history is not None:
            print_history(workspace, printer, directory, history)
        elif is_glob(path):
            print_files(printer, [workspace.pfs.glob_file(directory, path)])
        else:
            print_files(printer, workspace.pfs.list_entries(directory))


@click.command(epilog="Example: pachctl glob file 'images@master:/**.png'")
@click.argument("pattern", metavar="REPO@REF:PATTERN")
@in_project
@printing
@click.pass_obj
def glob_file(environ: Mapping[str, str], pattern: str, project: str, printer: Printer) -> None:
    """Shells expand patterns too: put it in quotes."""
    with closing(open_workspace(environ, project=project)) as workspace:
        print_files(printer, [workspace.pfs.glob_file(pattern, _path(workspace.pfs, pattern))])


@click.command(epilog="Example: pachctl inspect file images@master:/liberty.png")
@click.argument("file", metavar="REPO@REF:PATH")
@in_project
@printing
@click.pass_obj
def inspect_file(environ: Mapping[str, str], file: str, project: str, printer: Printer) -> None:
    """Its hash is the same for the same content."""
    with closing(open_workspace(environ, project=project)) as workspace:
        _path(workspace.pfs, file)
        printer.one(file_document(workspace.pfs.inspect_file(file)), LINES)


@click.command(epilog="Example: pachctl copy file images@master:/2025 archive@master:/images")
@click.argument("source", metavar="REPO@REF:PATH")
@click.argument("target", metavar="REPO@BRANCH:PATH")
@click.option("-a", "--append", is_flag=True, help="Append to what the target holds instead of replacing it.")
@click.option("--src-project", metavar="NAME", help="The source's project, when it differs.")
@click.option("--dest-project", metavar="NAME", help="The target's project, when it differs.")
@in_project
@printing
@click.pass_obj
def copy_file(
    environ: Mapping[str, str], source: str, target: str, append: bool, src_project: str | None, dest_project: str | None, project: str, printer: Printer
) -> None:
    """Between repos too. The target may be a branch or an open commit."""
    at, to = in_given_project(src_project or project, source), in_given_project(dest_project or project, target)
    check_not_waiting(environ, parse_reference(to, project=project))
    with closing(open_workspace(environ, project=project)) as workspace:
        commit = workspace.pfs.copy_file(at, to, append=append)
        if printer.for_programs:
            # Of the commit, not of the branch: that may have another head by now.
            made = f"{commit.repo.project}/{commit.repo.name}@{commit.id}:{_path(workspace.pfs, to)}"
            printer.only_documents(file_document(workspace.pfs.inspect_file(made)))


@click.command(epilog="Example: pachctl delete file -r images@master:/2025")
@click.argument("file", metavar="REPO@BRANCH:PATH")
@click.option("-r", "--recursive", is_flag=True, help="A directory with everything below it, as with a / at its end; / is everything.")
@in_project
@printing
@click.pass_obj
def delete_file(environ: Mapping[str, str], file: str, recursive: bool, project: str, printer: Printer) -> None:
    """From a branch, in a commit of its own, or from an open commit. What does not exist is no error."""
    check_not_waiting(environ, parse_reference(file, project=project))
    with closing(open_workspace(environ, project=project)) as workspace:
        path = _path(workspace.pfs, file)
        is_below = path.endswith("/")
        if not recursive and not is_below and _is_directory(workspace.pfs, file):
            # It would do nothing, as if there were nothing of that name.
            raise InvalidError("not-a-file", f"'{path}' in {file.partition(':')[0]} is a directory; '{path}/' or -r removes it with everything below it")
        with workspace.pfs.modify_file(file) as files:
            if not is_below:
                files.delete(path)
            if recursive or is_below:
                files.delete_directory(path)
        printer.only_documents(commit_document(files.commit))


def _path(pfs: Pfs, reference: str) -> str:
    path = pfs.parse(reference).path
    if not path:
        reference = reference.rstrip(":")
        raise InvalidError("path-missing", f"'{reference}' has no path; write {reference if '@' in reference else f'{reference}@master'}:/path")
    return path


def _is_directory(pfs: Pfs, reference: str) -> bool:
    try:
        return bool(pfs.inspect_file(reference).type == DIRECTORY)
    except NotFoundError:
        return False
    except InvalidError as error:
        # In an open commit it may be both a file and a directory, until one of them is deleted.
        if error.code != "path-conflict":
            raise
        return False
