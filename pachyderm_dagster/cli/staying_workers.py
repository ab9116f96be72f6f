"""Workers that stay between jobs, behind commands that change what their pipelines want of them."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.names import DEV_LEASE
from pachyderm_dagster.coordination.names import sensor_lease
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.record import Record
from pachyderm_dagster.settings import load_settings


def tend(environ: Mapping[str, str]) -> None:
    """Has workers go that are of no pipeline any more, or of one that is stopped. Nothing to do where jobs run on this machine.

    The command has done by then what it is for, so what fails here is a note: whoever looks for work looks after workers too.
    """
    if load_settings(environ).kubernetes is None:
        return
    try:
        with closing(load("pachyderm_dagster.workspace:open_workspace")(environ)) as workspace:
            load("pachyderm_dagster.executors.choosing:tend_workers")(workspace)
    except PachydermError as error:
        click.echo(f"note: workers that stay between jobs could not be looked after now: {error}", err=True)


def tend_unwatched(record: Record, environ: Mapping[str, str]) -> None:
    """As `tend`, where there are such workers or services and no daemon that looks after them: by a command that runs jobs and found none to run."""
    if record.settings.kubernetes is None:
        return
    with record.database.read() as txn:
        projects = {pipeline.name.project for pipeline in pipelines.list_pipeline(txn) if pipeline.spec.autoscaling or pipeline.spec.runs_on}
    if projects and not record.leases.find_owners([DEV_LEASE, *map(sensor_lease, projects)]):
        tend(environ)
