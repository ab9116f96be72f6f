"""The life of pipelines as Pachyderm's users know it: what each change of a pipeline, or of a branch that it reads, starts and leaves."""

from collections.abc import Callable

import pytest

from pachyderm_dagster.errors import ExistsError, NotFoundError
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import RepoName, Trigger
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, JobState, PipelineState
from pachyderm_dagster.pps.requests import CreatePipeline
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, read_all, run_due

COPY = RepoName("default", "copy")
Create = Callable[..., None]
Run = Callable[[], list[Job]]


def spec(name: str, repo: str, *, branch: str = "master", glob: str = "/*", **fields: str) -> str:
    more = "".join(f"{field}: {value}\n" for field, value in fields.items())
    return f"pipeline: {{name: {name}}}\ntransform: {{cmd: [in-process]}}\ninput: {{pfs: {{repo: {repo}, branch: {branch}, glob: '{glob}'}}}}\n{more}"


def upper(files: dict[str, bytes]) -> dict[str, bytes]:
    if b"bad" in files.values():
        raise ValueError("this datum is bad")
    return {path: data.upper() for path, data in files.items()}


def counts(job: Job) -> tuple[int, int, int]:
    return job.counters.data_total, job.counters.data_processed, job.counters.data_skipped


def summary(ended: list[Job]) -> list[tuple[str, str]]:
    return [(job.pipeline.name, job.state.value) for job in ended]


@pytest.fixture
def run(workspace: Workspace) -> Run:
    executor = InProcessExecutor(upper)
    return lambda: run_due(workspace, executor)


@pytest.fixture(autouse=True)
def data(workspace: Workspace) -> None:
    """A repo to read."""
    workspace.pfs.create_repo("data")


def test_new_pipeline_works_on_the_head_and_on_nothing_before_it(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a": b"old"})
    put(workspace, "data@master", {"/a": b"new"})
    create(spec("copy", "data"))
    assert [counts(job) for job in run()] == [(1, 1, 0)]
    assert read_all(workspace, "copy@master") == {"/a": b"NEW"}


def test_new_pipeline_of_a_branch_that_is_not_there_makes_it_and_succeeds(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec("copy", "data", branch="later"))
    assert [(job.state, counts(job)) for job in run()] == [(JobState.SUCCESS, (0, 0, 0))]
    put(workspace, "data@later", {"/a": b"a"})
    assert [counts(job) for job in run()] == [(1, 1, 0)]


def test_update_of_the_glob_removes_what_datums_wrote_that_are_no_more(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a.txt": b"a", "/b.csv": b"b"})
    create(spec("copy", "data"))
    run()
    create(spec("copy", "data", glob="/*.csv"), update=True)
    assert [counts(job) for job in run()] == [(1, 0, 1)]
    assert read_all(workspace, "copy@master") == {"/b.csv": b"B"}


def test_update_of_the_branch_replaces_the_provenance_and_the_output(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a": b"a"})
    put(workspace, "data@other", {"/b": b"b"})
    create(spec("copy", "data"))
    run()
    create(spec("copy", "data", branch="other"), update=True)
    run()
    assert read_all(workspace, "copy@master") == {"/b": b"B"}
    put(workspace, "data@master", {"/c": b"c"})
    assert run() == []


def test_update_leaves_a_stopped_pipeline_stopped(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec("copy", "data"))
    run()
    workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, COPY))
    create(spec("copy", "data", datum_tries="5"), update=True)
    assert run() == []
    with workspace.database.read() as txn:
        assert (pipelines.get_pipeline(txn, COPY).state, pipelines.get_pipeline(txn, COPY).version) == (PipelineState.PAUSED, 2)


def test_updates_in_one_transaction_make_one_set_and_one_job_downstream(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a": b"a"})
    create(spec("left", "data"))
    create(spec("right", "data"))
    cross = "input: {cross: [{pfs: {repo: left, glob: /}}, {pfs: {repo: right, glob: /}}]}"
    create(f"pipeline: {{name: join}}\ntransform: {{cmd: [in-process]}}\n{cross}\n")
    run()
    texts = [spec(name, "data", datum_tries="5") for name in ("left", "right")]
    workspace.pps.apply_all([CreatePipeline(one.to_json(), update=True) for text in texts for one in parse_specs(text, source="test")])
    ended = run()
    assert sorted(job.pipeline.name for job in ended) == ["join", "left", "right"]
    assert len({job.id for job in ended}) == 1


def test_deleted_pipeline_of_the_same_name_starts_from_nothing(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a": b"a"})
    create(spec("copy", "data"))
    run()
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, COPY))
    create(spec("copy", "data"))
    with workspace.database.read() as txn:
        assert pipelines.get_pipeline(txn, COPY).version == 1
        assert len(jobs.list_job(txn, pipeline=COPY)) == 1
    assert [counts(job) for job in run()] == [(1, 1, 0)]


def test_repo_that_was_kept_is_in_the_way_of_a_pipeline_of_its_name(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a": b"a"})
    create(spec("copy", "data"))
    run()
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, COPY, keep_repo=True))
    assert read_all(workspace, "copy@master") == {"/a": b"A"}
    with pytest.raises(ExistsError, match="output repo has its name"):
        create(spec("copy", "data"))


def test_data_that_outlives_its_pipeline_is_that_of_its_last_good_job(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a": b"a"})
    create(spec("copy", "data"))
    create(spec("second", "copy"))
    run()
    good = workspace.pfs.inspect_commit("copy@master").id
    put(workspace, "data@master", {"/b": b"b"})
    put(workspace, "data@master", {"/c": b"c"})
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, COPY, keep_repo=True))
    assert workspace.pfs.inspect_commit("copy@master").id == good
    assert read_all(workspace, "copy@master") == {"/a": b"A"}
    assert summary(run()) == [("second", "UNRUNNABLE"), ("second", "UNRUNNABLE")], "and what reads it is not run for it again"


def test_head_of_a_pipeline_that_was_never_good_stays(workspace: Workspace, create: Create) -> None:
    put(workspace, "data@master", {"/a": b"a"})
    create(spec("copy", "data"))
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, COPY, keep_repo=True))
    assert workspace.pfs.inspect_commit("copy@master").error == "job KILLED: the pipeline was deleted"


def test_cron_repo_goes_with_its_pipeline(workspace: Workspace, create: Create) -> None:
    create("pipeline: {name: clock}\ntransform: {cmd: [in-process]}\ninput: {cron: {name: tick, spec: '@never'}}\n")
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, RepoName("default", "clock")))
    with workspace.database.read() as txn, pytest.raises(NotFoundError):
        repos.get_repo(txn, RepoName("default", "clock_tick"))


def test_error_is_passed_down_and_the_next_good_commit_goes_on_from_the_last_good_one(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec("copy", "data"))
    create(spec("second", "copy"))
    create(spec("third", "second"))
    put(workspace, "data@master", {"/a": b"a"})
    run()
    put(workspace, "data@master", {"/b": b"bad"})
    assert summary(run()) == [("copy", "FAILURE"), ("second", "UNRUNNABLE"), ("third", "UNRUNNABLE")]
    put(workspace, "data@master", {"/b": None, "/c": b"c"})
    ended = run()
    assert summary(ended) == [("copy", "SUCCESS"), ("second", "SUCCESS"), ("third", "SUCCESS")]
    assert [counts(job) for job in ended] == [(2, 1, 1), (2, 1, 1), (2, 1, 1)]
    assert read_all(workspace, "third@master") == {"/a": b"A", "/c": b"C"}


def test_deferred_by_a_staging_branch_that_is_moved_to(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec("copy", "data"))
    run()
    put(workspace, "data@staging", {"/a": b"a"})
    put(workspace, "data@staging", {"/b": b"b"})
    assert run() == []
    moved = workspace.pfs.create_branch("data@master", head="data@staging").head
    (job,) = run()
    assert counts(job) == (2, 2, 0)
    assert moved == workspace.pfs.inspect_branch("data@staging").head
    assert job.id != moved


def test_deferred_by_an_output_branch_of_its_own(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a": b"a"})
    create(spec("copy", "data", output_branch="dev"))
    create(spec("second", "copy"))
    assert summary(run()) == [("copy", "SUCCESS"), ("second", "SUCCESS")]
    put(workspace, "data@master", {"/b": b"b"})
    assert summary(run()) == [("copy", "SUCCESS")]
    workspace.pfs.create_branch("copy@master", head="copy@dev")
    (job,) = run()
    assert (job.pipeline.name, counts(job)) == ("second", (2, 2, 0))


def test_deferred_by_a_trigger(workspace: Workspace, create: Create, run: Run) -> None:
    workspace.pfs.create_branch("data@ready", trigger=Trigger(branch="master", commits=2))
    create(spec("copy", "data", branch="ready"))
    run()
    put(workspace, "data@master", {"/a": b"a"})
    assert run() == []
    put(workspace, "data@master", {"/b": b"b"})
    assert [counts(job) for job in run()] == [(2, 2, 0)]


def test_deferred_by_a_stop(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec("copy", "data"))
    run()
    workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, COPY))
    for name in "abc":
        put(workspace, "data@master", {f"/{name}": b"x"})
    assert run() == []
    workspace.database.write(lambda txn: pipelines.start_pipeline(txn, COPY))
    assert [counts(job) for job in run()] == [(3, 3, 0)]
    workspace.database.write(lambda txn: pipelines.start_pipeline(txn, COPY))
    assert run() == []


def test_stop_kills_what_is_unfinished_and_a_rerun_does_it(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "data@master", {"/a": b"a"})
    create(spec("copy", "data"))
    workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, COPY))
    workspace.database.write(lambda txn: pipelines.start_pipeline(txn, COPY))
    workspace.database.write(lambda txn: pipelines.rerun_pipeline(txn, COPY))
    run()
    with workspace.database.read() as txn:
        found = [job.state for job in jobs.list_job(txn, pipeline=COPY)]
    assert found == [JobState.SUCCESS, JobState.SUCCESS, JobState.KILLED]
