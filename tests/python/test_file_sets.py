"""File sets, walks and pages through the Python client."""

import datetime as dt

import pytest

from pachyderm_dagster.client.client import Client
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError


def file_set(client: Client, **files: bytes) -> str:
    with client.file_sets.create() as changes:
        for name, data in files.items():
            changes.put_file(f"/{name}", data)
    return changes.id


def test_file_set_is_read_composed_and_added(client: Client) -> None:
    first, second = file_set(client, a=b"1", b=b"2"), file_set(client, b=b"new")
    both = client.file_sets.compose(first, second)
    assert client.get_file(f"__filesets__@{both}:/b") == b"new"
    assert [file.path for file in client.list_file(f"__filesets__@{both}:/")] == ["/a", "/b"]
    commit = client.file_sets.add("images@master", both)
    assert client.inspect_branch("images@master").head == commit.id
    assert dict(client.get_files("images@master", ["/a", "/b"])) == {"/a": b"1", "/b": b"new"}


def test_commit_is_kept_as_a_file_set(client: Client) -> None:
    client.put_file("images@master:/a", b"1")
    client.put_file("images@master:/b", b"2")
    whole, changed = client.file_sets.keep("images@master"), client.file_sets.keep("images@master", changes_only=True)
    client.delete_repo("images")
    assert [file.path for file in client.list_file(f"__filesets__@{whole}:/")] == ["/a", "/b"]
    assert [file.path for file in client.list_file(f"__filesets__@{changed}:/")] == ["/b"]


def test_file_set_is_read_in_shards(client: Client) -> None:
    made = file_set(client, a=b"1", b=b"2", c=b"3")
    shards = client.file_sets.shard(made, files=2)
    assert [[file.path for file in client.file_sets.list_range(made, shard)] for shard in shards] == [["/a", "/b"], ["/c"]]


def test_file_set_is_renewed_while_it_is_there(client: Client) -> None:
    client.file_sets.renew(file_set(client, a=b"1"), ttl=dt.timedelta(minutes=20))
    with pytest.raises(NotFoundError, match="file-set-not-found"):
        client.file_sets.renew("0" * 32)
    with pytest.raises(InvalidError, match="ttl-invalid"), client.file_sets.create(ttl=dt.timedelta(days=1)):
        pass


def test_ended_file_set_takes_no_changes(client: Client) -> None:
    with client.file_sets.create() as changes:
        changes.put_file("/a", b"1")
    with pytest.raises(StateError, match="block-ended"):
        changes.put_file("/b", b"1")


def test_provenance_is_walked_both_ways(client: Client) -> None:
    client.create_repo("edges")
    client.create_repo("montage")
    client.create_branch("edges@master", provenance=["images@master"])
    client.create_branch("montage@master", provenance=["edges@master"])
    made = client.put_file("images@master:/a", b"1")
    assert {str(commit.repo) for commit in client.walk_subvenance("images@master")} == {"edges", "montage"}
    assert [str(commit.repo) for commit in client.walk_subvenance("images@master", depth=1)] == ["edges"]
    assert {(str(commit.repo), commit.id) for commit in client.walk_provenance("montage@master")} == {("edges", made.id), ("images", made.id)}
    assert client.walk_provenance("images@master") == client.walk_provenance("montage@master", depth=0) == []


def test_directory_is_listed_in_pages(client: Client) -> None:
    with client.modify_file("images@master") as changes:
        for name in ("a-", "a/x", "b", "c/y"):
            changes.put_file(f"/{name}", b"1")
    pages = []
    after = None
    while page := [file.path for file in client.list_file("images@master:/", number=3, after=after)]:
        pages.append(page)
        after = page[-1]
    assert pages == [["/a", "/a-", "/b"], ["/c"]]
