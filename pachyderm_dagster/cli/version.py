"""`version`."""

import platform

import click

from pachyderm_dagster import __version__
from pachyderm_dagster.cli.printing import Printer, printing


@click.command(epilog="Example: pachctl version")
@printing
def version(printer: Printer) -> None:
    """Of this program and of the Python that runs it."""
    if printer.for_programs:
        printer.only_documents({"version": __version__, "python": platform.python_version()})
    else:
        click.echo(f"pachyderm-dagster {__version__} (Python {platform.python_version()})")
