"""Runs that died: how they are told from living ones, and what becomes of their sets."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.coordination.names import job_lease
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.integration.due_runs import DueRuns, DueSets
from pachyderm_dagster.integration.set_runs import MAX_ATTEMPTS, SILENCE
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.workspace import open_workspace
from tests.integration.home import Home

EDGES = RepoName("default", "edges")
KEYS = {EDGES: dg.AssetKey(["default", "edges"])}
STATUS = dg.DagsterRunStatus


class Looker:
    """Looks at the due sets of a home, with a clock of its own."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.clock = ManualClock(dt.datetime.now(dt.UTC))
        self.workspace = open_workspace(home.environ, clock=self.clock)
        self.silent: dict[str, dt.datetime] = {}

    def look(self, keys: dict[RepoName, dg.AssetKey] = KEYS) -> DueRuns:
        found = DueSets(self.workspace, self.home.instance, LocalExecutor(self.home.environ), "default", keys).look(self.silent, limit=10)
        self.silent = found.silent
        return found

    def add_run(self, status: STATUS, attempt: int = 1) -> dg.DagsterRun:
        """A run of the set as Dagster keeps it."""
        tags = {"pachyderm/commit_set": self.home.jobs("edges")[0].id, "pachyderm/attempt": str(attempt)}
        return self.home.instance.create_run_for_job(self.home.definitions().resolve_job_def("pipelines_default"), tags=tags, status=status)

    def status(self, run: dg.DagsterRun) -> STATUS:
        found = self.home.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status


@pytest.fixture
def looker(home: Home) -> Iterator[Looker]:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    looker = Looker(home)
    yield looker
    looker.workspace.close()


def test_run_without_a_sign_of_life_is_failed_and_its_set_tried_again(looker: Looker) -> None:
    run = looker.add_run(STATUS.STARTED)
    assert looker.look().requests == []
    looker.clock.advance(SILENCE)
    (request,) = looker.look().requests
    assert looker.status(run) is STATUS.FAILURE
    assert (request.attempt, request.run_key) == (2, f"{request.set_id}-attempt-2")


def test_run_that_works_is_never_taken_for_dead(looker: Looker) -> None:
    run = looker.add_run(STATUS.STARTED)
    lease = job_lease(looker.home.jobs("edges")[0].key)
    looker.look()
    for _ in range(5):
        looker.clock.advance(SILENCE)
        assert looker.workspace.leases.acquire(lease, "its process", SILENCE)
        assert looker.look().silent == {}
    assert looker.status(run) is STATUS.STARTED


def test_cancelled_run_whose_process_is_gone_ends_cancelled_and_its_jobs_are_stopped(looker: Looker) -> None:
    run = looker.add_run(STATUS.STARTED)
    looker.home.instance.report_run_canceling(run)
    looker.look()
    looker.clock.advance(SILENCE)
    looker.look()
    assert looker.status(run) is STATUS.CANCELED
    (job,) = looker.home.jobs("edges")
    assert (job.state, job.reason) == (JobState.KILLED, f"Dagster run {run.run_id} was cancelled")


def test_set_that_no_run_can_finish_is_given_up_with_a_reason(looker: Looker) -> None:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        looker.home.instance.report_run_failed(looker.add_run(STATUS.NOT_STARTED, attempt))
    assert looker.look().requests == []
    (job,) = looker.home.jobs("edges")
    assert job.state is JobState.KILLED
    assert job.reason.startswith("4 Dagster runs ended without bringing the job further")


def test_set_of_a_pipeline_that_is_not_loaded_waits(looker: Looker) -> None:
    found = looker.look(keys={})
    assert (found.requests, found.unloaded) == ([], (EDGES,))
    assert found.waiting == ["1 commit set waits for the code location to load edges: declare it there, refresh its state, or `pachctl delete pipeline edges`"]


def test_job_that_another_process_runs_is_left_to_it(looker: Looker) -> None:
    (job,) = looker.home.jobs("edges")
    assert looker.workspace.leases.acquire(job_lease(job.key), "another process", SILENCE)
    assert looker.look().requests == []
    looker.clock.advance(SILENCE)
    assert len(looker.look().requests) == 1
