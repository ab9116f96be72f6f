"""Workers that stay between jobs, behind commands that change what their pipelines want of them."""

from collections.abc import Mapping
from contextlib import closing

from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.settings import load_settings


def tend(environ: Mapping[str, str]) -> None:
    """Has workers go that are of no pipeline any more, or of one that is stopped. Nothing to do where jobs run on this machine."""
    if load_settings(environ).kubernetes is None:
        return
    with closing(load("pachyderm_dagster.workspace:open_workspace")(environ)) as workspace:
        load("pachyderm_dagster.executors.choosing:tend_workers")(workspace)
