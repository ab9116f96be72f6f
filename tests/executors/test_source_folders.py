"""Pipelines whose code is a folder: which files a job runs, which datums run again, and that datums cannot change it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import put, read_all

SPEC = "pipeline: {name: say}\ninput: {pfs: {repo: data, glob: /*}}\ntransform: {build: {}%s}\n"
Update = Callable[..., Job]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "lib").mkdir(parents=True)
    (made / "lib" / "word").write_text("first")
    (made / "run.sh").write_text('for f in "$PFS_ROOT"/data/*; do cat "$f" lib/word > "$PFS_ROOT/out/$(basename "$f")"; done\n')
    return made


@pytest.fixture
def update(workspace: Workspace, folder: Path) -> Update:
    """Gives the pipeline its next version, with the folder as it is, and runs its job."""
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a ", "/b": b"b "})

    def make(extra: str = "", *, run: bool = True) -> Job:
        (spec,) = parse_specs(SPEC % extra, source="test")
        workspace.pps.create_pipeline(spec, update=True, source=workspace.pps.store_source(str(folder)))
        return run_newest(workspace) if run else newest(workspace)

    return make


def newest(workspace: Workspace) -> Job:
    with workspace.database.read() as txn:
        return jobs.list_job(txn, unfinished_only=True)[0]


def run_newest(workspace: Workspace) -> Job:
    with LocalExecutor(os.environ) as executor:
        return run_job(workspace, newest(workspace), executor=executor)


def test_command_runs_in_the_folder(workspace: Workspace, update: Update) -> None:
    job = update()
    assert (job.state, job.counters.data_processed) == (JobState.SUCCESS, 2), job.reason
    assert read_all(workspace, "say@master") == {"/a": b"a first", "/b": b"b first"}
    assert read_all(workspace, "say.spec@master").keys() == {"/spec", "/source/run.sh", "/source/lib/word"}


def test_datums_run_again_when_the_folder_changed_and_come_back_with_it(workspace: Workspace, update: Update, folder: Path) -> None:
    update()
    same = update()
    assert (same.counters.data_processed, same.counters.data_skipped) == (0, 2)
    (folder / "lib" / "word").write_text("second")
    assert update().counters.data_processed == 2
    assert read_all(workspace, "say@master") == {"/a": b"a second", "/b": b"b second"}
    (folder / "lib" / "word").write_text("first")
    assert update().counters.data_skipped == 2
    assert read_all(workspace, "say@master") == {"/a": b"a first", "/b": b"b first"}


def test_job_runs_the_folder_of_its_version(workspace: Workspace, update: Update, folder: Path) -> None:
    update(run=False)
    (folder / "lib" / "word").write_text("never stored")
    run_newest(workspace)
    assert read_all(workspace, "say@master")["/a"] == b"a first"


def test_version_without_a_folder_keeps_that_of_the_one_before(workspace: Workspace, update: Update, folder: Path) -> None:
    update()
    (folder / "lib" / "word").write_text("second")
    put(workspace, "data@master", {"/c": b"c "})
    run_newest(workspace)
    (spec,) = parse_specs(SPEC % ", env: {NEW: x}", source="test")
    workspace.pps.create_pipeline(spec, update=True)
    assert run_newest(workspace).counters.data_processed == 3
    assert read_all(workspace, "say@master")["/c"] == b"c first"


def test_first_version_needs_a_folder(workspace: Workspace, update: Update) -> None:
    (spec,) = parse_specs(SPEC % "", source="test")
    with pytest.raises(InvalidError, match="source-missing"):
        workspace.pps.create_pipeline(spec)


def test_datum_cannot_change_what_the_next_one_runs(update: Update, folder: Path) -> None:
    (folder / "run.sh").write_text("echo changed > lib/word\n")
    job = update()
    assert (job.state, job.counters.data_failed) == (JobState.FAILURE, 2)
    assert "Read-only file system" in job.reason


def test_folder_is_there_for_each_try(update: Update, folder: Path) -> None:
    (folder / "go").write_text('#!/bin/sh\ncat lib/word && rm "$PFS_ROOT/source" && exit 1\n')
    failed = update(', cmd: ["./go"]')
    assert (failed.state, failed.counters.data_failed) == (JobState.FAILURE, 2)
    assert "(try 3); its last output: first" in failed.reason


def test_files_of_the_folder_may_be_output(workspace: Workspace, update: Update, folder: Path) -> None:
    (folder / "run.sh").write_text('ln -s "$PFS_ROOT/source/lib/word" "$PFS_ROOT/out/$PACH_DATUM_ID"\n')
    done = update()
    assert done.state is JobState.SUCCESS, done.reason
    assert list(read_all(workspace, "say@master").values()) == [b"first", b"first"]


def test_batching_process_and_memory_volume_have_the_folder_too(workspace: Workspace, update: Update, folder: Path) -> None:
    (folder / "run.sh").write_text('while pachctl next datum; do cat lib/word "$PFS_ROOT"/data/* > "$PFS_ROOT/out/$(ls "$PFS_ROOT"/data)"; done\n')
    job = update(", datum_batching: true, memory_volume: true")
    assert job.state is JobState.SUCCESS, job.reason
    assert read_all(workspace, "say@master") == {"/a": b"firsta ", "/b": b"firstb "}
