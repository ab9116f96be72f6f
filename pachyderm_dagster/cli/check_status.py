"""`check status`."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, printing, show_duration, text
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pps.alerts import Alert, list_alert

COLUMNS = (Column("PROJECT", text("project")), Column("PIPELINE", text("pipeline")), Column("ALERT", text("alert")))


@click.command(epilog="Example: pachctl check status -A")
@click.option("-A", "--all-projects", is_flag=True, help="The pipelines of every project.")
@in_project
@printing
@click.pass_obj
def check_status(environ: Mapping[str, str], all_projects: bool, project: str, printer: Printer) -> None:
    """Those with a `maximum_expected_uptime` whose unfinished job was started longer ago than that. Nothing is stopped: that is what `job_timeout` does."""
    with reading(environ) as txn:
        repos.ensure_project(txn, project)
        found = list_alert(txn, project=None if all_projects else project)
    printer.many(map(_document, found), COLUMNS)


def _document(alert: Alert) -> Fields:
    up, expected = alert.up.total_seconds(), alert.expected.total_seconds()
    said = f"job {alert.job} has run for {show_duration(up)}, and {show_duration(expected)} was expected"
    return {
        "project": alert.pipeline.project,
        "pipeline": alert.pipeline.name,
        "job": alert.job,
        "up_seconds": up,
        "expected_seconds": expected,
        "alert": said,
    }
