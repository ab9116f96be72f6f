"""`list file --history`."""

from pachyderm_dagster.cli.file_documents import file_document, show_name
from pachyderm_dagster.cli.numbers import ALL
from pachyderm_dagster.cli.printing import Column, Printer, size, text, time
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs import references
from pachyderm_dagster.pfs.file_history import list_history
from pachyderm_dagster.pfs.paths import clean_path
from pachyderm_dagster.pfs.reading import is_glob
from pachyderm_dagster.workspace import Workspace

COLUMNS = (Column("COMMIT", text("commit")), Column("FINISHED", time("finished")), Column("SIZE", size("size_bytes")), Column("NAME", show_name))


def print_history(workspace: Workspace, printer: Printer, directory: str, most: int) -> None:
    """The last versions of a file, or of what is in a directory, with the commits that made them.

    Raises:
        InvalidError: `path-invalid`, for a pattern.
        NotFoundError: as `Pfs.list_file`.
    """
    pfs = workspace.pfs
    path = pfs.parse(directory).path or "/"
    if is_glob(path):
        raise InvalidError("path-invalid", f"--history takes a file or a directory, no pattern; '{path}' is one")
    pfs.inspect_file(f"{directory}:/" if pfs.parse(directory).path is None else directory)
    with workspace.database.read() as txn:
        start = references.find_commit(txn, pfs.parse(directory))
    found = list_history(workspace.database, pfs.trees, start, clean_path(path), most=None if most == ALL else most)
    printer.many(({**file_document(one.file), "commit": one.commit.id, "finished": one.commit.finished} for one in found), COLUMNS)
