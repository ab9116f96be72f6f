"""Several requests as one change."""

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, repos, requests, user_transactions
from pachyderm_dagster.pfs.commit_records import CommitRecord
from pachyderm_dagster.pfs.holdings import read_holdings
from pachyderm_dagster.pfs.model import BranchName, Commit, RepoName
from pachyderm_dagster.pfs.object_metadata import parse_edit
from pachyderm_dagster.pfs.references import Reference, parse_reference
from pachyderm_dagster.pps import jobs, transactions
from pachyderm_dagster.pps.requests import CreatePipeline, DeletePipeline, DeleteProject, Request, StopPipeline, describe
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace

LEFT, RIGHT = RepoName("default", "left"), RepoName("default", "right")


@pytest.fixture
def workspace(tmp_path: Path, metadata_url: str) -> Iterator[Workspace]:
    opened = open_workspace({"PACHYDERM_HOME": str(tmp_path / "home"), "PACHYDERM_METADATA_URL": metadata_url}, clock=ManualClock())
    yield opened
    opened.close()


def at(text: str) -> Reference:
    return parse_reference(text)


def branch(text: str) -> BranchName:
    return parse_reference(text).branch()


def joining(*read: str) -> CreatePipeline:
    """A pipeline `join` of several branches."""
    inputs = [{"pfs": {"repo": str(branch(text).repo), "branch": branch(text).name, "name": branch(text).repo.name, "glob": "/"}} for text in read]
    document = {"pipeline": {"name": "join"}, "input": {"cross": inputs}, "transform": {"cmd": ["true"]}}
    (spec,) = parse_specs(msgspec.json.encode(document).decode(), source="test")
    return CreatePipeline(spec.to_json())


def start(workspace: Workspace) -> str:
    return workspace.database.write(user_transactions.start_transaction).id


def asked(workspace: Workspace, *wanted: Request) -> str:
    """A transaction with these requests."""
    transaction = start(workspace)
    for request in wanted:
        workspace.pps.append_request(transaction, request)
    return transaction


def refusal(workspace: Workspace, transaction: str, request: Request) -> str:
    with pytest.raises(PachydermError) as caught:
        workspace.pps.append_request(transaction, request)
    return caught.value.code


def list_repo(workspace: Workspace) -> list[str]:
    with workspace.database.read() as txn:
        return [str(repo.name) for repo in repos.list_repo(txn)]


def list_job(workspace: Workspace) -> list[str]:
    with workspace.database.read() as txn:
        return [job.id for job in jobs.list_job(txn)]


def number_of_requests(workspace: Workspace, transaction: str) -> int:
    with workspace.database.read() as txn:
        return len(user_transactions.get_transaction(txn, transaction).requests)


def test_nothing_is_done_before_the_transaction_is_finished(workspace: Workspace) -> None:
    transaction = asked(workspace, requests.CreateRepo(LEFT))
    assert list_repo(workspace) == []
    workspace.pps.finish_transaction(transaction)
    assert list_repo(workspace) == ["left"]
    with workspace.database.read() as txn:
        assert user_transactions.list_transaction(txn) == []


def test_all_requests_make_one_commit_set_of_the_transactions_id(workspace: Workspace) -> None:
    transaction = asked(
        workspace,
        requests.CreateRepo(LEFT),
        requests.CreateRepo(RIGHT),
        joining("left@raw", "right@raw"),
        requests.CreateBranch(BranchName(LEFT, "release")),
    )
    workspace.pps.finish_transaction(transaction)
    assert list_job(workspace) == [transaction]
    with workspace.database.read() as txn:
        assert sorted(str(commit.repo) for commit in commits.get_set(txn, transaction)) == ["join", "join.meta", "join.spec", "left", "right"]


def test_two_heads_that_move_together_make_one_job(workspace: Workspace) -> None:
    for repo in ("left", "right"):
        workspace.pfs.create_repo(repo)
    workspace.pps.apply_all([joining("left@master", "right@master")])
    for repo in ("left", "right"):
        with workspace.pfs.modify_file(f"{repo}@staging") as files:
            files.put_bytes("/data", repo.encode())
    assert len(list_job(workspace)) == 1
    transaction = asked(
        workspace,
        requests.CreateBranch(BranchName(LEFT, "master"), head=at("left@staging")),
        requests.CreateBranch(BranchName(RIGHT, "master"), head=at("right@staging")),
    )
    workspace.pps.finish_transaction(transaction)
    newest, *older = list_job(workspace)
    assert newest == transaction
    assert len(older) == 1


def test_request_that_cannot_work_is_refused_when_it_is_given(workspace: Workspace) -> None:
    transaction = asked(workspace, requests.CreateRepo(LEFT))
    assert refusal(workspace, transaction, requests.CreateRepo(LEFT)) == "repo-exists"
    assert refusal(workspace, transaction, requests.CreateBranch(BranchName(RIGHT, "master"))) == "repo-not-found"
    assert refusal(workspace, transaction, StopPipeline(RIGHT)) == "pipeline-not-found"
    assert number_of_requests(workspace, transaction) == 1


def test_source_folder_is_no_part_of_a_transaction(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "run.sh").write_text("true")
    request = msgspec.structs.replace(joining("left@master"), source=workspace.pps.store_source(str(tmp_path / "code")))
    assert refusal(workspace, start(workspace), request) == "transaction-active"


def test_two_commits_in_one_repo_are_refused(workspace: Workspace) -> None:
    transaction = asked(workspace, requests.CreateRepo(LEFT), requests.StartCommit(BranchName(LEFT, "a")))
    assert refusal(workspace, transaction, requests.StartCommit(BranchName(LEFT, "b"))) == "set-conflict"


def test_what_follows_at_the_end_is_rehearsed_too(workspace: Workspace) -> None:
    for repo in ("left", "right"):
        workspace.pfs.create_repo(repo)
    workspace.pfs.create_branch("left@a")
    workspace.pfs.create_branch("right@one", provenance=["left@a"])
    workspace.pfs.create_branch("right@two", provenance=["left@b"])
    transaction = asked(workspace, requests.CreateBranch(BranchName(LEFT, "a"), head=at("left@a")))
    assert refusal(workspace, transaction, requests.CreateBranch(BranchName(LEFT, "b"), head=at("left@b"))) == "set-conflict"


def test_started_commit_has_the_id_of_the_transaction_and_takes_files_afterwards(workspace: Workspace) -> None:
    workspace.pfs.create_repo("left")
    transaction = start(workspace)
    (started,) = workspace.pps.append_request(transaction, requests.StartCommit(BranchName(LEFT, "master")))
    assert isinstance(started, Commit)
    assert started.id == transaction
    workspace.pps.finish_transaction(transaction)
    with workspace.pfs.modify_file(f"left@{transaction}") as files:
        files.put_bytes("/data", b"1")
    assert workspace.pfs.finish_commit("left@master").id == transaction
    assert b"".join(workspace.pfs.get_file("left@master:/data")) == b"1"


def test_open_commit_is_finished_with_what_was_put_into_it_until_then(workspace: Workspace) -> None:
    workspace.pfs.create_repo("left")
    workspace.pfs.start_commit("left@master")
    with workspace.pfs.modify_file("left@master") as files:
        files.put_bytes("/early", b"1")
    transaction = asked(workspace, requests.FinishCommit(at("left@master"), description="done"))
    with workspace.pfs.modify_file("left@master") as files:
        files.put_bytes("/late", b"2")
    workspace.pps.finish_transaction(transaction)
    finished = workspace.pfs.inspect_commit("left@master")
    assert finished.finished is not None
    assert (finished.description, finished.size_bytes) == ("done", 2)
    assert [info.path for info in workspace.pfs.list_file("left@master:/")] == ["/early", "/late"]


def test_commit_that_is_started_and_finished_in_one_transaction_holds_what_was_there(workspace: Workspace) -> None:
    workspace.pfs.create_repo("left")
    with workspace.pfs.modify_file("left@master") as files:
        files.put_bytes("/data", b"1")
    transaction = asked(workspace, requests.StartCommit(BranchName(LEFT, "master")), requests.FinishCommit(at("left@master")))
    workspace.pps.finish_transaction(transaction)
    assert workspace.pfs.inspect_commit("left@master").id == transaction
    assert b"".join(workspace.pfs.get_file("left@master:/data")) == b"1"


def test_content_that_cannot_be_put_together_is_refused_when_it_is_given(workspace: Workspace) -> None:
    workspace.pfs.create_repo("left")
    workspace.pfs.start_commit("left@master")
    for path in ("/a", "/a/b"):
        with workspace.pfs.modify_file("left@master") as files:
            files.put_bytes(path, b"1")
    assert refusal(workspace, start(workspace), requests.FinishCommit(at("left@master"))) == "path-conflict"


def test_finish_that_fails_names_the_request_and_leaves_the_transaction(workspace: Workspace) -> None:
    transaction = asked(workspace, requests.CreateRepo(LEFT), requests.CreateRepo(RIGHT))
    workspace.pfs.create_repo("right")
    with pytest.raises(PachydermError, match="request 2 of 2, `create repo right`: repo 'right' exists already.*nothing was done") as caught:
        workspace.pps.finish_transaction(transaction)
    assert caught.value.code == "repo-exists"
    assert list_repo(workspace) == ["right"]
    assert number_of_requests(workspace, transaction) == 2
    workspace.pfs.delete_repo("right")
    workspace.pps.finish_transaction(transaction)
    assert list_repo(workspace) == ["left", "right"]


def test_transaction_that_is_over_takes_nothing_more(workspace: Workspace) -> None:
    transaction = asked(workspace, requests.CreateRepo(LEFT))
    workspace.pps.finish_transaction(transaction)
    assert refusal(workspace, transaction, requests.CreateRepo(RIGHT)) == "transaction-not-found"


def test_requests_that_are_applied_at_once_are_all_done_or_none(workspace: Workspace) -> None:
    with pytest.raises(PachydermError, match="request 2 of 2, `create branch right@master`"):
        workspace.pps.apply_all([requests.CreateRepo(LEFT), requests.CreateBranch(BranchName(RIGHT, "master"))])
    assert list_repo(workspace) == []
    made = workspace.pps.apply_all([requests.CreateRepo(LEFT), requests.StartCommit(BranchName(LEFT, "master"))])
    assert [str(one) for (one,) in made[1:]] == [str(workspace.pfs.inspect_commit("left@master"))]


def test_pipeline_that_is_made_and_stopped_in_one_transaction_has_no_job(workspace: Workspace) -> None:
    made = RepoName("default", "join")
    workspace.pps.finish_transaction(asked(workspace, requests.CreateRepo(LEFT), joining("left@master"), StopPipeline(made)))
    assert list_job(workspace) == []


def test_spec_is_in_the_spec_repo_when_the_transaction_is_finished(workspace: Workspace) -> None:
    workspace.pps.finish_transaction(asked(workspace, requests.CreateRepo(LEFT), joining("left@master")))
    assert b'"name": "join"' in b"".join(workspace.pfs.get_file("join.spec@master:/spec"))


EVERY_KIND: list[tuple[Request, str]] = [
    (requests.CreateProject("vision", "eyes"), "create project vision"),
    (requests.UpdateProject("vision", ""), "update project vision"),
    (DeleteProject("vision", force=True), "delete project vision"),
    (requests.CreateRepo(RepoName("vision", "images")), "create repo vision/images"),
    (requests.UpdateRepo(LEFT, "x"), "update repo left"),
    (requests.DeleteRepo(every_one_in="vision"), "delete repo --all --project vision"),
    (requests.CreateBranch(branch("left@a"), at("left@b^2"), (branch("vision/images@c"),)), "create branch left@a --head left@b^2 -p vision/images@c"),
    (requests.DeleteBranch(branch("left@a")), "delete branch left@a"),
    (requests.StartCommit(branch("left@a"), at("left@b.1")), "start commit left@a"),
    (requests.FinishCommit(at("left@a"), error="bad"), "finish commit left@a"),
    (requests.SquashCommit(at("left@a"), recursive=True), "squash commit left@a"),
    (requests.DropCommit(at("left@a")), "delete commit left@a"),
    (requests.SquashCommitSet("f" * 32), f"squash commit set {'f' * 32}"),
    (requests.EditMetadata((parse_edit("repo", "left", "add", "a=b"), parse_edit("cluster", ".", "replace", '{"a": "b"}'))),
     'edit metadata repo left add a=b cluster . replace {"a": "b"}'),
    (joining("left@a"), "create pipeline join"),
    (DeletePipeline(LEFT, force=True), "delete pipeline left"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "line"), EVERY_KIND, ids=[line for _, line in EVERY_KIND])
def test_request_is_read_back_as_it_was_kept_and_shown_as_it_was_asked(workspace: Workspace, request_: Request, line: str) -> None:
    transaction = start(workspace)

    def keep(txn: Transaction) -> None:
        user_transactions.add_request(txn, transaction, msgspec.to_builtins(request_))

    workspace.database.write(keep)
    with workspace.database.read() as txn:
        assert transactions.requests_of(user_transactions.get_transaction(txn, transaction)) == [request_]
    assert describe(request_) == line


def test_pipelines_name_and_project_are_short_enough_for_kubernetes(workspace: Workspace) -> None:
    project, short = "p" * 51, "x" * 7
    workspace.pps.apply_all([requests.CreateProject(project), requests.CreateRepo(RepoName(project, "left"))])
    for name, refused in ((short, False), (f"{short}x", True)):
        document = {"pipeline": {"name": name}, "input": {"pfs": {"repo": "left", "glob": "/"}}, "transform": {"cmd": ["true"]}}
        (spec,) = parse_specs(msgspec.json.encode(document).decode(), source="test")
        with pytest.raises(PachydermError, match="too long") if refused else contextlib.nullcontext():
            workspace.pps.apply_all([CreatePipeline(spec.to_json(), project)])


def test_metadata_is_edited_through_the_facade(workspace: Workspace) -> None:
    workspace.pfs.create_repo("left")
    workspace.pfs.edit_metadata(("repo", "left", "add", "owner=ann"), ("repo", "left", "add", "place=lab"))
    assert workspace.pfs.inspect_repo("left").metadata == {"owner": "ann", "place": "lab"}


def collected_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has what a request prepared collected before its transaction, the first time."""
    prepare = workspace.pps._prepare
    collected: list[bool] = []

    def prepare_and_collect(contents: requests.Contents) -> None:
        prepare(contents)
        if not collected:
            collected.append(True)
            assert isinstance(workspace.database.clock, ManualClock)
            workspace.database.clock.advance(dt.timedelta(days=1))
            for path in (workspace.settings.home / "objects").rglob("*"):
                if path.is_file():
                    os.utime(path, (1, 1))
            workspace.collect_garbage(grace=dt.timedelta(0))

    monkeypatch.setattr(workspace.pps, "_prepare", prepare_and_collect)


def open_commit(workspace: Workspace, repo: str) -> Commit:
    workspace.pfs.create_repo(repo)
    opened = workspace.pfs.start_commit(f"{repo}@master")
    with workspace.pfs.modify_file(f"{repo}@master") as files:
        files.put_bytes("/a", b"content" * 100)
    return opened


def test_commit_whose_content_was_collected_before_the_transaction_is_whole(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    open_commit(workspace, "left")
    collected_once(workspace, monkeypatch)
    workspace.pps.apply_all([requests.FinishCommit(at("left@master"))])
    assert b"".join(workspace.pfs.get_file("left@master:/a")) == b"content" * 100


def test_spec_that_was_collected_before_the_transaction_is_whole(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.pfs.create_repo("left")
    collected_once(workspace, monkeypatch)
    workspace.pps.apply_all([joining("left@master")])
    assert b'"name": "join"' in b"".join(workspace.pfs.get_file("join.spec@master:/spec"))


def test_commit_is_finished_alike_in_a_transaction_and_by_itself(workspace: Workspace) -> None:
    for repo in ("left", "right"):
        open_commit(workspace, repo)
    workspace.pfs.finish_commit("left@master", description="done")
    alone = workspace.pfs.inspect_commit("left@master")
    workspace.pps.finish_transaction(asked(workspace, requests.FinishCommit(at("right@master"), description="done")))
    together = workspace.pfs.inspect_commit("right@master")
    assert (together.description, together.size_bytes) == ("done", 700)
    # Ids of objects, which both hold, compress to a byte more or less.
    assert together.stored_bytes == pytest.approx(alone.stored_bytes, abs=32)
    assert recorded(workspace)[together.id].tree == together.tree


def test_record_of_a_finished_commit_is_stored_before_the_transaction(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_commit(workspace, "left")
    monkeypatch.setattr(workspace.database, "_follow", None)
    workspace.pps.apply_all([requests.FinishCommit(at("left@master"), error="a fault")])
    assert recorded(workspace)[opened.id].error == "a fault"


def test_commit_whose_finish_is_only_tried_is_not_recorded(workspace: Workspace) -> None:
    opened = open_commit(workspace, "left")
    asked(workspace, requests.FinishCommit(at("left@master")))
    assert opened.id not in recorded(workspace)


def test_commit_that_changes_after_its_record_was_made_is_recorded_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_commit(workspace, "left")
    prepare = workspace.pps._prepare

    def prepare_and_edit(contents: requests.Contents) -> None:
        prepare(contents)
        clock = workspace.database.clock
        assert isinstance(clock, ManualClock)
        clock.advance(dt.timedelta(seconds=1))  # of two records the younger one counts
        workspace.pfs.edit_metadata(("commit", f"left@{opened.id}", "add", "owner=ann"))

    monkeypatch.setattr(workspace.pps, "_prepare", prepare_and_edit)
    workspace.pps.apply_all([requests.FinishCommit(at("left@master"))])
    assert recorded(workspace)[opened.id].metadata == {"owner": "ann"}


def recorded(workspace: Workspace) -> Mapping[str, CommitRecord]:
    """The newest records in the store, by id."""
    return {record.id: record for record in read_holdings(workspace.store, lambda _: None).records.values()}
