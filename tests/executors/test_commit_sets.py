"""Which commits and jobs follow from what a user does: the worked example of Pachyderm's reference, with its system repos."""

from collections.abc import Callable

import pytest

from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Origin
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, run_due

SPEC = "pipeline: {name: %s}\ntransform: {cmd: [in-process]}\ninput: {pfs: {repo: %s, branch: %s, glob: '/*'}}\n"


@pytest.fixture
def news(workspace: Workspace) -> Callable[[], tuple[str, dict[str, str], set[str]]]:
    """What there is that was not there when it was asked last, all of one set: its id, the commits' repos with their origins, the pipelines with jobs."""
    seen: set[tuple[str, str]] = set()

    def look() -> tuple[str, dict[str, str], set[str]]:
        with workspace.database.read() as txn:
            found = [commit for commit in commits.list_commit(txn, include_system=True) if (str(commit.repo), commit.id) not in seen]
            made = {job.pipeline.name for job in jobs.list_job(txn) if job.id in {commit.id for commit in found}}
        seen.update((str(commit.repo), commit.id) for commit in found)
        ids = {commit.id for commit in found} or {""}
        assert len(ids) == 1
        return ids.pop(), {str(commit.repo).removeprefix("default/"): commit.origin.value for commit in found}, made

    return look


def resolved(workspace: Workspace, reference: str) -> str:
    return workspace.pfs.inspect_commit(reference).id


def test_commit_sets_are_those_of_the_worked_example(
    workspace: Workspace, create: Callable[..., None], news: Callable[[], tuple[str, dict[str, str], set[str]]]
) -> None:
    executor = InProcessExecutor(lambda files: files)
    user, auto = Origin.USER.value, Origin.AUTO.value

    workspace.pfs.create_repo("A")
    assert news()[1:] == ({}, set())

    create(SPEC % ("P1", "A", "master"))
    x, made, running = news()
    assert (made, running) == ({"A": auto, "P1.spec": user, "P1": auto, "P1.meta": auto}, {"P1"})
    (job,) = run_due(workspace, executor)
    assert (job.state, job.counters.data_total) == (JobState.SUCCESS, 0)

    create(SPEC % ("P2", "P1", "master"))
    y, made, running = news()
    assert (made, running) == ({"P2.spec": user, "P2": auto, "P2.meta": auto}, {"P2"})
    assert resolved(workspace, f"P1@{y}") == x
    run_due(workspace, executor)

    put(workspace, "A@master", {"/a": b"a"})
    z, made, running = news()
    assert (made, running) == ({"A": user, "P1": auto, "P1.meta": auto, "P2": auto, "P2.meta": auto}, {"P1", "P2"})
    with workspace.database.read() as txn:
        assert {job.state for job in jobs.list_job(txn, set_id=z)} == {JobState.CREATED}
    run_due(workspace, executor)

    create(SPEC % ("P1", "A", "master"), update=True)
    u, made, running = news()
    assert (made, running) == ({"P1.spec": user, "P1": auto, "P1.meta": auto, "P2": auto, "P2.meta": auto}, {"P1", "P2"})
    assert resolved(workspace, f"A@{u}") == z
    run_due(workspace, executor)

    workspace.pfs.create_branch("A@rel", head=f"A@{z}")
    assert news()[1:] == ({}, set())

    create(SPEC % ("P3", "A", "rel"))
    news()
    run_due(workspace, executor)
    open_id = workspace.pfs.start_commit("A@master").id
    v, made, running = news()
    assert (v, made, running) == (open_id, {"A": user, "P1": auto, "P1.meta": auto, "P2": auto, "P2.meta": auto}, {"P1", "P2"})
    assert run_due(workspace, executor) == []
    workspace.pfs.finish_commit(f"A@{v}")
    run_due(workspace, executor)

    workspace.pfs.create_branch("A@rel", head=f"A@{v}")
    w, made, running = news()
    assert (made, running) == ({"P3": auto, "P3.meta": auto}, {"P3"})
    assert resolved(workspace, f"A@{w}") == v
