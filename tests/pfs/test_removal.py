"""Squash, drop, forget and clear: what goes, what stays, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.model import Commit, Origin, RepoName, RepoType
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.checking import check_home
from pachyderm_dagster.pps.model import Counters, Job, JobState
from pachyderm_dagster.pps.recovery import job_records
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path, metadata_url: str) -> Iterator[Workspace]:
    opened = open_workspace({"PACHYDERM_HOME": str(tmp_path), "PACHYDERM_METADATA_URL": metadata_url}, clock=ManualClock())
    for repo in ("data", "more"):
        opened.pfs.create_repo(repo)
    yield opened
    opened.close()


@pytest.fixture
def pfs(workspace: Workspace) -> Pfs:
    return workspace.pfs


@pytest.fixture
def edges(workspace: Workspace) -> Workspace:
    """A pipeline `edges` that reads data and more."""
    inputs = [{"pfs": {"repo": repo, "glob": "/"}} for repo in ("data", "more")]
    body = {"pipeline": {"name": "edges"}, "transform": {"cmd": ["true"]}, "input": {"cross": inputs}}
    for spec in parse_specs(json.dumps(body), source="test"):
        workspace.pps.create_pipeline(spec)
    return workspace


def put(pfs: Pfs, target: str, path: str, content: bytes = b"x") -> Commit:
    with pfs.modify_file(target) as files:
        files.put_bytes(path, content)
    return files.commit


def paths(pfs: Pfs, reference: str) -> list[str]:
    return [row["path"] for row in pfs.glob_file(reference, "/*").to_pylist()]


def job_of(workspace: Workspace, set_id: str) -> Job:
    with workspace.database.read() as txn:
        return jobs.get_job(txn, RepoName("default", "edges"), set_id)


def succeed(workspace: Workspace, set_id: str) -> None:
    """Ends the job of a set with the output of what `data` holds."""
    root = workspace.pfs.root("data@master")
    job = job_of(workspace, set_id)
    now, content = workspace.database.clock.now(), (root.encode(), root.size_bytes)
    with workspace.database.read() as txn:
        records = job_records(txn, job, JobState.SUCCESS, reason="", finished=now, counters=Counters(), output=content, meta=None)
    workspace.database.write(lambda txn: jobs.finish(txn, job, JobState.SUCCESS, records=records))


def problems(workspace: Workspace) -> list[str]:
    """What fsck finds."""
    return [found.problem.message for found in check_home(workspace.database, workspace.store, deep=False, progress=lambda _: None)]


def refused(call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(StateError) as error:
        call(*arguments, **named)  # type: ignore[operator]
    return error.value.code


def test_squashed_commit_leaves_its_files_to_its_child(pfs: Pfs) -> None:
    first, middle, last = (put(pfs, "data@master", path) for path in ("/a", "/b", "/c"))
    assert [commit.id for commit in pfs.squash_commit_set(middle.id)] == [middle.id]
    assert paths(pfs, "data@master") == ["/a", "/b", "/c"]
    assert pfs.inspect_commit("data@master").parent == first.id
    assert pfs.inspect_branch("data@master").head == last.id
    with pytest.raises(NotFoundError):
        pfs.inspect_commit(f"data@{middle.id}")


def test_what_squashed_commits_stored_counts_for_the_commit_behind_them(pfs: Pfs) -> None:
    first, second = put(pfs, "data@master", "/a", b"a" * 5000), put(pfs, "data@master", "/b", b"b" * 3000)
    third = put(pfs, "data@master", "/c")
    before = sum(pfs.inspect_commit(f"data@{commit.id}").stored_bytes for commit in (first, second, third))
    pfs.squash_commit(f"data@{first.id}")
    pfs.squash_commit(f"data@{second.id}")
    assert pfs.inspect_commit("data@master").stored_bytes == before > 8000


def test_last_commit_is_not_squashed(pfs: Pfs) -> None:
    assert refused(pfs.squash_commit_set, put(pfs, "data@master", "/a").id) == "commit-without-children"


def test_commit_under_an_open_one_is_not_squashed(pfs: Pfs) -> None:
    first = put(pfs, "data@master", "/a")
    pfs.start_commit("data@master")
    assert refused(pfs.squash_commit, f"data@{first.id}") == "commit-open"


def test_commit_that_only_failed_ones_continued_is_not_squashed(pfs: Pfs) -> None:
    first = put(pfs, "data@master", "/a")
    pfs.start_commit("data@master")
    pfs.finish_commit("data@master", error="on purpose")
    assert refused(pfs.squash_commit, f"data@{first.id}") == "commit-in-use"
    put(pfs, "data@master", "/b")
    pfs.squash_commit(f"data@{first.id}")
    assert paths(pfs, "data@master") == ["/a", "/b"]


def test_failed_commit_is_squashed(pfs: Pfs) -> None:
    first = put(pfs, "data@master", "/a")
    failed = pfs.start_commit("data@master")
    pfs.finish_commit("data@master", error="on purpose")
    put(pfs, "data@master", "/b")
    pfs.squash_commit(f"data@{failed.id}")
    assert pfs.inspect_commit("data@master").parent == first.id
    assert paths(pfs, "data@master") == ["/a", "/b"]


def test_dropped_head_leaves_its_parent(pfs: Pfs) -> None:
    first, last = put(pfs, "data@master", "/a"), put(pfs, "data@master", "/b")
    pfs.drop_commit_set(last.id)
    assert pfs.inspect_branch("data@master").head == first.id
    assert paths(pfs, "data@master") == ["/a"]


def test_branch_whose_only_commit_is_dropped_gets_an_empty_one(pfs: Pfs) -> None:
    first = put(pfs, "data@master", "/a")
    pfs.drop_commit("data@master")
    head = pfs.inspect_commit("data@master")
    assert (head.origin, head.parent, head.finished is None) == (Origin.AUTO, None, False)
    assert head.id != first.id
    assert paths(pfs, "data@master") == []


def test_every_branch_that_points_at_a_dropped_commit_moves(pfs: Pfs) -> None:
    first, last = put(pfs, "data@master", "/a"), put(pfs, "data@master", "/b")
    pfs.create_branch("data@release", head="master")
    pfs.drop_commit(f"data@{last.id}")
    assert {pfs.inspect_branch(f"data@{name}").head for name in ("master", "release")} == {first.id}


def test_commit_with_children_is_not_dropped(pfs: Pfs) -> None:
    first = put(pfs, "data@master", "/a")
    put(pfs, "data@master", "/b")
    assert refused(pfs.drop_commit_set, first.id) == "commit-has-children"


def test_open_commit_is_dropped_with_what_it_staged(pfs: Pfs) -> None:
    first = put(pfs, "data@master", "/a")
    opened = pfs.start_commit("data@master")
    put(pfs, "data@master", "/b")
    pfs.drop_commit(f"data@{opened.id}")
    assert pfs.inspect_branch("data@master").head == first.id
    assert paths(pfs, "data@master") == ["/a"]


def test_removed_commits_leave_tombstones(workspace: Workspace, pfs: Pfs) -> None:
    dropped = put(pfs, "data@master", "/a")
    pfs.drop_commit("data@master")
    with workspace.database.read() as txn:
        assert [row.set_id for row in txn.all(sa.select(t.removed_commit))] == [dropped.id]


def test_set_goes_with_its_jobs(edges: Workspace) -> None:
    pfs = edges.pfs
    before = pfs.inspect_branch("edges@master").head
    first = put(pfs, "data@master", "/a")
    assert job_of(edges, first.id).state is JobState.CREATED
    removed = pfs.drop_commit_set(first.id)
    assert {(commit.repo.name, commit.repo.type) for commit in removed} == {("data", RepoType.USER), ("edges", RepoType.USER), ("edges", RepoType.META)}
    assert pfs.inspect_branch("edges@master").head == before
    with pytest.raises(NotFoundError):
        job_of(edges, first.id)


def test_running_job_of_a_dropped_commit_is_told_to_stop(edges: Workspace) -> None:
    first = put(edges.pfs, "data@master", "/a")
    job = edges.database.write(lambda txn: jobs.claim(txn, job_of(edges, first.id), None))
    edges.pfs.drop_commit_set(first.id)
    assert not edges.database.write(lambda txn: jobs.report(txn, job, JobState.RUNNING, job.counters))


def test_set_that_others_were_made_from_stays(edges: Workspace) -> None:
    first = put(edges.pfs, "data@master", "/a")
    put(edges.pfs, "more@master", "/b")
    assert refused(edges.pfs.drop_commit_set, first.id) == "commit-in-use"


def test_commit_that_a_pipeline_read_goes_only_with_the_output(edges: Workspace) -> None:
    pfs = edges.pfs
    first = put(pfs, "data@master", "/a")
    assert refused(pfs.drop_commit, f"data@{first.id}") == "commit-in-use"
    removed = pfs.drop_commit(f"data@{first.id}", recursive=True)
    assert {str(commit.repo) for commit in removed} == {"data", "edges", "edges.meta"}


def test_output_that_read_something_else_too_is_made_again(edges: Workspace) -> None:
    pfs = edges.pfs
    opened = pfs.start_commit("data@master")
    other = put(pfs, "more@master", "/b")
    pfs.drop_commit(f"data@{opened.id}", recursive=True)
    head = pfs.inspect_commit("edges@master")
    assert f"more@{other.id}" in head.direct_provenance
    assert f"data@{opened.id}" not in head.direct_provenance
    assert job_of(edges, head.id).state is JobState.CREATED


def test_abandoned_commit_goes_though_its_branch_went_on_elsewhere(edges: Workspace) -> None:
    pfs = edges.pfs
    old = put(pfs, "data@master", "/a")
    opened = pfs.start_commit("data@master")
    pfs.create_branch("data@master", head=old.id)
    last = put(pfs, "data@master", "/b")
    pfs.drop_commit(f"data@{opened.id}", recursive=True)
    assert pfs.inspect_branch("edges@master").head == last.id
    assert opened.id not in {commit.parent for commit in (pfs.inspect_commit("edges@master"), pfs.inspect_commit("edges@master^"))}


def test_dropped_output_takes_its_meta_commit_along_and_is_not_made_again(edges: Workspace) -> None:
    pfs = edges.pfs
    before = pfs.inspect_branch("edges@master").head
    first = put(pfs, "data@master", "/a")
    removed = pfs.drop_commit(f"edges@{first.id}")
    assert {commit.repo.type for commit in removed} == {RepoType.USER, RepoType.META}
    assert pfs.inspect_branch("edges@master").head == before
    assert pfs.inspect_branch("data@master").head == first.id


def test_only_output_that_is_dropped_leaves_an_empty_one_made_from_the_same(edges: Workspace) -> None:
    pfs = edges.pfs
    before = pfs.inspect_commit("edges@master")
    pfs.drop_commit("edges@master")
    head = pfs.inspect_commit("edges@master")
    assert head.id != before.id
    assert head.finished is not None
    assert head.direct_provenance == before.direct_provenance
    assert problems(edges) == []


def test_drop_does_not_leave_a_head_that_was_made_from_another_branch(pfs: Pfs, workspace: Workspace) -> None:
    put(pfs, "data@x", "/a")
    put(pfs, "data@y", "/a")
    pfs.create_branch("more@made", provenance=["data@x"])
    pfs.create_branch("more@made", provenance=["data@y"])
    pfs.drop_commit("more@made")
    assert pfs.inspect_commit("more@made").direct_provenance == (f"data@{pfs.inspect_branch('data@y').head}",)
    assert problems(workspace) == []


def test_drop_of_what_was_read_does_not_either(pfs: Pfs, workspace: Workspace) -> None:
    put(pfs, "data@x", "/a")
    old = put(pfs, "data@y", "/a")
    pfs.create_branch("more@made", provenance=["data@x"])
    pfs.start_commit("data@y")
    pfs.create_branch("more@made", provenance=["data@y"])
    pfs.drop_commit("data@y", recursive=True)
    assert pfs.inspect_commit("more@made").direct_provenance == (f"data@{old.id}",)
    assert problems(workspace) == []


def test_version_of_a_pipeline_is_not_removed(edges: Workspace) -> None:
    created = edges.pfs.inspect_branch("edges@master").head
    assert created is not None
    assert refused(edges.pfs.drop_commit_set, created) == "commit-in-use"
    assert refused(edges.pfs.drop_commit, "edges.spec@master", recursive=True) == "commit-in-use"


def test_forgotten_output_is_listed_and_not_read(edges: Workspace) -> None:
    pfs = edges.pfs
    old = pfs.inspect_commit("edges@master")
    succeed(edges, old.id)
    size = pfs.inspect_commit("edges@master").size_bytes
    succeed(edges, put(pfs, "data@master", "/a").id)
    assert pfs.forget_commit(f"edges@{old.id}").forgotten
    assert pfs.inspect_commit(f"edges@{old.id}").size_bytes == size
    assert refused(pfs.root, f"edges@{old.id}") == "commit-forgotten"
    assert refused(pfs.forget_commit, f"edges@{old.id}") == "commit-forgotten"
    assert paths(pfs, "edges@master") == ["/a"]


def test_head_and_what_is_open_or_a_users_is_not_forgotten(edges: Workspace) -> None:
    pfs = edges.pfs
    old = pfs.inspect_commit("edges@master")
    assert refused(pfs.forget_commit, "edges@master") == "commit-open"
    succeed(edges, old.id)
    assert refused(pfs.forget_commit, "edges@master") == "commit-in-use"
    first = put(pfs, "data@master", "/a")
    assert refused(pfs.forget_commit, f"edges@{old.id}") == "commit-open"
    with pytest.raises(InvalidError) as error:
        pfs.forget_commit(f"data@{first.id}")
    assert error.value.code == "not-an-output"


def test_branch_is_not_left_with_a_forgotten_head(edges: Workspace) -> None:
    pfs = edges.pfs
    old = pfs.inspect_commit("edges@master")
    succeed(edges, old.id)
    succeed(edges, put(pfs, "data@master", "/a").id)
    pfs.forget_commit(f"edges@{old.id}")
    assert refused(pfs.drop_commit, "edges@master") == "commit-forgotten"
    assert refused(pfs.create_branch, "edges@old", head=old.id) == "commit-forgotten"


def test_cleared_commit_holds_what_it_began_with(pfs: Pfs) -> None:
    put(pfs, "data@master", "/a")
    pfs.start_commit("data@master")
    put(pfs, "data@master", "/b")
    pfs.clear_commit("data@master")
    assert paths(pfs, "data@master") == ["/a"]
    pfs.finish_commit("data@master")
    assert refused(pfs.clear_commit, "data@master") == "commit-finished"


def test_head_that_falls_back_is_made_again_from_a_source_that_is_emptied_with_it(workspace: Workspace) -> None:
    pfs = workspace.pfs
    first = put(pfs, "data@out", "/a")
    pfs.create_branch("data@out", provenance=["more@new"], head=first.id)
    made = pfs.inspect_branch("data@out").head
    assert made != first.id
    assert pfs.inspect_branch("more@new").head == made
    pfs.drop_commit_set(str(made))
    again, emptied = pfs.inspect_branch("data@out").head, pfs.inspect_branch("more@new").head
    assert [str(read) for read in pfs.inspect_commit(f"data@{again}").direct_provenance] == [f"more@{emptied}"]
    assert pfs.inspect_commit(f"data@{again}").parent == first.id
    assert list(check_home(workspace.database, workspace.store, deep=True, progress=lambda _: None)) == []
