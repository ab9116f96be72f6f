"""What is left of a job that was ended before its time: what it had done, and what it was doing."""

import datetime as dt
import os
import threading
from collections.abc import Callable

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.executors import recording
from pachyderm_dagster.executors import run_job as running
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, run_due, run_interrupted
from tests.executors.test_looking import newest, shown
from tests.executors.test_run_job import COPY, upper

SLOW = """
pipeline: {name: copy}
transform: {cmd: [sh, -c, "echo saw $(basename $data); case $data in */hangs) echo working; sleep 600;; esac; cp $data $PFS_ROOT/out/"]}
input: {pfs: {repo: data, glob: /*}}
job_timeout: 3s
"""


def stop(workspace: Workspace) -> None:
    job = newest(workspace)
    workspace.database.write(lambda txn: jobs.stop(txn, job, reason="by a user"))


def test_job_out_of_time_tells_what_ended_and_what_hung(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"b", "/hangs": b"h"})
    create(SLOW)
    with LocalExecutor(os.environ) as executor:
        job = run_job(workspace, newest(workspace), executor=executor)
    assert (job.state, job.counters.data_processed, job.counters.data_failed, job.counters.data_total) == (JobState.KILLED, 2, 1, 3)
    datums = {datum.details.inputs[0].rpartition("/")[2]: datum for datum in workspace.pps.list_datum(job)}
    assert {name: datum.state.value for name, datum in datums.items()} == {"a": "SUCCESS", "b": "SUCCESS", "hangs": "FAILED"}
    assert datums["hangs"].details.reason == "it ran and was broken off: the job took longer than its job_timeout of 3 s"
    assert datums["hangs"].started is not None
    assert sorted(line.text for line in workspace.pps.logs(job)) == ["saw a", "saw b", "saw hangs", "working"]
    kept = {path.rpartition("/")[2] for path in workspace.pfs.glob_file(f"copy.meta@{job.id}", "/pfs/*/data/*").column("path").to_pylist()}
    assert kept == {"a", "b", "hangs"}


def test_time_of_a_job_goes_on_in_its_next_attempt(workspace: Workspace, create: Callable[..., None], clock: ManualClock) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/hangs": b"h"})
    create(SLOW.replace("3s", "1h"))
    run_interrupted(workspace, upper, "/hangs")
    clock.advance(dt.timedelta(hours=2))
    with LocalExecutor(os.environ) as executor:
        job = run_job(workspace, newest(workspace), executor=executor)
    assert (job.state, job.reason) == (JobState.KILLED, "the job took longer than its job_timeout of 3600 s")
    assert (job.counters.data_processed, job.counters.data_failed) == (1, 1)


def test_stopped_job_tells_at_once_what_its_checkpoint_knew_and_soon_the_rest(
    workspace: Workspace, create: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "FIRST_CHECKPOINT_SECONDS", 0.0)
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(COPY)
    run_due(workspace, InProcessExecutor(upper))
    put(workspace, "data@master", {"/b": b"bad", "/c": b"c", "/d": b"d"})
    at_once: list[dict[str, str]] = []

    def code(files: dict[str, bytes]) -> dict[str, bytes]:
        if "/c" in files:
            stop(workspace)
            # As it is for ever when whoever ran the job was killed before.
            at_once.append(shown(list(workspace.pps.list_datum(newest(workspace)))))
        return upper(files)

    (job,) = run_due(workspace, InProcessExecutor(code))
    assert (job.state, job.reason) == (JobState.KILLED, "by a user")
    assert at_once == [{"a": "SKIPPED", "b": "FAILED"}]
    assert shown(list(workspace.pps.list_datum(job))) == {"a": "SKIPPED", "b": "FAILED", "c": "SUCCESS", "d": "SUCCESS"}
    assert (job.counters.data_processed, job.counters.data_failed, job.counters.data_skipped) == (2, 1, 1)
    assert workspace.pfs.inspect_commit(f"copy.meta@{job.id}").error == "job KILLED: by a user"
    with workspace.database.read() as txn:
        assert jobs.find_checkpoint(txn, job) is None


def test_job_whose_process_was_interrupted_tells_what_it_did_when_it_is_ended(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"b"})
    create(COPY)
    run_interrupted(workspace, upper, "/b")
    create(COPY, update=True)
    with workspace.database.read() as txn:
        (killed,) = (job for job in jobs.list_job(txn, pipeline=RepoName("default", "copy")) if job.version == 1)
    assert killed.state is JobState.KILLED
    assert shown(list(workspace.pps.list_datum(killed))) == {"a": "SUCCESS"}


def test_next_attempt_does_not_tell_of_datums_that_it_runs_again(workspace: Workspace, create: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "FIRST_CHECKPOINT_SECONDS", 0.0)
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"bad", "/c": b"c"})
    create(COPY)
    run_interrupted(workspace, upper, "/c")
    assert shown(list(workspace.pps.list_datum(newest(workspace)))) == {"a": "SUCCESS", "b": "FAILED", "c": "STARTING"}
    seen: list[dict[str, str]] = []

    def looks(files: dict[str, bytes]) -> dict[str, bytes]:
        seen.append(shown(list(workspace.pps.list_datum(newest(workspace)))))
        return upper(files)

    run_due(workspace, InProcessExecutor(looks))
    assert seen[0] == {"a": "SUCCESS", "b": "STARTING", "c": "STARTING"}


def test_datums_that_ended_are_told_of_while_another_one_goes_on(workspace: Workspace, create: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "FIRST_CHECKPOINT_SECONDS", 600.0)
    monkeypatch.setattr(recording, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(running, "REPORT_SECONDS", 0.01)
    saved = threading.Event()
    save_if_due = recording.ResultRecorder.save_if_due

    def save_and_tell(recorder: recording.ResultRecorder) -> None:
        ended = recorder.count
        save_if_due(recorder)
        if ended:
            saved.set()

    monkeypatch.setattr(recording.ResultRecorder, "save_if_due", save_and_tell)
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"b"})
    create(COPY)
    seen: list[dict[str, str]] = []

    def code(files: dict[str, bytes]) -> dict[str, bytes]:
        if "/b" in files:
            assert saved.wait(60)
            seen.append(shown(list(workspace.pps.list_datum(newest(workspace)))))
        return upper(files)

    run_due(workspace, InProcessExecutor(code))
    assert seen == [{"a": "SUCCESS", "b": "STARTING"}]
