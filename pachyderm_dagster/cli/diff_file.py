"""`diff file`."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.comparing import content_lines
from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.file_documents import file_document, show_name
from pachyderm_dagster.cli.options import in_given_project, in_project
from pachyderm_dagster.cli.printing import Column, Document, Printer, printing, show_size
from pachyderm_dagster.pfs.comparing import differences, parent_side, side
from pachyderm_dagster.pfs.differences import FileDiff, FileOp
from pachyderm_dagster.workspace import open_workspace

MARKS = {FileOp.ADDED: "+", FileOp.DELETED: "-", FileOp.CHANGED: "M"}


def _shown(document: Document) -> Fields:
    file: Fields = document["new"] or document["old"]
    return file


COLUMNS = (
    Column("OP", lambda document, _: MARKS[document["op"]]),
    Column("SIZE", lambda document, _: show_size(_shown(document)["size_bytes"])),
    Column("NAME", lambda document, times: show_name(_shown(document), times)),
)


@click.command(epilog="Example: pachctl diff file images@master:/ images@master^2:/ --name-only")
@click.argument("new", metavar="REPO@REF[:PATH]")
@click.argument("old", metavar="[REPO@REF[:PATH]]", required=False)
@click.option("-s", "--shallow", is_flag=True, help="Nothing deeper than the children of the path.")
@click.option("--name-only", is_flag=True, help="Which files differ, not how.")
@click.option("--diff-command", metavar="COMMAND", help="Show how with this program, which gets the old and the new file.")
@click.option("--old-project", metavar="NAME", help="The old file's project, when it differs.")
@in_project
@printing
@click.pass_obj
def diff_file(
    environ: Mapping[str, str],
    new: str,
    old: str | None,
    shallow: bool,
    name_only: bool,
    diff_command: str | None,
    old_project: str | None,
    project: str,
    printer: Printer,
) -> None:
    """With one reference, against its commit's parent; parents that ended with an error are passed over. JSON says which files differ; people see how,
    unless --name-only is given.
    """
    with closing(open_workspace(environ, project=project)) as workspace:
        pfs = workspace.pfs
        after = side(pfs, new)
        before = parent_side(pfs, new) if old is None else side(pfs, old if old_project is None else in_given_project(old_project, old))
        found = differences(pfs, before, after, shallow=shallow)
        if printer.for_programs or name_only:
            printer.many(map(_document, found), COLUMNS)
            return
        for difference in found:
            for line in content_lines(pfs, before, after, difference, diff_command, shallow=shallow):
                click.echo(line)


def _document(difference: FileDiff) -> Fields:
    new, old = (None if file is None else file_document(file) for file in (difference.new, difference.old))
    return {"op": difference.op, "new": new, "old": old}
