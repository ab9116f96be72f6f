"""`find commit`."""

import time
from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.documents import commit_document
from pachyderm_dagster.cli.options import COUNT, in_project
from pachyderm_dagster.cli.printing import Column, Form, Printer, printing, text
from pachyderm_dagster.cli.printing import time as time_cell
from pachyderm_dagster.durations import parse_given_duration
from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.pfs import references
from pachyderm_dagster.pfs.finding import find_changes
from pachyderm_dagster.pfs.paths import clean_path
from pachyderm_dagster.workspace import open_workspace

COLUMNS = (Column("OP", text("op")), Column("COMMIT", text("id")), Column("BRANCH", text("branch")), Column("FINISHED", time_cell("finished")))


@click.command(epilog="Example: pachctl find commit images@master:/liberty.png --limit 1")
@click.argument("path", metavar="REPO@REF:PATH")
@click.option("-n", "--limit", type=COUNT, metavar="N", help="End after so many.")
@click.option("--timeout", metavar="TIME", help="Give up after so long (90s, 5m).")
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@in_project
@printing
@click.pass_obj
def find_commit(environ: Mapping[str, str], path: str, limit: int | None, timeout: str | None, as_json: bool, project: str, printer: Printer) -> None:
    """Those that added, changed or deleted a file or directory, from REF backwards. An open or failed commit is passed over."""
    deadline = None if timeout is None else time.monotonic() + parse_given_duration(timeout)
    printer = Printer(Form.JSON, printer.times) if as_json else printer
    documents = []
    with closing(open_workspace(environ, project=project)) as workspace:
        at = workspace.pfs.parse(path)
        if at.path is None:
            raise InvalidError("path-missing", f"'{at}' names no path; write repo@branch:/path")
        with workspace.database.read() as txn:
            start = references.find_commit(txn, at)
        for change in find_changes(workspace.database, workspace.pfs.trees, start, clean_path(at.path)):
            if change is not None:
                documents.append({"op": change.op, **commit_document(change.commit)})
            if len(documents) == limit:
                break
            if deadline is not None and time.monotonic() > deadline:
                printer.many(documents, COLUMNS)
                raise StateError("search-timeout", f"the search for '{at}' was not over after {timeout}; give it longer, or a --limit")
    printer.many(documents, COLUMNS)
