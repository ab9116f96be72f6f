"""Requests that datums which run in pods be run again: objects of the store, which the workers look for (worker/restart_requests.py)."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pachyderm_dagster.executors.kubernetes.attempt_areas import list_areas
from pachyderm_dagster.executors.kubernetes.names import JobNames, kept_name
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pps.model import Job, Pipeline
from pachyderm_dagster.worker.restart_requests import LOOK_SECONDS, MOST_LOOK_SECONDS
from pachyderm_dagster.worker.stored_log import log_area
from pachyderm_dagster.worker.work_area import WorkArea
from pachyderm_dagster.workspace import Workspace

WAIT_SECONDS = MOST_LOOK_SECONDS + 2 * LOOK_SECONDS
"""A worker takes a request up at its next look, and those for a datum that has run for long are far apart."""
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class InPods:
    """What runs of a job in pods, by datum: the area of its worker."""

    areas: dict[str, WorkArea]

    def ask_restart(self, datums: Collection[str]) -> set[str]:
        """Asks for datums to be run again; those which a worker ran, and runs again. Waits for the workers, `WAIT_SECONDS` at most."""
        for datum in datums:
            self.areas[datum].ask_restart(datum)
        open_ones, until = set(datums), time.monotonic() + WAIT_SECONDS
        while open_ones and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            open_ones = {datum for datum in open_ones if self.areas[datum].is_restart_asked(datum)}
        # Nobody runs these now, and who begins with them later was not meant.
        return set(datums) - {datum for datum in open_ones if self.areas[datum].take_restart(datum)}


def find_in_pods(workspace: Workspace, pipeline: Pipeline, job: Job) -> InPods:
    """The datums of a job that may run in pods now: sets that were taken, without what has a result."""
    if pipeline.spec.runs_on:
        return InPods({task.id: area for area in _kept_areas(workspace, pipeline, job) for task in area.read_set(0)})
    home = find_store_id(workspace.store)
    name = JobNames(home or "", job).name
    areas = [WorkArea(workspace.store, area) for area in (name, *list_areas(workspace.store, name))]
    return InPods({datum: area for area in areas for datum in area.begun()})


def _kept_areas(workspace: Workspace, pipeline: Pipeline, job: Job) -> Iterator[WorkArea]:
    """Those of the pods of a service that serve a job."""
    name = kept_name(pipeline.name)
    for one in list_areas(workspace.store, name):
        area = WorkArea(workspace.store, one)
        found = None if one == log_area(name) else area.find_setup()
        if found is not None and found.setup.environment.get("PACH_JOB_ID") == job.id:
            yield area
