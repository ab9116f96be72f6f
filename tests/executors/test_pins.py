"""Pipelines that run again on chosen commits: what they read, what follows, and what is refused."""

from collections.abc import Callable

import pytest

from pachyderm_dagster.errors import InvalidError, PachydermError, StateError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import BranchName, RepoName, RepoType
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.pps.pins import Pin, make_pin, parse_pin, pins_of_jobs, run_pipelines
from pachyderm_dagster.pps.pipelines import stop_pipeline
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, read_all, run_due

COPY = "pipeline: {name: %s}\ntransform: {cmd: [in-process]}\ninput: {pfs: {repo: %s, glob: '/*'}}\n"
BOTH = "pipeline: {name: both}\ntransform: {cmd: [in-process]}\ninput: {cross: [{pfs: {repo: data, glob: '/*'}}, {pfs: {repo: copy, glob: '/*'}}]}\n"
BRANCHES = """
pipeline: {name: branches}
transform: {cmd: [in-process]}
input: {union: [{pfs: {name: a, repo: data, glob: '/*'}}, {pfs: {name: b, repo: data, branch: dev, glob: '/*'}}]}
"""
DATA, COPIED, SECOND, TOGETHER = (RepoName("default", name) for name in ("data", "copy", "second", "both"))
Create = Callable[..., None]


@pytest.fixture
def history(workspace: Workspace, create: Create) -> list[str]:
    """Commits of an input with a chain of two pipelines that has done them: `/a`, `/b` without `/a`, `/c` with it."""
    workspace.pfs.create_repo("data")
    create(COPY % ("copy", "data"))
    create(COPY % ("second", "copy"))
    steps: list[dict[str, bytes | None]] = [{"/a": b"1"}, {"/b": b"2", "/a": None}, {"/c": b"3"}]
    for files in steps:
        put(workspace, "data@master", files)
    run(workspace)
    with workspace.database.read() as txn:
        return [commit.id for commit in commits.list_commit(txn, DATA, oldest_first=True) if commit.size_bytes]


def run(workspace: Workspace) -> list[Job]:
    return run_due(workspace, InProcessExecutor(lambda files: files))


def pin(workspace: Workspace, *names: RepoName, reprocess: bool = False, **refs: str) -> str:
    """Runs pipelines on commits of repos; the id of the set."""

    def change(txn: Transaction) -> str:
        run_pipelines(txn, names, pins=[Pin(RepoName("default", repo), ref) for repo, ref in refs.items()], reprocess=names if reprocess else ())
        return txn.id

    return workspace.database.write(change)


def reads(workspace: Workspace, job: Job) -> dict[str, str]:
    """The commit of each user repo that a job reads."""
    with workspace.database.read() as txn:
        found = commits.read_through(txn, job.output_commit)
        return {branch.repo.name: commits.get_commit(txn, row).id for branch, row in found.items() if branch.repo.type is RepoType.USER}


def test_pinned_job_reads_that_commit_and_what_follows_reads_its_output(workspace: Workspace, history: list[str]) -> None:
    made = pin(workspace, COPIED, data=history[0])
    first, second = run(workspace)
    assert (first.id, second.id) == (made, made)
    assert (reads(workspace, first), reads(workspace, second)) == ({"data": history[0]}, {"copy": made})
    assert read_all(workspace, "copy@master") == read_all(workspace, "second@master") == {"/a": b"1"}
    # As of this set, its results are those of the commit that it read.
    assert workspace.pfs.inspect_commit(f"data@{made}").id == history[0]
    put(workspace, "data@master", {"/d": b"4"})
    run(workspace)
    assert read_all(workspace, "second@master") == {"/b": b"2", "/c": b"3", "/d": b"4"}


def test_pin_may_be_a_branch_or_an_ancestor(workspace: Workspace, history: list[str]) -> None:
    workspace.pfs.create_branch("data@old", head=history[1])
    for ref, expected in (("old", history[1]), ("master^2", history[0]), ("master", history[2])):
        pin(workspace, COPIED, data=ref)
        first, _ = run(workspace)
        assert reads(workspace, first) == {"data": expected}


def test_results_there_are_count_also_for_an_old_commit_unless_it_is_to_reprocess(workspace: Workspace, history: list[str]) -> None:
    pin(workspace, COPIED, data=history[1])
    assert [(job.counters.data_processed, job.counters.data_skipped) for job in run(workspace)] == [(0, 1), (0, 1)]
    pin(workspace, COPIED, reprocess=True, data=history[1])
    (first, second) = run(workspace)
    assert (first.version, first.counters.data_processed) == (2, 1)
    assert second.counters.data_skipped == 1
    assert reads(workspace, first) == {"data": history[1]}


def test_whatever_reads_a_pinned_branch_in_the_set_reads_the_pin(workspace: Workspace, history: list[str], create: Create) -> None:
    create(BOTH)
    run(workspace)
    made = pin(workspace, COPIED, data=history[0])
    found = {job.pipeline: reads(workspace, job) for job in run(workspace)}
    assert found[TOGETHER] == {"data": history[0], "copy": made}
    assert read_all(workspace, "both@master") == {"/a": b"1"}


def test_output_of_an_earlier_set_may_be_pinned_for_what_reads_it(workspace: Workspace, history: list[str]) -> None:
    pin(workspace, SECOND, copy=history[0])
    (second,) = run(workspace)
    assert (second.pipeline, reads(workspace, second)) == (SECOND, {"copy": history[0]})


@pytest.mark.parametrize(
    ("names", "refs", "says"),
    [
        ((SECOND,), {"data": "master"}, "pipeline 'second' reads 'copy@master', and not 'data'; pin what is read"),
        ((COPIED, SECOND), {"copy": "master^"}, "'copy@master' is pinned to 'master^', and this change makes a commit of it; leave out one of them"),
        ((COPIED,), {"data": "none"}, "branch 'data@none' does not exist"),
        ((COPIED,), {"data": "0" * 32}, "commit 'data@00000000000000000000000000000000' does not exist"),
    ],
)
def test_pin_that_cannot_be_says_why(workspace: Workspace, history: list[str], names: tuple[RepoName, ...], refs: dict[str, str], says: str) -> None:
    with pytest.raises(PachydermError) as caught:
        pin(workspace, *names, reprocess=False, **refs)
    assert says in caught.value.message
    assert run(workspace) == []


def test_commit_that_cannot_be_read_is_no_pin(workspace: Workspace, history: list[str]) -> None:
    open_one = workspace.pfs.start_commit("data@master")
    with pytest.raises(StateError, match="is still being written"):
        pin(workspace, COPIED, data=open_one.id)
    workspace.pfs.finish_commit(str(open_one), error="a broken picture")
    with pytest.raises(InvalidError, match="has an error, and cannot be read: a broken picture"):
        pin(workspace, COPIED, data=open_one.id)


def test_pin_says_which_branch_where_several_are_read(workspace: Workspace, history: list[str], create: Create) -> None:
    workspace.pfs.create_branch("data@dev", head=history[0])
    create(BRANCHES)
    run(workspace)
    name = RepoName("default", "branches")
    with pytest.raises(InvalidError, match="reads several branches of 'data'; pin one of 'data@master', 'data@dev'"):
        pin(workspace, name, data=history[1])
    workspace.database.write(lambda txn: run_pipelines(txn, [name], pins=[parse_pin(f"data@dev={history[1]}")]))
    (job,) = run(workspace)
    with workspace.database.read() as txn:
        read = {branch.name: commits.get_commit(txn, row).id for branch, row in commits.read_through(txn, job.output_commit).items() if branch.repo == DATA}
    assert read == {"master": history[2], "dev": history[1]}


def test_two_pins_of_one_branch_have_to_agree(workspace: Workspace, history: list[str]) -> None:
    with pytest.raises(InvalidError, match="one commit of it is read"):
        workspace.database.write(lambda txn: run_pipelines(txn, [COPIED], pins=[parse_pin("data@master^"), parse_pin("data@master")]))
    workspace.database.write(lambda txn: run_pipelines(txn, [COPIED], pins=[parse_pin("data@master"), parse_pin(f"data@{history[2]}")]))


def test_change_of_a_branch_that_is_pinned_is_refused(workspace: Workspace, history: list[str]) -> None:
    def change(txn: Transaction) -> None:
        run_pipelines(txn, [COPIED], pins=[parse_pin(f"data@{history[0]}")])
        commits.start_commit(txn, BranchName(DATA, "master"))

    with pytest.raises(InvalidError, match="and this change makes a commit of it"):
        workspace.database.write(change)


def test_jobs_of_a_set_are_repeated_by_their_pins(workspace: Workspace, history: list[str]) -> None:
    with workspace.database.read() as txn:
        members = jobs.list_job(txn, set_id=history[1])
        assert pins_of_jobs(txn, members) == [Pin(DATA, history[1], "master")]
        (second,) = (job for job in members if job.pipeline == SECOND)
        assert pins_of_jobs(txn, [second]) == [Pin(COPIED, history[1], "master")]


def test_branch_and_ref_are_read_from_either_side() -> None:
    assert parse_pin("images@master^2") == Pin(RepoName("default", "images"), "master^2")
    assert parse_pin("other/images@dev=" + "1" * 32) == Pin(RepoName("other", "images"), "1" * 32, "dev")
    assert make_pin("images@dev", "master", project="other") == Pin(RepoName("other", "images"), "master", "dev")
    for read, ref in (("images", ""), ("images", "master:/file"), ("images@", "master"), ("no repo", "master")):
        with pytest.raises(InvalidError):
            make_pin(read, ref)


def test_stopped_pipeline_is_not_run(workspace: Workspace, history: list[str]) -> None:
    workspace.database.write(lambda txn: stop_pipeline(txn, COPIED))
    with pytest.raises(StateError, match="is stopped"):
        pin(workspace, COPIED, data=history[0])
    with workspace.database.read() as txn:
        assert all(job.state is JobState.SUCCESS for job in jobs.list_job(txn))
