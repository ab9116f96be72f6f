import pytest

from tests.cli.pachctl import Pachctl


@pytest.fixture
def data(pachctl: Pachctl) -> Pachctl:
    """A repo in which the last commit changed /d/a and added /b."""
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/d/a", "one\ntwo\n")
    pachctl("start", "commit", "data@master")
    pachctl.put("data@master:/d/a", "one\n2\n")
    pachctl.put("data@master:/b", "new\n")
    pachctl("finish", "commit", "data@master")
    return pachctl


def test_differences_are_documents(data: Pachctl) -> None:
    found = data.json("diff", "file", "data@master:/")
    assert [(one["op"], (one["new"] or one["old"])["path"]) for one in found] == [("changed", "/"), ("added", "/b"), ("changed", "/d"), ("changed", "/d/a")]
    assert found[1]["old"] is None
    assert found[3]["old"]["size_bytes"] == len("one\ntwo\n")


def test_other_direction_deletes(data: Pachctl) -> None:
    assert [one["op"] for one in data.json("diff", "file", "data@master^:/b", "data@master:/b")] == ["deleted"]


def test_names_alone(data: Pachctl) -> None:
    lines = [line.split() for line in data("diff", "file", "data@master:/", "--name-only").out.splitlines()]
    assert lines == [["OP", "SIZE", "NAME"], ["M", "10B", "/"], ["+", "4B", "/b"], ["M", "6B", "/d/"], ["M", "6B", "/d/a"]]


def test_shallow_stops_at_the_children(data: Pachctl) -> None:
    assert [one["new"]["path"] for one in data.json("diff", "file", "-s", "data@master:/")] == ["/", "/b", "/d"]


def test_contents_are_compared_line_by_line(data: Pachctl) -> None:
    lines = data("diff", "file", "data@master:/d/a").out.splitlines()
    assert lines[0].startswith("--- data@")
    assert lines[1:] == ["+++ data@master:/d/a", "@@ -1,2 +1,2 @@", " one", "-two", "+2"]


def test_contents_that_are_no_text_only_differ(data: Pachctl) -> None:
    data("put", "file", "data@master:/b", stdin=b"\xff\x00")
    assert data("diff", "file", "data@master:/b").out.endswith("data@master:/b differ\n")


def test_two_paths_are_compared(data: Pachctl) -> None:
    data.put("data@master:/e/a", "one\n2\n")
    data.put("data@master:/e/z", "z")
    found = data.json("diff", "file", "data@master:/e", "data@master:/d")
    assert [(one["op"], one["new"]["path"]) for one in found] == [("added", "/e/z")]
    assert "-two" not in data("diff", "file", "data@master:/e", "data@master:/d").out


def test_another_program_compares(data: Pachctl) -> None:
    assert data("diff", "file", "data@master:/d/a", "--diff-command", "cat").out == "one\ntwo\none\n2\n"
    assert data.fail("diff", "file", "data@master:/d/a", "--diff-command", "false || exit 7;:") == "diff-command-failed"
    assert data.fail("diff", "file", "data@master:/d/a", "--diff-command", "kill -9 $$;:") == "diff-command-failed"


def test_first_commit_differs_from_nothing(data: Pachctl) -> None:
    assert [one["op"] for one in data.json("diff", "file", "data@master^:/d/a")] == ["added"]


def test_path_that_neither_side_has_is_refused(data: Pachctl) -> None:
    assert data.fail("diff", "file", "data@master:/none") == "file-not-found"


def test_failed_parent_is_passed_over(data: Pachctl) -> None:
    good = data("inspect", "commit", "data@master", "-o", "json").document["id"]
    data("start", "commit", "data@master")
    data.put("data@master:/wrong", "wrong")
    data("finish", "commit", "data@master", "--error", "wrong")
    data.put("data@master:/b", "newer\n")
    found = data.json("diff", "file", "data@master")
    assert [(one["op"], one["new"]["path"]) for one in found] == [("changed", "/"), ("changed", "/b")]
    assert data("diff", "file", "data@master").out.splitlines()[0] == f"--- data@{good}:/b"
