"""`extract`."""

import sys
from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.options import gone_option
from pachyderm_dagster.cli.printing import show_size
from pachyderm_dagster.cli.progress import Progress
from pachyderm_dagster.moving.extracting import extracting
from pachyderm_dagster.moving.places import url_of, write_file, write_store, write_stream
from pachyderm_dagster.workspace import open_workspace

_WHOLE = "an extract is whole, so that ids, provenance and skips stay true"


@click.command(epilog="Example: pachctl extract -o home.extract")
@click.option(
    "-o",
    "--output",
    "-u",
    "--url",
    "place",
    metavar="FILE|FOLDER|URL",
    help="Where it goes, standard output unless given: a file, or a folder (it exists, or ends in /) or bucket (s3://bucket/prefix), brought up to date.",
)
@click.option("--no-objects", is_flag=True, help="The record alone, for a store that stays where it is.")
@gone_option("--no-repos", is_flag=True, instead=f"{_WHOLE}; `pachctl list pipeline -o json` shows the specifications of pipelines alone")
@gone_option("--no-pipelines", is_flag=True, instead=f"{_WHOLE}; `pachctl restore --no-pipelines` leaves them out of what it fills")
@click.pass_obj
def extract(environ: Mapping[str, str], place: str | None, no_objects: bool) -> None:
    """Projects, repos, branches, commits with all their files, pipelines with all their versions, jobs and results of datums, open commits and transactions:
    all that `pachctl restore` needs to make the same home elsewhere. Others may go on writing: what is extracted is the home at one moment.
    """
    if place is None and sys.stdout.isatty():
        raise click.UsageError("an extract is not for reading, and standard output is a terminal; use -o FILE", click.get_current_context())
    with (
        closing(open_workspace(environ)) as workspace,
        extracting(workspace, with_objects=not no_objects) as extraction,
        Progress("extract", extraction.header.size_bytes) as progress,
    ):
        if place is None or place == "-":
            write_stream(extraction, sys.stdout.buffer, progress.advance)
        elif (url := url_of(place)) is not None:
            write_store(extraction, url, progress.advance)
        else:
            write_file(extraction, place, progress.advance)
    held = "the record alone" if no_objects else f"{len(extraction.ids):,} objects of {show_size(sum(extraction.sizes))}"
    click.echo(f"extracted {held}", err=True)
