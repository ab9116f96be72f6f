"""What Dagster shows of commits: what they changed, files, pictures, at a bounded cost."""

import shutil

import dagster as dg
import pytest

from pachyderm_dagster.integration import shown_changes
from pachyderm_dagster.integration.shown_commits import shown_commit
from pachyderm_dagster.integration.shown_files import LISTED_FILES
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.storage.trees import FILE_ROWS, Trees
from tests.integration.home import Home
from tests.integration.test_job_step import table


def shown(home: Home, commit: Commit) -> dict[str, dg.MetadataValue]:
    return {key.removeprefix("pachyderm/"): value for key, value in shown_commit(home.workspace, commit).items()}


def text(value: dg.MetadataValue) -> str:
    assert isinstance(value, dg.MarkdownMetadataValue)
    return str(value.value)


def test_change_says_message_parent_and_difference(home: Home) -> None:
    first = home.commit("images@master", {"/a": "12", "/b": "1", "/dir/c": "1"}, "first\nones")
    assert text(shown(home, first)["changes"]) == (
        f"**`images@{first.id}`**, the first of its branch\n\n> first\n> ones\n\n3 files added, 0 changed, 0 deleted\n\n"
        "```diff\n+ /a  2 bytes\n+ /b  1 bytes\n+ /dir/c  1 bytes\n```"
    )
    with home.workspace.pfs.modify_file("images@master") as changes:
        changes.put_bytes("/a", b"123456")
        changes.delete("/b")
        changes.put_bytes("/dir/d", b"1" * 1500)
    found = shown(home, changes.commit)
    assert text(found["changes"]) == (
        f"**`images@{changes.commit.id}`**, on top of `images@{first.id}`\n\n1 files added, 1 changed, 1 deleted\n\n"
        "```diff\n! /a  2 → 6 bytes\n- /b  1 bytes\n+ /dir/d  1,500 bytes\n```"
    )
    assert [found[name].value for name in ("files_added", "files_changed", "files_deleted", "files", "bytes")] == [1, 1, 1, 3, 1507]


def test_long_difference_is_cut_and_names_the_command(home: Home) -> None:
    home.commit("images@master", {"/0": "1"})
    commit = home.commit("images@master", {f"/{number:02}": "1" for number in range(30)})
    lines = text(shown(home, commit)["changes"]).splitlines()
    assert sum(line.startswith("+ ") for line in lines) == 20
    assert lines[-1] == f"and 10 more: `pachctl diff file {commit}`"
    assert len(table(shown(home, commit)["listing"])) == LISTED_FILES


def test_what_takes_too_long_to_compare_is_told_by_a_command(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.commit("images@master", {"/a": "1"})
    commit = home.commit("images@master", {"/b": "1"})
    monkeypatch.setattr(shown_changes, "COMPARED_ROWS", 1)
    found = shown(home, commit)
    assert f"`pachctl diff file {commit}` tells" in text(found["changes"])
    assert "files_added" not in found and found["files"].value == 2


def test_forgotten_commit_has_its_numbers_and_leaves_the_difference_of_the_next_one_open(home: Home) -> None:
    home.pipeline("edges", home.commit("images@master", {"/a": "1"}).repo.name)
    home.run_all()
    home.commit("images@master", {"/b": "1"})
    home.run_all()
    second, first = home.jobs("edges")[:2]
    forgotten = home.workspace.pfs.forget_commit(f"edges@{first.id}")
    assert shown(home, forgotten).keys() == {"commit", "files", "bytes", "finished"}
    found = shown(home, home.workspace.pfs.inspect_commit(f"edges@{second.id}"))
    assert "files_added" not in found and found["files"].value == 2


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("b.JPG", "jpeg"), ("c.jpeg", "jpeg"), ("d.svg", "svg+xml")])
def test_small_picture_is_shown(home: Home, name: str, kind: str) -> None:
    commit = home.commit("images@master", {f"/{name}": b"picture", "/large.png": b"1" * 300_000, "/text": "1"})
    pictures = {key: value.value for key, value in shown(home, commit).items() if key.startswith("picture ")}
    assert pictures == {f"picture /{name}": f"![/{name}](data:image/{kind};base64,cGljdHVyZQ==)"}


def test_repo_commit_is_reported_with_its_content(home: Home) -> None:
    home.commit("cars@master", {"/cars.csv": "name,speed\nfiat,120\n"}, "three cars")
    home.tick()
    (event,) = home.materializations("default", "cars")
    assert event.metadata["dagster/row_count"].value == 1
    assert "> three cars" in text(event.metadata["pachyderm/changes"])


def test_content_that_cannot_be_read_is_told_and_hides_nothing_else(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = home.commit("images@master", {"/a": "1"})
    shutil.rmtree(home.workspace.settings.home / "objects")
    monkeypatch.setattr(home.workspace.pfs, "trees", Trees(home.workspace.pfs.store, FILE_ROWS))
    found = shown(home, commit)
    assert "object-not-found" in str(found["unreadable"].value) and found["files"].value == 1


def test_million_files_are_not_listed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaled down: of thirty thousand files a few leaves are read, of about thirty."""
    home.commit("many@master", {f"/{number:05}": "1" for number in range(30_000)})
    commit = home.commit("many@master", {f"/{number:05}": "2" for number in range(30_000)})
    monkeypatch.setattr(shown_changes, "COMPARED_ROWS", 5_000)
    leaves = []
    read = Trees.read

    def counted(self: Trees, *arguments: object) -> object:
        for leaf in read(self, *arguments):  # type: ignore[arg-type]
            leaves.append(leaf)
            yield leaf

    monkeypatch.setattr(Trees, "read", counted)
    assert shown(home, commit)["files"].value == 30_000
    assert len(leaves) <= 25
