"""What users note on objects, on the command line."""

from tests.cli.pachctl import Pachctl


def test_metadata_is_shown_with_its_object(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    pachctl.put("images@master:/a", "1")
    edits = ("project default add p=1", "repo images add r=2", "branch images@master add b=3", "commit images@master add c=4")
    pachctl("edit", "metadata", *(word for edit in edits for word in edit.split()))
    assert pachctl.json("inspect", "project", "default")[0]["metadata"] == {"p": "1"}
    assert pachctl.json("inspect", "repo", "images")[0]["metadata"] == {"r": "2"}
    assert pachctl.json("inspect", "branch", "images@master")[0]["metadata"] == {"b": "3"}
    assert pachctl.json("inspect", "commit", "images@master")[0]["metadata"] == {"c": "4"}
    assert "Metadata: c=4" in pachctl("inspect", "commit", "images@master").out


def test_edits_of_one_call_are_all_done_or_none(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    assert pachctl.fail("edit", "metadata", "repo", "images", "add", "a=1", "repo", "images", "delete", "b") == "metadata-key-not-found"
    assert pachctl.json("inspect", "repo", "images")[0]["metadata"] == {}


def test_names_in_metadata_are_those_of_the_project(pachctl: Pachctl) -> None:
    pachctl("create", "project", "vision")
    pachctl("create", "repo", "vision/images")
    pachctl("edit", "metadata", "repo", "images", "add", "a=1", "--project", "vision")
    assert pachctl.json("inspect", "repo", "vision/images")[0]["metadata"] == {"a": "1"}


def test_cluster_is_the_home_with_what_was_noted_on_it(pachctl: Pachctl) -> None:
    pachctl("edit", "metadata", "cluster", ".", "replace", '{"owner": "ann"}')
    found = pachctl.json("inspect", "cluster")[0]
    assert found["metadata"] == {"owner": "ann"}
    assert found["storage"].startswith("file://")
    assert "Metadata: owner=ann" in pachctl("inspect", "cluster").out


def test_half_an_edit_is_wrong_usage(pachctl: Pachctl) -> None:
    assert "KIND OBJECT EDIT DATA" in pachctl.misuse("edit", "metadata", "repo", "images", "add")


def test_metadata_joins_a_transaction(pachctl: Pachctl) -> None:
    pachctl("start", "transaction")
    pachctl("create", "repo", "images")
    pachctl("edit", "metadata", "repo", "images", "add", "a=1")
    pachctl("finish", "transaction")
    assert pachctl.json("inspect", "repo", "images")[0]["metadata"] == {"a": "1"}
