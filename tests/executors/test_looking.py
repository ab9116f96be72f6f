"""What people see of the datums of jobs: that have ended, that run, that would be."""

import datetime as dt
from collections.abc import Callable

import pytest

from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.executors import recording
from pachyderm_dagster.executors import run_job as running
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.datum_listing import DatumInfo, ShownState
from pachyderm_dagster.pps.inputs import leaves
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, run_due, run_interrupted
from tests.executors.test_run_job import COPY, upper

CROSS = """
pipeline: {name: pairs}
transform: {cmd: [in-process]}
input: {cross: [{pfs: {repo: data, glob: /*}}, {pfs: {name: again, repo: data, glob: /*}}]}
"""


def shown(datums: "list[DatumInfo]") -> dict[str, str]:
    """The states of datums by the last of the files that they read."""
    return {datum.details.inputs[-1].rpartition("/")[2]: datum.state.value for datum in datums}


def newest(workspace: Workspace) -> Job:
    with workspace.database.read() as txn:
        return jobs.list_job(txn, pipeline=RepoName("default", "copy"))[0]


def test_datums_of_an_unfinished_job_are_listed_with_what_is_known(workspace: Workspace, create: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(recording, "FIRST_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(recording, "SAVING_SHARE", float("inf"))
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(COPY)
    run_due(workspace, InProcessExecutor(upper))
    put(workspace, "data@master", {"/b": b"bad", "/c": b"c", "/d": b"d"})
    seen: list[dict[str, str]] = []
    started = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def code(files: dict[str, bytes]) -> dict[str, bytes]:
        datums = list(workspace.pps.list_datum(newest(workspace)))
        assert [datum.id for datum in datums] == sorted(datum.id for datum in datums)
        seen.append(shown(datums))
        (open_one, *_) = workspace.pps.list_datum(newest(workspace), states={ShownState.STARTING})
        assert (open_one.started, open_one.ran_in) == (None, None)
        assert workspace.pps.inspect_datum(newest(workspace), open_one.id[:20], running={open_one.id: started}).started == started
        return upper(files)

    assert seen == []
    (job,) = run_due(workspace, InProcessExecutor(code))
    assert seen == [
        {"a": "SKIPPED", "b": "STARTING", "c": "STARTING", "d": "STARTING"},
        {"a": "SKIPPED", "b": "FAILED", "c": "STARTING", "d": "STARTING"},
        {"a": "SKIPPED", "b": "FAILED", "c": "SUCCESS", "d": "STARTING"},
    ]
    assert shown(list(workspace.pps.list_datum(job))) == {"a": "SKIPPED", "b": "FAILED", "c": "SUCCESS", "d": "SUCCESS"}
    with workspace.database.read() as txn:
        assert jobs.find_checkpoint(txn, job) is None


def test_counters_of_a_killed_attempt_stay_and_its_results_count_as_processed(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"b", "/c": b"c"})
    create(COPY)
    run_interrupted(workspace, upper, "/c")
    reports: list[int] = []

    def looks(files: dict[str, bytes]) -> dict[str, bytes]:
        reports.append(newest(workspace).counters.data_processed)
        return upper(files)

    (job,) = run_due(workspace, InProcessExecutor(looks))
    assert reports == [2]
    assert (job.restarts, job.counters.data_processed, job.counters.data_skipped) == (1, 3, 0)
    assert set(shown(list(workspace.pps.list_datum(job))).values()) == {"SUCCESS"}


def test_datums_of_a_job_that_waits_are_not_known_yet(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    run_due(workspace, InProcessExecutor(upper))
    workspace.pfs.start_commit("data@master")
    with pytest.raises(StateError) as caught:
        workspace.pps.list_datum(newest(workspace))
    assert caught.value.code == "job-waiting"
    assert "data@" in caught.value.message


def test_plan_says_which_datums_would_run(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"b"})
    (spec,) = parse_specs(COPY, source="test")
    assert shown(list(workspace.pps.list_planned(workspace.pps.plan_datum(spec)))) == {"a": "UNKNOWN", "b": "UNKNOWN"}
    create(COPY)
    run_due(workspace, InProcessExecutor(upper))
    put(workspace, "data@master", {"/b": b"changed", "/c": b"c"})
    planned = workspace.pps.plan_datum(spec)
    assert shown(list(workspace.pps.list_planned(planned))) == {"a": "SKIPPED", "b": "UNKNOWN", "c": "UNKNOWN"}
    assert shown(list(workspace.pps.list_planned(planned, states={ShownState.SKIPPED}))) == {"a": "SKIPPED"}
    (pairs,) = parse_specs(CROSS, source="test")
    assert len(workspace.pps.plan_datum(pairs)) == 9
    with workspace.database.read() as txn:
        assert len(jobs.list_job(txn)) == 2, "a plan makes nothing"


def test_plan_of_a_trigger_that_has_no_branch_yet_is_that_of_what_it_will_follow(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    triggered = COPY.replace("glob:", "trigger: {commits: 2}, glob:")
    (spec,) = parse_specs(triggered, source="test")
    assert [leaf.branch for leaf in leaves(spec.input)] == ["copy-trigger-1"]
    assert shown(list(workspace.pps.list_planned(workspace.pps.plan_datum(spec)))) == {"a": "UNKNOWN"}
    create(triggered)
    assert len(workspace.pps.plan_datum(spec)) == 0, "the branch is there, and nothing has moved it"
    put(workspace, "data@master", {"/b": b"b"})
    assert shown(list(workspace.pps.list_planned(workspace.pps.plan_datum(spec)))) == {"a": "UNKNOWN", "b": "UNKNOWN"}


def test_plan_of_a_branch_without_a_commit_has_no_datums(workspace: Workspace) -> None:
    workspace.pfs.create_repo("data")
    (spec,) = parse_specs(COPY, source="test")
    assert len(workspace.pps.plan_datum(spec)) == 0
    workspace.pfs.start_commit("data@master")
    assert len(workspace.pps.plan_datum(spec)) == 0
    workspace.pfs.create_repo("other")
    put(workspace, "other@master", {"/a": b"a"})
    (both,) = parse_specs(CROSS.replace("cross", "union").replace("name: again, repo: data", "name: again, repo: other"), source="test")
    assert shown(list(workspace.pps.list_planned(workspace.pps.plan_datum(both)))) == {"a": "UNKNOWN"}


def test_plan_of_what_does_not_exist_is_refused(workspace: Workspace) -> None:
    (spec,) = parse_specs(COPY, source="test")
    with pytest.raises(NotFoundError) as caught:
        workspace.pps.plan_datum(spec)
    assert caught.value.code == "repo-not-found"
