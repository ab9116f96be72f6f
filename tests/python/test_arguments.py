"""What Python's ways in refuse, and how."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster import connect
from pachyderm_dagster.client.client import Client
from pachyderm_dagster.client.filesystem import PfsFileSystem
from pachyderm_dagster.errors import InvalidError, StateError

BAD_TEXTS = ["\ud800", "a\0b"]
DESCRIBED: list[Callable[[Client, Any], object]] = [
    lambda client, text: client.create_project("p", description=text),
    lambda client, text: client.create_repo("labels", description=text),
    lambda client, text: client.start_commit("images@master", description=text),
    lambda client, text: client.finish_commit("images@open", description=text),
    lambda client, text: client.finish_commit("images@open", error=text),
    lambda client, text: client.put_file("images@master:/a", b"1", description=text),
    lambda client, text: client.delete_file("images@master:/a", description=text),
    lambda client, text: client.commit("images@master", description=text).__enter__(),
    lambda client, text: client.modify_file("images@master", description=text).__enter__(),
    lambda client, text: client.edit_metadata(("repo", "images", "add", f"owner={text}")),
    lambda client, text: client.transaction().__enter__().create_repo("labels", description=text),
    lambda client, text: client.transaction().__enter__().start_commit("images@master", description=text),
    lambda client, text: client.transaction().__enter__().finish_commit("images@open", description=text),
    lambda client, text: client.transaction().__enter__().finish_commit("images@open", error=text),
]


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize("call", DESCRIBED)
def test_text_that_no_database_keeps_is_refused(client: Client, call: Callable[[Client, Any], object], text: str) -> None:
    client.start_commit("images@open")
    with pytest.raises(InvalidError) as caught:
        call(client, text)
    assert caught.value.code == "text-invalid"
    assert [commit.description for commit in client.list_commit("images") if commit.finished is None] == [""]


@pytest.mark.parametrize("text", [None, 3, b"x"])
def test_description_is_a_text(client: Client, text: Any) -> None:
    with pytest.raises(TypeError, match="description is a str"):
        client.create_repo("labels", description=text)


@pytest.mark.parametrize("name", [None, 3, b"x"])
def test_references_are_texts(client: Client, name: Any) -> None:
    for call in (client.create_repo, client.create_project, client.inspect_branch, client.get_file):
        with pytest.raises(TypeError, match="named by a str"):
            call(name)


REFUSED: list[Callable[[Client], object]] = [
    lambda client: client.list_commit("images", number=-1),
    lambda client: client.list_commit("images", origin="x"),  # type: ignore[arg-type]  # what a caller without a checker may do
    lambda client: client.find_commit("images@master:/a", limit=-1),
    lambda client: client.wait_commit("images@master", timeout=math.nan),
    lambda client: client.wait_commit("images@master", timeout="1s"),  # type: ignore[arg-type]  # what a caller without a checker may do
    lambda client: client.list_file("images@master:/", number=-1),
]


@pytest.mark.parametrize("call", REFUSED)
def test_values_without_a_meaning_are_refused(client: Client, call: Callable[[Client], object]) -> None:
    client.put_file("images@master:/a", b"1")
    with pytest.raises(InvalidError) as caught:
        call(client)
    assert caught.value.code == "argument-invalid"


def test_large_numbers_are_no_limit(client: Client) -> None:
    client.put_file("images@master:/a", b"1")
    assert len(client.list_commit("images", number=10**30)) == 1
    assert len(list(client.find_commit("images@master:/a", limit=10**30))) == 1
    assert client.list_commit("images", number=0) == []


def test_home_has_no_nul() -> None:
    with pytest.raises(InvalidError) as caught:
        connect("a\0b")
    assert caught.value.code == "config-invalid"


def test_client_cannot_be_pickled_or_copied(client: Client) -> None:
    for take in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="connect"):
            take(client)


def test_closed_client_does_nothing(tmp_path: Path) -> None:
    client = connect(tmp_path / "home")
    client.create_repo("images")
    client.put_file("images@master:/a", b"1")
    file = client.open_file("images@master:/a")
    client.close()
    client.close()
    for call in (client.list_repo, client.list_project, lambda: client.get_file("images@master:/a"), lambda: client.transaction().__enter__()):
        with pytest.raises(StateError) as caught:
            call()
        assert caught.value.code == "client-closed"
    assert file.read() == b"1"


def test_commit_whose_client_is_closed_is_dropped(tmp_path: Path) -> None:
    client = connect(tmp_path / "home")
    client.create_repo("images")
    with pytest.raises(StateError) as caught, client.commit("images@master") as commit:
        commit.put_file("/a", b"1")
        client.close()
    assert caught.value.code == "client-closed"
    with connect(tmp_path / "home") as again:
        assert [found for found in again.list_commit("images") if found.finished is None] == []


class Busy:
    """A pipe that does not block and has nothing yet."""

    def read(self, size: int) -> Any:
        return None


class BusyInto(Busy):
    def readinto(self, target: memoryview) -> Any:
        return None


class Generous:
    def read(self, size: int) -> bytes:
        return bytes(size + 1)


@pytest.mark.parametrize("source", [Busy(), BusyInto(), Generous()])
def test_source_that_does_not_read_properly_is_no_empty_file(client: Client, source: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        client.put_file("images@master:/a", source)
    assert caught.value.code == "source-unreadable"
    with pytest.raises(TypeError):
        client.put_file("images@master:/a", io.StringIO("x"))  # type: ignore[arg-type]  # what a caller without a checker may do
    assert client.list_commit("images") == []


@pytest.mark.parametrize("path", ["images@master/../x", "images@master/\0", "images@a b/x", "default/d", "d/x", "d", "@/x"])
def test_what_cannot_be_is_not_there(fs: PfsFileSystem, path: str) -> None:
    fs.pipe("images@master/a", b"1")
    assert not fs.exists(path)
    assert not fs.isfile(path)
    assert not fs.isdir(path)
    for look in (fs.info, fs.ls, fs.cat_file, fs.open):
        with pytest.raises(FileNotFoundError):
            look(path)
    assert fs.find(path) == []
