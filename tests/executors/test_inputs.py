"""What the fields of inputs do to jobs: which commits start one, which datums run, what user code finds."""

import json
import os
from collections.abc import Callable

import pytest

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pfs import branches
from pachyderm_dagster.pfs.model import BranchName, RepoName, Trigger
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, read_all, run_due

Create = Callable[..., None]
NAME = RepoName("default", "p")


def spec(input: str, **further: str) -> str:
    lines = "".join(f"{name}: {value}\n" for name, value in further.items())
    return f"pipeline: {{name: p}}\ntransform: {{cmd: [in-process]}}\ninput: {input}\n{lines}"


@pytest.fixture
def executor() -> InProcessExecutor:
    """User code that writes a file with the names and contents of all that it finds."""
    return InProcessExecutor(lambda files: {"/" + "-".join(path.strip("/") for path in sorted(files)): b"|".join(files[path] for path in sorted(files))})


@pytest.fixture
def run(workspace: Workspace, executor: InProcessExecutor) -> Callable[[], list[tuple[int, int, int]]]:
    """Runs what is due; total, processed and skipped of each job, all of which succeed."""

    def run_all() -> list[tuple[int, int, int]]:
        found = run_due(workspace, executor)
        assert {job.state for job in found} <= {JobState.SUCCESS}, [job.reason for job in found]
        return [(job.counters.data_total, job.counters.data_processed, job.counters.data_skipped) for job in found]

    return run_all


Run = Callable[[], list[tuple[int, int, int]]]


@pytest.fixture(autouse=True)
def repos(workspace: Workspace) -> None:
    for name in ("left", "right"):
        workspace.pfs.create_repo(name)


def made_jobs(workspace: Workspace) -> int:
    with workspace.database.read() as txn:
        return len(jobs.list_job(txn))


JOIN = "{join: [{pfs: {repo: left, glob: '/(?)*', join_on: $1}}, {pfs: {repo: right, glob: '/(?)*', join_on: $1, outer_join: true}}]}"


def test_join_runs_what_changed_and_drops_pairs_that_are_gone(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "left@master", {"/1": b"l1", "/2": b"l2", "/3a": b"l3a", "/3b": b"l3b"})
    put(workspace, "right@master", {"/2x": b"r2", "/3x": b"r3", "/4x": b"r4"})
    create(spec(JOIN))
    assert run() == [(4, 4, 0)]
    assert read_all(workspace, "p@master") == {"/2-2x": b"l2|r2", "/3a-3x": b"l3a|r3", "/3b-3x": b"l3b|r3", "/4x": b"r4"}
    put(workspace, "right@master", {"/3x": b"new"})
    assert run() == [(4, 2, 2)]
    put(workspace, "left@master", {"/2": None, "/4": b"l4"})
    assert run() == [(4, 2, 2)]
    assert read_all(workspace, "p@master") == {"/2x": b"r2", "/3a-3x": b"l3a|new", "/3b-3x": b"l3b|new", "/4-4x": b"l4|r4"}


def test_group_runs_again_when_a_file_of_it_changes_comes_or_goes(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "left@master", {"/1": b"1", "/3a": b"a", "/3b": b"b"})
    create(spec("{group: [{pfs: {repo: left, glob: '/(?)*', group_by: $1}}, {pfs: {repo: right, glob: '/(?)*', group_by: $1}}]}"))
    assert run() == [(2, 2, 0)]
    put(workspace, "left@master", {"/3b": b"B"})
    assert run() == [(2, 1, 1)]
    put(workspace, "right@master", {"/3x": b"x"})
    assert run() == [(2, 1, 1)]
    assert read_all(workspace, "p@master") == {"/1": b"1", "/3a-3b-3x": b"a|B|x"}
    put(workspace, "right@master", {"/3x": None})
    assert run() == [(2, 0, 2)]
    assert read_all(workspace, "p@master") == {"/1": b"1", "/3a-3b": b"a|B"}


def test_batch_is_one_datum_with_its_files(workspace: Workspace, create: Create, run: Run, executor: InProcessExecutor) -> None:
    put(workspace, "left@master", {f"/{number:03}": b"x" for number in range(100)})
    create(spec("{pfs: {repo: left, glob: '/*', batch: {files: 10}}}"))
    ((total, processed, _),) = run()
    assert 10 <= total == processed <= 20
    assert sorted(path for ran in executor.ran for path in ran) == [f"/{number:03}" for number in range(100)]
    put(workspace, "left@master", {"/050": b"y"})
    assert run() == [(total, 1, total - 1)]
    put(workspace, "left@master", {"/0505": b"new"})
    ((_, processed, _),) = run()
    assert processed < total / 2


def test_change_of_a_reference_starts_a_job_that_skips(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "left@master", {"/a": b"a"})
    put(workspace, "right@master", {"/model": b"old"})
    create(spec("{cross: [{pfs: {repo: left, glob: '/*'}}, {pfs: {repo: right, glob: /, reference: true}}]}"))
    assert run() == [(1, 1, 0)]
    put(workspace, "right@master", {"/model": b"new"})
    assert run() == [(1, 0, 1)]
    put(workspace, "left@master", {"/b": b"b"})
    assert run() == [(2, 1, 1)]
    assert read_all(workspace, "p@master") == {"/a-model": b"a|old", "/b-model": b"b|new"}


NEVER = "{cross: [{pfs: {repo: left, glob: '/*'}}, {pfs: {repo: right, glob: '/*', propagation_spec: {never: true}}}]}"


def test_commit_on_an_unfollowed_branch_starts_nothing_and_is_read_by_the_next_job(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "left@master", {"/a": b"a"})
    put(workspace, "right@master", {"/x": b"old"})
    create(spec(NEVER))
    assert run() == [(1, 1, 0)]
    put(workspace, "right@master", {"/x": b"new"})
    assert (run(), made_jobs(workspace)) == ([], 1)
    put(workspace, "left@master", {"/b": b"b"})
    assert run() == [(2, 2, 0)]
    assert read_all(workspace, "p@master") == {"/a-x": b"a|new", "/b-x": b"b|new"}


def test_update_and_restart_say_anew_what_is_followed(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec(NEVER))
    workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, NAME))
    workspace.database.write(lambda txn: pipelines.start_pipeline(txn, NAME))
    run()
    put(workspace, "right@master", {"/x": b"1"})
    assert run() == []
    create(spec(NEVER.replace("never: true", "never: false")), update=True)
    run()
    put(workspace, "right@master", {"/x": b"2"})
    assert len(run()) == 1


def test_branch_that_one_input_follows_is_followed(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec("{cross: [{pfs: {repo: right, name: a, glob: '/*'}}, {pfs: {repo: right, glob: '/*', propagation_spec: {never: true}}}]}"))
    run()
    put(workspace, "right@master", {"/x": b"1"})
    assert run() == [(1, 1, 0)]


TRIGGERED = "{pfs: {repo: left, glob: '/*', trigger: {commits: 2}}}"


def test_triggered_input_runs_when_enough_has_gathered(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec(TRIGGERED))
    assert run() == [(0, 0, 0)]
    put(workspace, "left@master", {"/a": b"a"})
    assert run() == []
    put(workspace, "left@master", {"/b": b"b"})
    assert run() == [(2, 2, 0)]
    branch = workspace.pfs.inspect_branch("left@p-trigger-1")
    assert branch.trigger == Trigger(branch="master", commits=2)
    assert branch.head == workspace.pfs.inspect_branch("left@master").head


def test_update_uses_the_triggered_branch_again(workspace: Workspace, create: Create, run: Run) -> None:
    create(spec(TRIGGERED))
    for name in "ab":
        put(workspace, "left@master", {f"/{name}": b"x"})
    run()
    create(spec(TRIGGERED.replace("commits: 2", "commits: 1")), update=True)
    assert run() == [(2, 0, 2)]
    put(workspace, "left@master", {"/c": b"x"})
    assert run() == [(3, 1, 2)]
    with workspace.database.read() as txn:
        assert {branch.name.name for branch in branches.list_branch(txn, RepoName("default", "left"))} == {"p-trigger-1", "master"}


def test_branch_that_a_trigger_moves_for_one_pipeline_goes_with_it(workspace: Workspace, create: Create, run: Run) -> None:
    def left() -> set[str]:
        with workspace.database.read() as txn:
            return {branch.name.name for branch in branches.list_branch(txn, RepoName("default", "left"))}

    create(spec(TRIGGERED))
    put(workspace, "left@master", {"/a": b"a"})
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, RepoName("default", "p")))
    assert left() == {"master"}
    create(spec(TRIGGERED.replace("trigger:", "branch: mine, trigger:")))
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, RepoName("default", "p")))
    assert left() == {"master", "mine"}, "one that the file names may have been there before"
    create(spec(TRIGGERED))
    create(spec("{pfs: {repo: left, glob: '/*', branch: p-trigger-1}}").replace("name: p", "name: other"))
    workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, RepoName("default", "p")))
    assert left() == {"master", "mine", "p-trigger-1"}, "another pipeline reads it"


def test_restart_keeps_the_place_in_a_triggers_schedule(workspace: Workspace, create: Create) -> None:
    create(spec(TRIGGERED.replace("commits: 2", "cron_spec: '@daily'")))

    def ticked() -> object:
        with workspace.database.read() as txn:
            return txn.connection.exec_driver_sql("SELECT ticked FROM branch_trigger").scalar_one()

    before = ticked()
    workspace.database.write(lambda txn: pipelines.rerun_pipeline(txn, NAME))
    assert ticked() == before


def test_trigger_on_what_another_pipeline_writes_is_refused(workspace: Workspace, create: Create) -> None:
    create(spec("{pfs: {repo: left, glob: '/*'}}"))
    with pytest.raises((InvalidError, StateError)) as caught:
        create(spec("{pfs: {repo: p, branch: master, glob: '/*', trigger: {branch: other, commits: 1}}}").replace("name: p}", "name: q}"))
    assert caught.value.code == "branch-in-use"


def test_code_change_runs_when_the_code_changes_and_finds_old_results_again(workspace: Workspace, create: Create, run: Run) -> None:
    put(workspace, "left@master", {"/a": b"a", "/b": b"b"})
    text = spec("{pfs: {repo: left, glob: '/*'}}", reprocess_spec="code_change", salt="s")
    create(text)
    assert run() == [(2, 2, 0)]
    create(text + "datum_tries: 7\n", update=True)
    assert run() == [(2, 0, 2)]
    create(text.replace("in-process", "other"), update=True)
    assert run() == [(2, 2, 0)]
    put(workspace, "left@master", {"/c": b"c"})
    assert run() == [(3, 1, 2)]
    create(text, update=True)
    assert run() == [(3, 1, 2)]
    workspace.database.write(lambda txn: pipelines.rerun_pipeline(txn, NAME, reprocess=True))
    assert run() == [(3, 3, 0)]


SHOW = """
pipeline: {name: p}
transform:
  cmd: [python3, "-"]
  stdin:
    - "import json, os"
    - "root = os.environ['PFS_ROOT']"
    - "found = {name: text.removeprefix(root) for name, text in os.environ.items() if name.startswith(('x', 'y', 'PACH_DATUM_x', 'PACH_DATUM_y'))}"
    - "found['files'] = sorted(os.path.join(base, name).removeprefix(root) for base, _, names in os.walk(root) for name in names if name != '.env')"
    - "json.dump(found, open(root + '/out/' + os.environ['PACH_DATUM_ID'][:8], 'w'))"
input:
"""


def run_real(workspace: Workspace) -> Job:
    with workspace.database.read() as txn:
        job = jobs.list_job(txn, unfinished_only=True)[0]
    with LocalExecutor(os.environ) as executor:
        return run_job(workspace, job, executor=executor)


def test_user_code_is_told_its_keys_and_the_last_file_of_each_input(workspace: Workspace, create: Create) -> None:
    put(workspace, "left@master", {"/k/1": b"1", "/k/2": b"2"})
    put(workspace, "right@master", {"/k-1": b"3"})
    create(
        SHOW
        + """
  group:
    - pfs: {repo: left, name: x, glob: "/(*)/*", group_by: $1}
    - pfs: {repo: right, name: y, glob: "/(*)-(*)", group_by: $1, join_on: "j$2"}
"""
    )
    assert run_real(workspace).state is JobState.SUCCESS
    ((_, text),) = read_all(workspace, "p@master").items()
    assert json.loads(text) == {
        "files": ["/x/k/1", "/x/k/2", "/y/k-1"],
        "x": "/x/k/2",
        "x_COMMIT": workspace.pfs.inspect_commit("left@master").id,
        "PACH_DATUM_x_GROUP_BY": "k",
        "y": "/y/k-1",
        "y_COMMIT": workspace.pfs.inspect_commit("right@master").id,
        "PACH_DATUM_y_GROUP_BY": "k",
        "PACH_DATUM_y_JOIN_ON": "j1",
    }


SHARED = """
  group:
    - union:
      - pfs: {repo: left, name: x, glob: "/*", group_by: all}
      - pfs: {repo: right, name: x, glob: "/*", group_by: all}
"""


def test_inputs_that_share_a_name_put_their_files_into_one_folder(workspace: Workspace, create: Create) -> None:
    put(workspace, "left@master", {"/a": b"a", "/same": b"s"})
    put(workspace, "right@master", {"/b": b"b", "/same": b"s"})
    create(SHOW + SHARED)
    assert run_real(workspace).state is JobState.SUCCESS
    ((_, text),) = read_all(workspace, "p@master").items()
    assert json.loads(text)["files"] == ["/x/a", "/x/b", "/x/same"]


@pytest.mark.parametrize(("other", "how"), [({"/a": b"another"}, "with different content"), ({"/a/b": b""}, "as a file and as a directory")])
def test_two_files_for_one_place_fail_their_datum(workspace: Workspace, create: Create, other: dict[str, bytes | None], how: str) -> None:
    put(workspace, "left@master", {"/a": b"a"})
    put(workspace, "right@master", other)
    create(SHOW + SHARED)
    job = run_real(workspace)
    assert job.state is JobState.FAILURE
    assert f"two inputs that share the name 'x' have '/a' {how}" in job.reason
    assert "[input-conflict]" in job.reason


def test_deleted_triggered_branch_is_told(workspace: Workspace, create: Create, executor: InProcessExecutor) -> None:
    create(spec(f"{{cross: [{TRIGGERED}, {{pfs: {{repo: right, glob: '/*'}}}}]}}"))
    run_due(workspace, executor)
    workspace.database.write(lambda txn: branches.delete_branch(txn, BranchName(RepoName("default", "left"), "p-trigger-1"), force=True))
    put(workspace, "right@master", {"/x": b"1"})
    (job,) = run_due(workspace, executor)
    assert job.state is JobState.UNRUNNABLE
    assert "left@p-trigger-1 was deleted" in job.reason
