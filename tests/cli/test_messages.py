"""Messages say what was found and what to do next."""

from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl


@pytest.fixture
def books(pachctl: Pachctl) -> Pachctl:
    """A repo with one file."""
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/a", "1")
    return pachctl


@pytest.mark.parametrize("words", ["wait commit", "list commit", "delete commit", "inspect commit", "squash commit"])
def test_short_id_is_told_from_a_repo(books: Pachctl, words: str) -> None:
    answer = books.run(*words.split(), "deadbeef")
    assert answer.code == "commit-set-not-found"
    assert "no commit set has the id 'deadbeef', which takes all of its 32 digits" in answer.err


def test_repo_may_look_like_an_id(books: Pachctl) -> None:
    books("create", "repo", "cafe")
    books.put("cafe@master:/a", "1")
    assert len(books.json("list", "commit", "cafe")) == 1


def test_put_file_takes_a_colon_without_a_path(books: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    books("put", "file", "books@master:", "-f", str(tmp_path / "x"))
    assert books("get", "file", "books@master:/x").out == "x"
    assert books.fail("put", "file", "books@master:", stdin=b"x") == "path-missing"


@pytest.mark.parametrize("words", ["delete file", "inspect file", "glob file"])
def test_colon_without_a_path_has_no_path(books: Pachctl, words: str) -> None:
    answer = books.run(*words.split(), "books@master:")
    assert answer.code == "path-missing"
    assert "write books@master:/path" in answer.err


def test_project_that_is_gone_can_be_left(pachctl: Pachctl) -> None:
    pachctl("create", "project", "p1")
    pachctl("config", "update", "context", "--project", "p1")
    pachctl("delete", "project", "p1")
    answer = pachctl.run("list", "repo")
    assert answer.code == "project-not-found"
    assert "`pachctl config update context --project NAME`" in answer.err
    pachctl("config", "update", "context", "--project", "default")
    pachctl("list", "repo")


def test_missing_repo_can_be_made(books: Pachctl, tmp_path: Path) -> None:
    assert "`pachctl create repo boks` makes it" in books.run("put", "file", "boks@master", "-r", "-f", str(tmp_path)).err


@pytest.mark.parametrize("data", ['{"a":1}', "[]", "{", '{"a": null}'])
def test_metadata_that_is_no_object_of_texts_says_what_to_write(books: Pachctl, data: str) -> None:
    answer = books.run("edit", "metadata", "repo", "books", "replace", data)
    assert answer.code == "metadata-invalid"
    assert answer.err.startswith(f'error: {data!r} cannot replace metadata; write a JSON object whose values are texts, as \'{{"key"')


@pytest.mark.parametrize("pattern", ["/" + "x" * 6000 + "[", "/" + "x" * 6000 + "*"])
def test_long_pattern_is_not_repeated_in_full(books: Pachctl, pattern: str) -> None:
    assert len(books.run("get", "file", "-r", f"books@master:{pattern}", "-o", "out").err) < 600


def test_note_of_a_trigger_comes_when_it_was_made(books: Pachctl) -> None:
    assert "note:" not in books.run("create", "branch", "books@b", "--trigger", "b").err
    assert "note: a trigger without a condition" in books.run("create", "branch", "books@b", "--trigger", "master").err


def test_branch_that_a_trigger_made_is_told(books: Pachctl) -> None:
    answer = books("create", "branch", "books@b", "--trigger", "typo", "--trigger-all")
    assert answer.err == "note: there was no branch 'typo' to follow; it is made too, empty\n"
    assert books("create", "branch", "books@b", "--trigger", "typo", "--trigger-all").err == ""


def test_transaction_that_became_impossible_can_be_given_up(books: Pachctl) -> None:
    active = books("start", "transaction").out.strip()
    books("create", "repo", "prices")
    books("stop", "transaction")
    books("create", "repo", "prices")
    books("resume", "transaction", active)
    for words in (("create", "repo", "more"), ("finish", "transaction")):
        answer = books.run(*words)
        assert answer.code == "repo-exists"
        assert f"`pachctl delete transaction {active}` gives the transaction up" in answer.err
    books("delete", "transaction")


def test_shallow_difference_tells_directories_that_differ(books: Pachctl) -> None:
    books.put("books@master:/d/e/x", "1")
    assert books("diff", "file", "-s", "books@master:/").out == "only books@master:/d/ exists\n"
    books.put("books@master:/d/e/x", "2")
    assert books("diff", "file", "-s", "books@master:/").out.endswith(":/d/ and books@master:/d/ differ\n")


@pytest.mark.parametrize("way", ["delete file", "clear commit"])
def test_open_commit_whose_files_conflict_can_be_put_right(books: Pachctl, way: str) -> None:
    commit = books("start", "commit", "books@master").out.strip()
    books.put("books@master:/a/b", "2")
    for error in ((), ("--error", "it went wrong")):
        answer = books.run("finish", "commit", "books@master", *error)
        assert answer.code == "path-conflict"
        assert f"`pachctl delete file books@{commit}:/PATH` takes one of them out, `pachctl clear commit books@{commit}` everything" in answer.err
    books(*way.split(), f"books@{commit}:/a" if way == "delete file" else f"books@{commit}")
    books("finish", "commit", "books@master")
    assert [file["path"] for file in books.json("list", "file", "books@master")] == ["/a"]


def test_what_stands_behind_an_equals_sign_is_an_id(books: Pachctl) -> None:
    answer = books.run("inspect", "commit", "books@master=zzz")
    assert answer.code == "reference-invalid"
    assert "has 'zzz' after the '='" in answer.err
    commit = books.json("inspect", "commit", "books@master")[0]["id"]
    assert books.json("inspect", "commit", f"books@master={commit}")[0]["id"] == commit
