"""Workflow files: where their text comes from, and what is told of them."""

from collections.abc import Sequence

import click

from pachyderm_dagster.argo.checking import check_object
from pachyderm_dagster.argo.kept_objects import KeptObject, read_all
from pachyderm_dagster.argo.library import Library, library_of
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.argo.workflows import Read
from pachyderm_dagster.cli.spec_files import read_text


def read_files(sources: Sequence[str], kept: Sequence[KeptObject] = ()) -> tuple[list[Read], Library]:
    """The objects of files, all checked, and what they may name. Fields that do nothing here are told on standard error.

    Args:
        kept: objects of the home, which those of the files may name; one of the same name in the files counts.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
        NotFoundError, UnreachableError, InvalidError: as `read_text`.
    """
    found: list[Read] = []
    notes: list[str] = []
    for source in sources:
        text = read_text(source)
        found.extend(parse_objects(text.text, source=text.source, notes=notes))
    for note in notes:
        click.echo(f"note: {note}", err=True)
    library = library_of([*read_all(kept), *found])
    for read in found:
        check_object(read, library)
    return found, library
