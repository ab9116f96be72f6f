"""`argo lint`, under each of the names that Argo gives it: whether workflow files can be run."""

import click

from pachyderm_dagster.cli.argo_files import read_files
from pachyderm_dagster.cli.printing import Column, Printer, printing, text

COLUMNS = (Column("KIND", text("kind")), Column("NAME", text("name")), Column("FILE", text("file")), Column("LINE", text("line")))


def _linter(words: str) -> click.Command:
    @click.command(epilog=f"Example: pachctl argo {words}")
    @click.argument("files", nargs=-1, required=True, metavar="FILE...")
    @printing
    def lint(files: tuple[str, ...], printer: Printer) -> None:
        """The objects of all files are checked together: a workflow finds the templates that it names in any of them. `-` is standard input.

        What is wrong, or not supported, is told with its file, line and path; what is right is listed.
        """
        found, _ = read_files(files)
        documents = [{"kind": read.kind, "name": read.name or "-", "file": read.place.source, "line": read.place.lines.get("", 1)} for read in found]
        printer.many(documents, COLUMNS)

    return lint


argo_lint = _linter("lint workflow.yaml templates.yaml")
template_lint = _linter("template lint templates.yaml")
cluster_template_lint = _linter("cluster-template lint templates.yaml")
cron_lint = _linter("cron lint nightly.yaml templates.yaml")
