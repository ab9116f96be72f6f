"""What Python does with versioned data through `connect`."""

import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import pachyderm_dagster
from pachyderm_dagster import connect
from pachyderm_dagster.client.client import Client
from pachyderm_dagster.errors import ConflictError, InvalidError, NotFoundError, PachydermError, StateError
from pachyderm_dagster.pfs.model import Origin, Trigger


def files_of(client: Client, commit: str) -> dict[str, bytes]:
    return dict(client.get_files(commit, [file.path for file in client.walk_file(commit) if file.type == "file"]))


def codes(error: pytest.ExceptionInfo[PachydermError]) -> str:
    return error.value.code


def test_importing_the_package_loads_none_of_it() -> None:
    code = "import sys, pachyderm_dagster; print([name for name in sys.modules if name.startswith(('pachyderm_dagster.', 'sqlalchemy', 'pyarrow'))])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'disconnect'"):
        _ = pachyderm_dagster.disconnect


def test_home_is_the_one_that_is_named(tmp_path: Path) -> None:
    with connect(tmp_path / "one") as one, connect(environ={"PACHYDERM_HOME": str(tmp_path / "two")}) as two:
        one.create_repo("images")
        assert [repo.name.name for repo in one.list_repo()] == ["images"]
        assert two.list_repo() == []
    assert (tmp_path / "one" / "metadata.db").exists()


def test_names_without_a_project_are_of_the_clients(client: Client) -> None:
    client.create_project("lab", description="trials")
    with connect(client.home, project="lab") as lab:
        lab.create_repo("images")
        lab.put_file("images@master:/a", b"lab")
        client.put_file("images@master:/a", b"default")
        assert lab.get_file("images@master:/a") == b"lab"
        assert lab.get_file("default/images@master:/a") == b"default"
        assert [str(repo.name) for repo in lab.list_repo()] == ["lab/images"]
        assert [str(repo.name) for repo in lab.list_repo(all_projects=True)] == ["images", "lab/images"]
    assert [(project.name, project.description) for project in client.list_project()] == [("default", ""), ("lab", "trials")]


def test_commit_that_somebody_else_finished_stays_when_its_block_raises(client: Client) -> None:
    with pytest.raises(StateError) as caught, client.commit("images@master") as commit:
        commit.put_file("/mine", b"1")
        with connect(client.home) as other:
            other.put_file("images@master:/theirs", b"2")
            finished = other.finish_commit("images@master")
    assert codes(caught) == "commit-finished"
    assert client.inspect_branch("images@master").head == finished.id
    assert files_of(client, "images@master") == {"/theirs": b"2"}


def test_error_of_a_block_is_seen_when_its_commit_cannot_be_dropped(client: Client) -> None:
    with pytest.raises(RuntimeError, match="mine") as caught, client.commit("images@master") as commit:
        client.drop_commit(f"images@{commit.id}")
        raise RuntimeError("mine")
    assert any("was not dropped" in note for note in caught.value.__notes__)


def test_branch_follows_another_by_its_trigger(client: Client) -> None:
    client.create_branch("images@release", trigger=Trigger(branch="master", commits=2))
    client.put_file("images@master:/a", b"1")
    second = client.put_file("images@master:/b", b"2")
    client.put_file("images@master:/c", b"3")
    assert client.inspect_branch("images@release").head == second.id


def test_notes_on_objects_are_made_together_or_not_at_all(client: Client) -> None:
    client.edit_metadata(("repo", "images", "add", "owner=ann"))
    with pytest.raises(PachydermError):
        client.edit_metadata(("repo", "images", "add", "team=vision"), ("repo", "images", "add", "owner=bob"))
    assert client.inspect_repo("images").metadata == {"owner": "ann"}


def test_commit_is_finished_when_its_block_ends(client: Client) -> None:
    with client.commit("images@master", description="first") as commit:
        commit.put_file("/a", b"1")
        commit.put_file("/b", io.BytesIO(b"2"))
        (seen,) = client.list_commit("images")
        assert (seen.id, seen.finished, seen.description) == (commit.id, None, "first")
    assert commit.commit.finished is not None
    assert client.inspect_branch("images@master").head == commit.id
    assert files_of(client, "images@master") == {"/a": b"1", "/b": b"2"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_dropped_commit_leaves_branch_head(client: Client, error: type[BaseException]) -> None:
    head = client.put_file("images@master:/a", b"1").id
    with pytest.raises(error), client.commit("images@master") as commit:
        commit.put_file("/b", b"2")
        raise error
    assert client.inspect_branch("images@master").head == head
    assert [found.id for found in client.list_commit("images")] == [head]
    assert files_of(client, "images@master") == {"/a": b"1"}


def test_first_commit_of_a_branch_can_be_dropped(client: Client) -> None:
    with pytest.raises(RuntimeError), client.commit("images@master") as commit:
        commit.put_file("/b", b"2")
        raise RuntimeError
    assert client.list_commit("images", origin=Origin.USER) == []
    client.put_file("images@master:/a", b"1")
    assert files_of(client, "images@master") == {"/a": b"1"}


def test_dropped_commit_takes_what_waits_for_it(client: Client) -> None:
    client.create_repo("copies")
    client.create_branch("copies@master", provenance=["images@master"])
    before = {commit.id for commit in client.list_commit()}
    with pytest.raises(RuntimeError), client.commit("images@master") as commit:
        assert {found.repo.name for found in client.list_commit(commit.id)} == {"images", "copies"}
        raise RuntimeError
    assert {found.id for found in client.list_commit()} == before


def test_commit_whose_files_cannot_be_is_dropped(client: Client) -> None:
    with pytest.raises(InvalidError) as caught, client.commit("images@master") as commit:
        commit.put_file("/a", b"1")
        commit.put_file("/a/b", b"2")
    assert codes(caught) == "path-conflict"
    assert client.list_commit("images", origin=Origin.USER) == []


def test_second_commit_on_a_branch_waits_for_the_first(client: Client) -> None:
    with client.commit("images@master") as commit:
        with pytest.raises(StateError) as caught, client.commit("images@master"):
            pass
        commit.put_file("/a", b"1")
    assert codes(caught) == "commit-open"
    assert files_of(client, "images@master") == {"/a": b"1"}


def test_changes_of_a_block_keep_their_order(client: Client, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"from disk")
    client.put_file("images@master:/old/a", b"1")
    with client.modify_file("images@master", description="all kinds") as changes:
        changes.put_file("/disk", tmp_path / "local")
        changes.put_file("/log", b"one ")
        changes.put_file("/log", b"two", append=True)
        changes.copy_file("images@master:/old", "/new")
        changes.delete_file("/old", recursive=True)
        changes.put_file("/gone", b"x")
        changes.delete_file("/gone")
        with changes.open_file("/text", "w") as text:
            text.write("größe\n")
        with changes.open_file("/text", "ab") as more:
            more.write(b"more")
    assert files_of(client, "images@master") == {
        "/disk": b"from disk",
        "/log": b"one two",
        "/new/a": b"1",
        "/text": "größe\nmore".encode(),
    }
    assert (changes.commit.description, len(client.list_commit("images@master"))) == ("all kinds", 2)


def test_everything_can_be_deleted(client: Client) -> None:
    client.put_file("images@master:/a/b", b"1")
    client.delete_file("images@master:/", recursive=True)
    assert files_of(client, "images@master") == {}


def test_raising_block_changes_nothing(client: Client) -> None:
    with pytest.raises(RuntimeError), client.modify_file("images@master") as changes:
        changes.put_file("/a", b"1")
        raise RuntimeError
    assert client.list_commit("images", origin=Origin.USER) == []


def test_text_is_no_data(client: Client) -> None:
    with pytest.raises(TypeError, match="wrap the path of a local file in Path"):
        client.put_file("images@master:/a", "text")  # type: ignore[arg-type]  # what a caller without a checker may do
    for data in (None, 3, [1]):
        with pytest.raises(TypeError, match="made of bytes, a Path or something to read from"):
            client.put_file("images@master:/a", data)  # type: ignore[arg-type]  # what a caller without a checker may do
    assert client.list_commit("images", origin=Origin.USER) == []


def test_block_does_not_end_while_a_file_is_written(client: Client) -> None:
    with pytest.raises(StateError) as caught, client.commit("images@master") as commit:
        file = commit.open_file("/a")
    file.discard()
    assert codes(caught) == "file-open"
    assert client.list_commit("images", origin=Origin.USER) == []


def test_several_threads_write_into_one_commit(client: Client) -> None:
    with client.commit("images@master") as commit:

        def write(name: int) -> None:
            with commit.open_file(f"/{name}", "wb") as file:
                for _ in range(30):
                    file.write(bytes([name]) * 100_000)

        threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert files_of(client, "images@master") == {f"/{name}": bytes([name]) * 3_000_000 for name in range(4)}


def test_open_file_stays_what_it_was(client: Client) -> None:
    client.put_file("images@master:/a", b"first version")
    with client.open_file("images@master:/a") as file:
        assert file.read(5) == b"first"
        client.put_file("images@master:/a", b"other")
        client.put_file("images@master:/a", b"yet another")
        assert file.read() == b" version"


@pytest.mark.parametrize(("mode", "content"), [("wb", b"new"), ("ab", b"oldnew")])
def test_file_is_committed_when_it_is_closed(client: Client, mode: str, content: bytes) -> None:
    client.put_file("images@master:/a", b"old")
    with client.open_file("images@master:/a", mode) as file:  # type: ignore[call-overload]  # both modes are
        file.write(b"new")
        assert client.get_file("images@master:/a") == b"old"
    assert client.get_file("images@master:/a") == content
    assert len(client.list_commit("images")) == 2


def test_file_whose_block_raises_is_not_committed(client: Client) -> None:
    client.put_file("images@master:/a", b"old")
    with pytest.raises(RuntimeError), client.open_file("images@master:/a", "w") as file:
        file.write("new")
        raise RuntimeError
    assert client.get_file("images@master:/a") == b"old"
    assert len(client.list_commit("images")) == 1


def test_lines_are_read_as_from_any_text_file(client: Client) -> None:
    client.put_file("images@master:/a.txt", "eins\nzwölf\n".encode())
    with client.open_file("images@master:/a.txt", "r") as file:
        assert list(file) == ["eins\n", "zwölf\n"]


def test_other_modes_are_refused(client: Client) -> None:
    with pytest.raises(InvalidError) as caught:
        client.open_file("images@master:/a", "r+b")  # type: ignore[call-overload]  # what a caller without a checker may do
    assert codes(caught) == "mode-invalid"


def test_files_are_found(client: Client) -> None:
    with client.modify_file("images@master") as changes:
        for path in ("/a.png", "/b.txt", "/sub/c.png"):
            changes.put_file(path, b"123")
    assert [file.path for file in client.list_file("images@master:/")] == ["/a.png", "/b.txt", "/sub"]
    assert [file.path for file in client.glob_file("images@master:/**.png")] == ["/a.png", "/sub/c.png"]
    assert [file.path for file in client.walk_file("images@master:/sub")] == ["/sub", "/sub/c.png"]
    assert (client.inspect_file("images@master:/sub").type, client.inspect_file("images@master:/sub").size_bytes) == ("dir", 3)


def test_missing_file_among_many_is_named(client: Client) -> None:
    client.put_file("images@master:/a", b"1")
    with pytest.raises(NotFoundError, match="'/b' does not exist"):
        client.get_files("images@master", ["/a", "/b"])
    with pytest.raises(InvalidError, match="is a directory"):
        client.get_files("images@master", ["/a", "/"])


def test_versions_differ_in_what_changed(client: Client) -> None:
    client.put_file("images@master:/a", b"1")
    client.put_file("images@master:/b", b"22")
    client.copy_file("images@master:/b", "images@master:/a")
    changes = [(found.op, found.new and found.new.path, found.new and found.new.size_bytes) for found in client.diff_file("images@master")]
    assert changes == [("changed", "/", 4), ("changed", "/a", 2)]
    assert [found.op for found in client.diff_file("images@master:/b", "images@master^2:/b")] == ["added"]


def test_history_is_listed_and_waited_for(client: Client) -> None:
    first, second = (client.put_file("images@master:/a", data) for data in (b"1", b"2"))
    assert [commit.id for commit in client.list_commit("images@master")] == [second.id, first.id]
    assert [commit.id for commit in client.list_commit("images@master^")] == [first.id]
    assert [commit.id for commit in client.list_commit(number=1)] == [second.id]
    assert client.inspect_commit("images@master.1").id == first.id
    assert client.wait_commit("images@master").id == second.id
    arrived = client.subscribe_commit("images@master")
    assert [next(arrived).id, next(arrived).id] == [first.id, second.id]


def test_waiting_for_an_open_commit_ends_in_time(client: Client) -> None:
    client.start_commit("images@master")
    with pytest.raises(StateError) as caught:
        client.wait_commit("images@master", timeout=0)
    assert codes(caught) == "wait-timeout"
    client.finish_commit("images@master", error="no good")
    assert client.wait_commit("images@master").error == "no good"


def test_branches_are_made_and_removed(client: Client) -> None:
    first, second = (client.put_file("images@master:/a", data) for data in (b"1", b"2"))
    client.create_branch("images@release", head="master^")
    assert [(branch.name.name, branch.head) for branch in client.list_branch("images")] == [("master", second.id), ("release", first.id)]
    client.delete_branch("images@release")
    assert [branch.name.name for branch in client.list_branch("images")] == ["master"]
    client.delete_repo("images")
    assert client.list_repo() == []


def test_commits_are_squashed_and_dropped(client: Client) -> None:
    first, second, third = (client.put_file(f"images@master:/{name}", b"x") for name in "abc")
    assert [commit.id for commit in client.squash_commit(f"images@{second.id}")] == [second.id]
    assert files_of(client, "images@master") == {"/a": b"x", "/b": b"x", "/c": b"x"}
    assert [commit.id for commit in client.drop_commit(f"images@{third.id}")] == [third.id]
    assert client.inspect_branch("images@master").head == first.id


def test_commit_sets_are_squashed_and_dropped(client: Client) -> None:
    first, second, third = (client.put_file(f"images@master:/{name}", b"x") for name in "abc")
    assert [commit.id for commit in client.squash_commit_set(first.id)] == [first.id]
    assert [commit.id for commit in client.drop_commit_set(third.id)] == [third.id]
    assert files_of(client, "images@master") == {"/a": b"x", "/b": b"x"}
    with pytest.raises(InvalidError) as caught:
        client.forget_commit(f"images@{second.id}")
    assert codes(caught) == "not-an-output"


def test_open_commit_is_cleared(client: Client) -> None:
    client.start_commit("images@master")
    client.put_file("images@master:/wrong", b"x")
    client.clear_commit("images@master")
    client.put_file("images@master:/right", b"x")
    client.finish_commit("images@master")
    assert files_of(client, "images@master") == {"/right": b"x"}


def test_commits_that_changed_a_file_are_found(client: Client) -> None:
    first = client.put_file("images@master:/a", b"1")
    client.put_file("images@master:/b", b"1")
    third = client.delete_file("images@master:/a")
    assert [(found.commit.id, found.op) for found in client.find_commit("images@master:/a")] == [(third.id, "deleted"), (first.id, "added")]
    assert len(list(client.find_commit("images@master:/a", limit=1))) == 1


def test_errored_commit_that_changed_a_file_is_found_and_changes_nothing_else(client: Client) -> None:
    first = client.put_file("images@master:/a", b"1")
    failed = client.start_commit("images@master")
    client.put_file("images@master:/a", b"broken")
    client.put_file("images@master:/only", b"broken")
    client.finish_commit("images@master", error="no good")
    client.put_file("images@master:/b", b"1")
    last = client.put_file("images@master:/a", b"2")
    assert [(found.commit.id, found.op) for found in client.find_commit("images@master:/only")] == [(failed.id, "added")]
    found = [(found.commit.id, found.op) for found in client.find_commit("images@master:/a")]
    assert found == [(last.id, "changed"), (failed.id, "changed"), (first.id, "added")]


def test_changes_of_a_transaction_are_one(client: Client) -> None:
    with client.transaction() as transaction:
        transaction.create_repo("labels", description="of images")
        transaction.start_commit("images@master", description="both")
        transaction.start_commit("labels@master")
        assert [str(repo.name) for repo in client.list_repo()] == ["images"]
    assert [type(made).__name__ for made in transaction.made] == ["Repo", "Commit", "Commit"]
    assert len({commit.id for commit in client.list_commit()}) == 1
    client.put_file("images@master:/a", b"1")
    with client.transaction() as transaction:
        transaction.finish_commit("images@master")
        transaction.finish_commit("labels@master", error="no labels")
        transaction.create_branch("images@release", head="master")
    assert files_of(client, "images@release") == {"/a": b"1"}
    assert client.inspect_commit("labels@master").error == "no labels"


def test_refused_or_broken_transaction_changes_nothing(client: Client) -> None:
    with pytest.raises(NotFoundError) as caught, client.transaction() as transaction:
        transaction.create_repo("labels")
        transaction.delete_repo("nothing")
    assert codes(caught) == "repo-not-found"
    with pytest.raises(RuntimeError), client.transaction() as transaction:
        transaction.delete_repo("images")
        raise RuntimeError
    assert [str(repo.name) for repo in client.list_repo()] == ["images"]
    with client.transaction() as transaction:
        transaction.create_branch("images@master")
        transaction.create_branch("images@other")
        transaction.delete_branch("images@other")
    assert [branch.name.name for branch in client.list_branch("images")] == ["master"]


def test_writers_that_meet_all_come_through(client: Client) -> None:
    failed: list[ConflictError] = []

    def write(name: int) -> None:
        try:
            client.put_file(f"images@master:/{name}", str(name).encode())
        except ConflictError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert files_of(client, "images@master") == {f"/{name}": str(name).encode() for name in range(8)}
