"""Workers that stay between jobs, behind commands that change what their pipelines want of them."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.errors import PachydermError
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
