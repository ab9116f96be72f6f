"""Several commit sets in one Dagster run, when commits come faster than runs start."""

import contextlib
import datetime as dt
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.coordination.names import job_lease
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.integration.due_runs import DueSets
from pachyderm_dagster.integration.labels import WITH_SET
from pachyderm_dagster.integration.set_runs import SILENCE
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.integration.home import Home

EDGES, MONTAGE = RepoName("default", "edges"), RepoName("default", "montage")
KEYS = {EDGES: dg.AssetKey(["default", "edges"]), MONTAGE: dg.AssetKey(["default", "montage"])}
FAILS_ON_BAD = "if ls /pfs/images/bad*; then exit 1; fi; cp /pfs/images/* /pfs/out/"


def commit_many(home: Home, *names: str) -> list[str]:
    """One commit a file; the ids of their sets."""
    return [home.commit("images@master", {f"/{name}": name}).id for name in names]


def data_versions(home: Home, name: str) -> list[str]:
    """Of the asset's materializations, oldest first."""
    return [(found.tags or {})["dagster/data_version"] for found in reversed(home.materializations("default", name))]


def test_burst_is_one_run_with_a_job_and_a_materialization_each_in_order(home: Home) -> None:
    commit_many(home, "a")
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges")
    home.run_all()
    burst = commit_many(home, "b", "c", "d", "e")
    (request,) = home.tick().requests
    assert request.run_key == burst[0]
    result = home.run(request)
    assert result.success
    assert home.tick().requests == []
    for name in ("edges", "montage"):
        done = list(reversed(home.jobs(name)))[-4:]
        assert [(job.id, job.state, job.run_id) for job in done] == [(set_id, JobState.SUCCESS, result.run_id) for set_id in burst]
        assert [(job.counters.data_processed, job.counters.data_skipped) for job in done] == [(1, 1), (1, 2), (1, 3), (1, 4)]
        assert data_versions(home, name)[-4:] == burst
    # What was read is in each of them, and the newest is fresh.
    assert [(found.tags or {})["dagster/input_data_version/default/images"] for found in home.materializations("default", "edges")[:4]] == burst[::-1]
    assert home.status(KEYS[MONTAGE])[1] == []


def test_sets_that_need_some_of_its_pipelines_go_along(home: Home) -> None:
    home.commit("labels@master", {"/a": "1"})
    commit_many(home, "a")
    home.pipeline("edges", "images")
    home.pipeline("montage", "labels", "images", code="true")
    home.run_all()
    first, labels, last = commit_many(home, "b")[0], home.commit("labels@master", {"/b": "1"}).id, commit_many(home, "c")[0]
    (request,) = home.tick().requests
    # The second set needs only the montage, the third one both.
    assert request.run_key == first
    home.run(request)
    assert {job.id for job in home.jobs("montage") if job.state is JobState.SUCCESS} >= {first, labels, last}


def test_set_that_also_needs_another_pipeline_waits_and_so_does_what_is_behind_it(home: Home) -> None:
    home.commit("labels@master", {"/a": "1"})
    commit_many(home, "a")
    home.pipeline("edges", "images")
    home.pipeline("words", "labels", "images", code="true")
    home.run_all()
    first = home.commit("labels@master", {"/b": "1"}).id
    commit_many(home, "c")
    home.commit("labels@master", {"/d": "1"})
    (request,) = home.tick().requests
    assert (request.run_key, [name for name in request.tags if name.startswith(WITH_SET)]) == (first, [])
    home.run(request)
    home.run_all()
    assert {job.state for job in home.jobs("words")} == {JobState.SUCCESS}


def test_failed_job_among_them_fails_the_run_and_holds_up_nobody(home: Home) -> None:
    commit_many(home, "a")
    home.pipeline("edges", "images", code=FAILS_ON_BAD)
    home.pipeline("montage", "edges")
    home.run_all()
    (good, bad), cured = commit_many(home, "b", "bad"), None
    with home.workspace.pfs.modify_file("images@master") as files:
        files.delete("/bad")
    cured = files.commit.id
    (request,) = home.tick().requests
    assert not home.run(request).success
    states = {job.id: job.state for job in home.jobs("edges")}
    assert (states[good], states[bad], states[cured]) == (JobState.SUCCESS, JobState.FAILURE, JobState.SUCCESS)
    assert data_versions(home, "edges")[-2:] == [good, cured]
    assert {job.id: job.state for job in home.jobs("montage")}[bad] is JobState.UNRUNNABLE


@pytest.mark.parametrize("place", [0, 1, 2])
def test_job_that_is_deleted_meanwhile_holds_up_nobody(home: Home, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    commit_many(home, "a")
    home.pipeline("edges", "images")
    home.run_all()
    burst = commit_many(home, "b", "c", "d")
    (request,) = home.tick().requests

    def run_what_is_there(workspace: Workspace, job: Job, **how: Any) -> Job:
        if job.id == burst[place]:
            raise NotFoundError("job-not-found", "somebody deleted it")
        return run_job(workspace, job, **how)

    monkeypatch.setattr("pachyderm_dagster.integration.job_step.run_job", run_what_is_there)
    assert home.run(request).success
    assert data_versions(home, "edges")[1:] == [*burst[:place], *burst[place + 1 :]]


def test_run_that_ended_and_left_sets_undone_is_followed_by_one_for_them(home: Home) -> None:
    commit_many(home, "a")
    home.pipeline("edges", "images")
    home.run_all()
    burst = commit_many(home, "b", "c", "d")
    (request,) = home.tick().requests
    run = home.instance.create_run_for_job(home.definitions().resolve_job_def("pipelines_default"), tags=request.tags, status=dg.DagsterRunStatus.STARTED)
    assert home.tick().requests == []
    home.instance.report_run_failed(run)
    clock = ManualClock(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=20))
    with contextlib.closing(open_workspace(home.environ, clock=clock)) as workspace:
        later = DueSets(workspace, home.instance, LocalExecutor(home.environ), "default", KEYS, most_sets=9).look({}, limit=9)
    assert [(request.set_id, request.attempt) for request in later.requests] == [(burst[0], 2)]


def test_run_that_works_on_one_of_its_sets_is_alive_for_all(home: Home) -> None:
    commit_many(home, "a")
    home.pipeline("edges", "images")
    home.run_all()
    commit_many(home, "b", "c")
    (request,) = home.tick().requests
    run = home.instance.create_run_for_job(home.definitions().resolve_job_def("pipelines_default"), tags=request.tags, status=dg.DagsterRunStatus.STARTED)
    clock = ManualClock(dt.datetime.now(dt.UTC))
    silent: dict[str, dt.datetime] = {}
    newest = home.jobs("edges")[0]
    with contextlib.closing(open_workspace(home.environ, clock=clock)) as workspace:
        sets = DueSets(workspace, home.instance, LocalExecutor(home.environ), "default", KEYS, most_sets=9)
        for _ in range(3):
            workspace.leases.acquire(job_lease(newest.key), "worker", LEASE_TIME * 10)
            silent = sets.look(silent, limit=9).silent
            clock.advance(SILENCE)
    found = home.instance.get_run_by_id(run.run_id)
    assert found is not None and found.status is dg.DagsterRunStatus.STARTED
