"""Jobs from commit to output: what runs, what is skipped, what the output then is."""

from collections.abc import Callable

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import ConflictError, ExecutionError, ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pfs import branches, repos
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, read_all, run_due, run_interrupted

COPY = """
pipeline: {name: copy}
transform: {cmd: [in-process]}
input: {pfs: {repo: data, glob: /*}}
"""
SECOND = """
pipeline: {name: second}
transform: {cmd: [in-process]}
input: {pfs: {repo: copy, glob: /*}}
"""


def upper(files: dict[str, bytes]) -> dict[str, bytes]:
    if b"bad" in files.values():
        raise ValueError("this datum is bad")
    return {path: data.upper() for path, data in files.items()}


def counts(job: Job) -> tuple[int, int, int, int]:
    found = job.counters
    return found.data_total, found.data_processed, found.data_skipped, found.data_failed


@pytest.fixture
def executor() -> InProcessExecutor:
    return InProcessExecutor(upper)


@pytest.fixture
def run(workspace: Workspace, executor: InProcessExecutor) -> Callable[[], list[Job]]:
    return lambda: run_due(workspace, executor)


def test_error_that_nobody_expects_fails_its_job_at_last_and_no_other(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, run: Callable[[], list[Job]]
) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    run()
    put(workspace, "data@master", {"/a": b"a1"})

    def overflow(_: dict[str, bytes]) -> dict[str, bytes]:
        raise OverflowError("too large for a message")

    executor.code = overflow
    for _ in range(2):
        with pytest.raises(OverflowError):
            run()
    [job] = run()
    assert (job.state, job.restarts) == (JobState.FAILURE, 2)
    assert job.reason == "unexpected OverflowError in try 3: too large for a message; `pachctl rerun pipeline copy` runs it again"
    executor.code = upper
    put(workspace, "data@master", {"/b": b"b1"})
    assert [(job.state, counts(job)) for job in run()] == [(JobState.SUCCESS, (2, 2, 0, 0))]


def test_executor_that_gives_less_than_it_was_given_ends_no_job(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, run: Callable[[], list[Job]]
) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    run()
    put(workspace, "data@master", {"/a": b"a1", "/b": b"b1"})

    def stop(files: dict[str, bytes]) -> dict[str, bytes]:
        executor.stop()
        return upper(files)

    executor.code = stop
    with pytest.raises(ExecutionError, match="when 1 of 2 were done"):
        run()
    executor.code = upper
    [job] = run()
    assert (job.state, counts(job)) == (JobState.SUCCESS, (2, 2, 0, 0))
    assert read_all(workspace, "copy@master") == {"/a": b"A1", "/b": b"B1"}


def test_chain_of_commits_runs_only_what_changed(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    assert [(job.state, counts(job)) for job in run()] == [(JobState.SUCCESS, (0, 0, 0, 0))]
    steps: list[tuple[dict[str, bytes | None], JobState, tuple[int, int, int, int]]] = [
        ({"/a": b"a1", "/b": b"b1"}, JobState.SUCCESS, (2, 2, 0, 0)),
        ({"/a": b"a2", "/c": b"c1"}, JobState.SUCCESS, (3, 2, 1, 0)),
        ({"/b": None}, JobState.SUCCESS, (2, 0, 2, 0)),
        # Here we are better than Pachyderm, on purpose: a datum that comes back is restored, and so are the good ones of a failed job.
        ({"/b": b"b1"}, JobState.SUCCESS, (3, 0, 3, 0)),
        ({"/d": b"bad", "/f": b"f1"}, JobState.FAILURE, (5, 1, 3, 1)),
        ({"/d": b"good"}, JobState.SUCCESS, (5, 1, 4, 0)),
        ({"/e": b"a2", "/a": None}, JobState.SUCCESS, (5, 1, 4, 0)),
    ]
    for files, state, expected in steps:
        put(workspace, "data@master", files)
        assert [(job.state, counts(job)) for job in run()] == [(state, expected)], files
        if state is JobState.SUCCESS:
            assert read_all(workspace, "copy@master") == {path: data.upper() for path, data in read_all(workspace, "data@master").items()}


def test_directory_with_the_same_files_from_another_datum_is_skipped(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, run: Callable[[], list[Job]]
) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    create(SECOND.replace("name: second", "name: whole").replace("glob: /*", "glob: /"))
    create(SECOND)
    executor.code = lambda files: dict.fromkeys(("/folder/a", "/folder/b"), next(iter(files.values())))
    run()
    put(workspace, "data@master", {"/first": b"1"})
    assert [counts(job) for job in run()] == [(1, 1, 0, 0)] * 3
    put(workspace, "data@master", {"/first": None, "/second": b"1"})
    assert {job.pipeline.name: counts(job) for job in run()} == {"copy": (1, 1, 0, 0), "whole": (1, 0, 1, 0), "second": (1, 0, 1, 0)}


def test_failed_job_names_the_datum_and_hides_its_output(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    create(SECOND)
    run()
    put(workspace, "data@master", {"/a": b"a"})
    run()
    put(workspace, "data@master", {"/b": b"bad"})
    failed, unrunnable = run()
    assert failed.state is JobState.FAILURE
    assert "/b" in failed.reason
    assert "this datum is bad" in failed.reason
    assert unrunnable.state is JobState.UNRUNNABLE
    assert "copy@" in unrunnable.reason
    assert workspace.pfs.inspect_commit("copy@master").error is not None
    put(workspace, "data@master", {"/b": b"fine"})
    assert [job.state for job in run()] == [JobState.SUCCESS, JobState.SUCCESS]
    assert read_all(workspace, "second@master") == {"/a": b"A", "/b": b"FINE"}


def test_update_keeps_results_and_reprocess_forgets_them(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"b"})
    create(COPY)
    assert counts(run()[0]) == (2, 2, 0, 0)
    create(COPY.replace("in-process", "other"), update=True)
    assert counts(run()[0]) == (2, 0, 2, 0)
    create(COPY, update=True, reprocess=True)
    assert counts(run()[0]) == (2, 2, 0, 0)
    assert read_all(workspace, "copy@master") == {"/a": b"A", "/b": b"B"}


def test_update_kills_what_is_unfinished(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    create(COPY, update=True)
    assert [job.state for job in run()] == [JobState.SUCCESS]
    with workspace.database.read() as txn:
        newest, oldest = jobs.list_job(txn, pipeline=RepoName("default", "copy"))
    assert (newest.version, newest.state) == (2, JobState.SUCCESS)
    assert (oldest.version, oldest.state) == (1, JobState.KILLED)
    assert "version 2" in oldest.reason


def test_two_datums_that_write_one_path_fail_the_job(workspace: Workspace, create: Callable[..., None]) -> None:
    executor = InProcessExecutor(lambda files: {"/same": b"".join(files.values())})
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"b"})
    create(COPY)
    (job,) = run_due(workspace, executor)
    assert job.state is JobState.FAILURE
    assert "/same" in job.reason
    assert "output-conflict" in job.reason


def test_path_of_a_dropped_datum_is_free_for_another(workspace: Workspace, create: Callable[..., None]) -> None:
    executor = InProcessExecutor(lambda files: {"/same": b"".join(files.values())})
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(COPY)
    run_due(workspace, executor)
    put(workspace, "data@master", {"/a": None, "/b": b"b"})
    (job,) = run_due(workspace, executor)
    assert job.state is JobState.SUCCESS
    assert read_all(workspace, "copy@master") == {"/same": b"b"}


def test_set_of_a_diamond_runs_in_order(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    create(SECOND)
    run()
    put(workspace, "data@master", {"/a": b"a"})
    ended = run()
    assert [(str(job.pipeline), counts(job)) for job in ended] == [("copy", (1, 1, 0, 0)), ("second", (1, 1, 0, 0))]
    assert ended[0].id == ended[1].id


def test_open_input_commit_makes_its_job_wait(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    run()
    commit = workspace.pfs.start_commit("data@master")
    assert run() == []
    with workspace.database.read() as txn:
        job = jobs.get_job(txn, RepoName("default", "copy"), commit.id)
        assert jobs.waits_for(txn, job) == [f"data@{commit.id}"]
    with pytest.raises(StateError) as caught:
        run_job(workspace, job, executor=InProcessExecutor(upper))
    assert caught.value.code == "job-waiting"
    workspace.pfs.finish_commit("data@master")
    assert [job.id for job in run()] == [commit.id]


def test_job_that_another_process_runs_is_refused(workspace: Workspace, create: Callable[..., None], clock: ManualClock) -> None:
    workspace.pfs.create_repo("data")
    create(COPY)
    with workspace.database.read() as txn:
        (job,) = jobs.list_job(txn)
    other: list[str] = []

    def code(files: dict[str, bytes]) -> dict[str, bytes]:
        with pytest.raises(ConflictError) as caught:
            run_job(workspace, job, executor=InProcessExecutor(upper))
        other.append(caught.value.code)
        return files

    put(workspace, "data@master", {"/a": b"a"})
    with workspace.database.read() as txn:
        job = jobs.list_job(txn)[0]
    assert run_job(workspace, job, executor=InProcessExecutor(code)).state is JobState.SUCCESS
    assert other == ["job-running"]


def test_run_that_died_is_taken_over_and_restores_what_was_done(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a", "/b": b"b"})
    create(COPY)
    run_interrupted(workspace, upper, "/b")
    (job,) = run()
    assert job.state is JobState.SUCCESS
    assert job.restarts == 1
    assert counts(job) == (2, 2, 0, 0)
    assert read_all(workspace, "copy@master") == {"/a": b"A", "/b": b"B"}


def test_job_stopped_by_a_user_ends_as_killed(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(COPY)
    with workspace.database.read() as txn:
        (job,) = jobs.list_job(txn)

    def stopped_meanwhile(files: dict[str, bytes]) -> dict[str, bytes]:
        workspace.database.write(lambda txn: jobs.stop(txn, job, reason="by a user"))
        return files

    ended = run_job(workspace, job, executor=InProcessExecutor(stopped_meanwhile))
    assert (ended.state, ended.reason) == (JobState.KILLED, "by a user")
    assert workspace.pfs.inspect_commit("copy@master").error == "job KILLED: by a user"


def test_job_ends_when_its_output_is_dropped_and_the_next_one_builds_on_what_is_left(
    workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]
) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(COPY)
    run()
    put(workspace, "data@master", {"/b": b"b"})
    with workspace.database.read() as txn:
        job = jobs.list_job(txn)[0]

    def dropped_meanwhile(files: dict[str, bytes]) -> dict[str, bytes]:
        workspace.pfs.drop_commit_set(job.id)
        return files

    with pytest.raises(NotFoundError) as error:
        run_job(workspace, job, executor=InProcessExecutor(dropped_meanwhile))
    assert error.value.code == "job-not-found"
    put(workspace, "data@master", {"/c": b"c"})
    assert [counts(job) for job in run()] == [(2, 1, 1, 0)]
    assert sorted(read_all(workspace, "copy@master")) == ["/a", "/c"]


def test_job_goes_on_from_the_newest_output_when_older_ones_are_forgotten(
    workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]
) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(COPY)
    run()
    put(workspace, "data@master", {"/b": b"b"})
    run()
    workspace.pfs.forget_commit("copy@master^")
    put(workspace, "data@master", {"/c": b"c"})
    assert [counts(job) for job in run()] == [(3, 1, 2, 0)]
    assert sorted(read_all(workspace, "copy@master")) == ["/a", "/b", "/c"]


def test_stopped_pipeline_takes_no_commits_until_it_starts(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    name = RepoName("default", "copy")
    workspace.pfs.create_repo("data")
    create(COPY)
    run()
    workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, name))
    put(workspace, "data@master", {"/a": b"a"})
    put(workspace, "data@master", {"/b": b"b"})
    assert run() == []
    workspace.database.write(lambda txn: pipelines.start_pipeline(txn, name))
    assert [counts(job) for job in run()] == [(2, 2, 0, 0)]


def test_every_job_skips_nothing(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    create(COPY + "reprocess_spec: every_job\n")
    put(workspace, "data@master", {"/a": b"a"})
    run()
    put(workspace, "data@master", {"/b": b"b"})
    assert [counts(job) for job in run()] == [(2, 2, 0, 0)]
    assert read_all(workspace, "copy@master") == {"/a": b"A", "/b": b"B"}


def test_pipeline_deleted_during_its_job_ends_the_run(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(COPY)
    with workspace.database.read() as txn:
        (job,) = jobs.list_job(txn)

    def deleted_meanwhile(files: dict[str, bytes]) -> dict[str, bytes]:
        workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, RepoName("default", "copy")))
        return files

    with pytest.raises(NotFoundError) as caught:
        run_job(workspace, job, executor=InProcessExecutor(deleted_meanwhile))
    assert caught.value.code == "job-not-found"


def test_deleted_input_branch_makes_the_job_unrunnable(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@other", {"/a": b"a"})
    create(
        "pipeline: {name: copy}\ntransform: {cmd: [x]}\ninput: {cross: [{pfs: {repo: data, glob: /}}, {pfs: {repo: data, name: o, branch: other, glob: /}}]}\n"
    )
    run()
    workspace.database.write(lambda txn: branches.delete_branch(txn, BranchName(RepoName("default", "data"), "other"), force=True))
    put(workspace, "data@master", {"/b": b"b"})
    (job,) = run()
    assert job.state is JobState.UNRUNNABLE
    assert "data@other was deleted" in job.reason


def test_rerun_with_reprocess_forgets_results(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(COPY)
    run()
    workspace.database.write(lambda txn: pipelines.rerun_pipeline(txn, RepoName("default", "copy")))
    assert [counts(job) for job in run()] == [(1, 0, 1, 0)]
    workspace.database.write(lambda txn: pipelines.rerun_pipeline(txn, RepoName("default", "copy"), reprocess=True))
    assert [(job.version, counts(job)) for job in run()] == [(2, (1, 1, 0, 0))]


def test_cron_input_does_not_adopt_a_repo_with_data(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("images")
    clock = "pipeline: {name: copy}\ntransform: {cmd: [x]}\ninput: {cron: {name: tick, repo: %s, spec: '@never'}}\n"
    with pytest.raises(ExistsError, match="images") as caught:
        create(clock % "images")
    assert caught.value.code == "repo-exists"
    create(clock % "ticks")
    create(clock % "other-ticks", update=True)
    create(clock % "ticks", update=True)
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, RepoName("default", "copy")))
    with workspace.database.read() as txn:
        assert [repo.name.name for repo in repos.list_repo(txn)] == ["images"]


def test_ticks_are_files_named_after_their_time(workspace: Workspace, create: Callable[..., None], clock: ManualClock) -> None:
    create("pipeline: {name: copy}\ntransform: {cmd: [x]}\ninput: {cron: {name: tick, spec: '@never'}}\n")
    (commit,) = workspace.pps.run_cron(RepoName("default", "copy"))
    assert commit.repo.name == "copy_tick"
    assert read_all(workspace, f"copy_tick@{commit.id}") == {clock.now().strftime("/%Y-%m-%dT%H:%M:%SZ"): b""}


def test_datum_is_found_by_the_start_of_its_id(workspace: Workspace, create: Callable[..., None], run: Callable[[], list[Job]]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {f"/{number}": b"x" for number in range(40)})
    create(COPY)
    (job,) = run()
    listed = list(workspace.pps.list_datum(job))
    assert workspace.pps.inspect_datum(job, listed[7].id[:20]) == listed[7]
    with pytest.raises(InvalidError) as caught:
        workspace.pps.inspect_datum(job, "")
    assert caught.value.code == "datum-ambiguous"
    with pytest.raises(NotFoundError) as missing:
        workspace.pps.inspect_datum(job, "zz")
    assert missing.value.code == "datum-not-found"


def test_set_that_goes_through_another_project_and_back_runs_in_turns(workspace: Workspace, create: Callable[..., None]) -> None:
    executor = InProcessExecutor(upper)
    workspace.database.write(lambda txn: repos.create_project(txn, "other"))
    workspace.pfs.create_repo("data")
    create(COPY)
    create("pipeline: {name: there, project: {name: other}}\ntransform: {cmd: [x]}\ninput: {pfs: {repo: copy, project: default, glob: /*}}\n")
    create("pipeline: {name: back}\ntransform: {cmd: [x]}\ninput: {pfs: {repo: there, project: other, glob: /*}}\n")
    put(workspace, "data@master", {"/a": b"a"})
    for project in ("default", "other", "default"):
        with workspace.database.read() as txn:
            due = [job for _, members in jobs.list_due_set(txn, project) for job in members]
        for job in due:
            assert run_job(workspace, job, executor=executor).state is JobState.SUCCESS
    assert read_all(workspace, "back@master") == {"/a": b"A"}
