"""Meta commits as files: what each datum read, wrote, took and said."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.entries import file_infos
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, read_all, run_due

PIPELINE = """
pipeline: {name: work}
transform: {cmd: [in-process]}
input: {cross: [{pfs: {repo: data, glob: /*}}, {pfs: {name: all, repo: words, glob: /}}]}
"""
PATTERNS = (
    "/**",
    "/meta/*/meta",
    "/pfs/*/data/**",
    "/pfs/*/*",
    "/pfs/*/out/deep/*.txt",
    "/pfs/*/{out,all}/**",
    "/*/*/*",
    "/pfs/*/out/(*)/b*",
    "/pfs/[0-7]*/data/*",
)


def code(files: dict[str, bytes]) -> dict[str, bytes]:
    """Writes each file of `data` twice; one that is `bad` fails."""
    (name,) = (name for name in files if name.startswith("/item"))
    if files[name].startswith(b"bad"):
        raise ValueError("this datum is bad")
    item = name.split("/")[1]
    return {f"/{item}": files[name], f"/deep/{item}.txt": b"deep"}


@pytest.fixture
def worked(workspace: Workspace, create: Callable[..., None]) -> Workspace:
    """Three datums ran in the first job; in the second a fourth failed."""
    for repo in ("data", "words"):
        workspace.pfs.create_repo(repo)
    put(workspace, "words@master", {"/w/one": b"1", "/w/two": b"22", "/x": b"333"})
    put(workspace, "data@master", {"/item1": b"first", "/item2/part": b"second", "/item2/more/part": b"more", "/item3": b"third"})
    create(PIPELINE)
    executor = InProcessExecutor(lambda files: code({path: data for path, data in files.items() if path != "/item2/more/part"}))
    run_due(workspace, executor)
    put(workspace, "data@master", {"/item4": b"bad"})
    run_due(workspace, executor)
    return workspace


def ids(workspace: Workspace, reference: str) -> list[str]:
    return [file.path.removeprefix("/meta/") for file in workspace.pfs.list_file(f"{reference}:/meta")]


def test_tree_of_a_meta_commit_is_keyed_by_datum(worked: Workspace) -> None:
    pfs = worked.pfs
    assert [(file.path, file.type) for file in pfs.list_file("work.meta@master:/")] == [("/meta", "dir"), ("/pfs", "dir")]
    found = ids(worked, "work.meta@master")
    assert len(found) == 4
    assert found == sorted(found)
    assert [file.path for file in pfs.list_file("work.meta@master:/pfs")] == [f"/pfs/{id}" for id in found]
    assert [file.path for file in pfs.list_file(f"work.meta@master:/meta/{found[0]}")] == [f"/meta/{found[0]}/meta"]


def test_listing_the_upper_levels_reads_no_details(worked: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ids(worked, "work.meta@master")

    def refuse(_contents: object) -> None:
        raise AssertionError("it read contents")

    monkeypatch.setattr(worked.pfs.reader, "read_many", refuse)
    assert len(worked.pfs.list_file("work.meta@master:/pfs")) == 4
    assert len(worked.pfs.glob_file("work.meta@master", "/*/*")) == 8
    assert worked.pfs.inspect_file(f"work.meta@master:/pfs/{found[0]}").type == "dir"
    assert len(worked.pfs.glob_file("work.meta@master", "/meta/*/meta")) == 4


def test_details_are_a_file(worked: Workspace) -> None:
    good: dict[str, Any] = {}
    bad: dict[str, Any] = {}
    for id in ids(worked, "work.meta@master"):
        meta = json.loads(b"".join(worked.pfs.get_file(f"work.meta@master:/meta/{id}/meta")))
        (bad if meta["state"] == "FAILED" else good)[id] = meta
    assert len(good) == 3
    first = worked.pfs.inspect_commit("data@master^").id
    words = worked.pfs.inspect_commit("words@master").id
    one = next(meta for meta in good.values() if f"data@{first}:/item1" in meta["inputs"])
    assert one["inputs"] == [f"words@{words}:/", f"data@{first}:/item1"]
    assert [(read["name"], read["type"], len(read["hash"])) for read in one["reads"]] == [("all", "dir", 64), ("data", "file", 64)]
    assert (one["job"], one["state"], one["index"]) == (f"work@{worked.pfs.inspect_commit('work@master^').id}", "PROCESSED", 0)
    ((_, failed),) = bad.items()
    assert "this datum is bad" in failed["reason"]
    assert failed["job"] == f"work@{worked.pfs.inspect_commit('work@master').id}"


def test_what_a_datum_read_and_wrote_is_below_its_id(worked: Workspace) -> None:
    files = {path: data for path, data in read_all(worked, "work.meta@master").items() if path.startswith("/pfs/")}
    words = {"/all/w/one": b"1", "/all/w/two": b"22", "/all/x": b"333"}
    expected = [
        {**words, "/data/item1": b"first", "/out/item1": b"first", "/out/deep/item1.txt": b"deep"},
        {**words, "/data/item2/part": b"second", "/data/item2/more/part": b"more", "/out/item2": b"second", "/out/deep/item2.txt": b"deep"},
        {**words, "/data/item3": b"third", "/out/item3": b"third", "/out/deep/item3.txt": b"deep"},
        {**words, "/data/item4": b"bad"},
    ]
    by_datum: dict[str, dict[str, bytes]] = {}
    for path, data in files.items():
        _, _, id, rest = path.split("/", 3)
        by_datum.setdefault(id, {})[f"/{rest}"] = data
    assert sorted(by_datum.values(), key=lambda found: next(path for path in found if path.startswith("/data"))) == expected


def test_meta_commit_reads_as_a_copy_of_it_does(worked: Workspace) -> None:
    worked.pfs.create_repo("copy")
    worked.pfs.copy_file("work.meta@master:/", "copy@master:/")
    deep: dict[str, tuple[str, int, str]] = {}
    for pattern in PATTERNS:
        entries = [
            {file.path: (file.type, file.size_bytes, file.hash) for file in file_infos(worked.pfs.glob_file(reference, pattern))}
            for reference in ("work.meta@master", "copy@master")
        ]
        assert list(entries[0]) == list(entries[1]), pattern
        # The upper levels have no sizes. Hashes of directories are those of one path in one kind of repo.
        seen = [{path: found[: 3 if found[0] == "file" else 2] for path, found in entry.items() if path.count("/") > 2} for entry in entries]
        assert seen[0] == seen[1], pattern
        if not entries[0]:
            continue
        below = [worked.pfs.files(reference).rows_below(pattern).to_pylist() for reference in ("work.meta@master", "copy@master")]
        assert [(row["key"], row["size"], row["hash"]) for row in below[0]] == [(row["key"], row["size"], row["hash"]) for row in below[1]], pattern
        files = [path for path, (kind, _, _) in entries[0].items() if kind == "file"]
        contents = [worked.pfs.files(reference).find_contents(files) for reference in ("work.meta@master", "copy@master")]
        assert {path: content.hash for path, content in contents[0].items()} == {path: content.hash for path, content in contents[1].items()}
        deep |= entries[0]
    assert sum(found[0] == "file" for found in deep.values()) > 20
    walked = [worked.pfs.files(reference).walk("/").column("path").to_pylist() for reference in ("work.meta@master", "copy@master")]
    assert walked[0] == walked[1]
    for path in walked[0]:
        below = [worked.pfs.files(reference).rows_below(path).column("key") for reference in ("work.meta@master", "copy@master")]
        assert below[0].to_pylist() == below[1].to_pylist()
        listed = [pa.concat_tables(worked.pfs.files(reference).list(path)).column("path").to_pylist() for reference in ("work.meta@master", "copy@master")]
        assert listed[0] == listed[1]
        assert worked.pfs.inspect_file(f"work.meta@master:{path}").type == worked.pfs.inspect_file(f"copy@master:{path}").type


def test_output_of_a_good_datum_of_a_failed_job_is_there(worked: Workspace) -> None:
    put(worked, "data@master", {"/item5": b"fifth"})
    run_due(worked, InProcessExecutor(lambda files: code({path: data for path, data in files.items() if path != "/item2/more/part"})))
    assert worked.pfs.inspect_commit("work@master").error is not None
    matched = worked.pfs.glob_file("work.meta@master", "/pfs/*/out/item5").column("path").to_pylist()
    assert [b"".join(worked.pfs.get_file(f"work.meta@master:{path}")) for path in matched] == [b"fifth"]


def test_commit_that_is_gone_takes_its_files_along_and_leaves_the_details(worked: Workspace) -> None:
    worked.pfs.create_repo("other")
    (id, *_) = ids(worked, "work.meta@master")
    worked.pfs.delete_repo("words", force=True)
    assert [file.path for file in worked.pfs.list_file(f"work.meta@master:/pfs/{id}") if file.path.endswith("/all")] == []
    assert any("words@" in name for name in json.loads(b"".join(worked.pfs.get_file(f"work.meta@master:/meta/{id}/meta")))["inputs"])


def test_what_is_not_there_is_refused(worked: Workspace) -> None:
    (id, *_) = ids(worked, "work.meta@master")
    for path in ("/other", "/meta/abc", f"/meta/{id}/nothing", f"/pfs/{id}/out/nothing", f"/other/{id}"):
        with pytest.raises(NotFoundError) as missing:
            worked.pfs.inspect_file(f"work.meta@master:{path}")
        assert missing.value.code == "file-not-found", path
    for path in ("/", "/meta", f"/meta/{id}"):
        with pytest.raises(InvalidError) as caught:
            worked.pfs.find_content("work.meta@master", path)
        assert caught.value.code == "not-a-file"
    with pytest.raises(NotFoundError, match=f"/pfs/{id}/out/nothing"):
        worked.pfs.files("work.meta@master").find_contents([f"/meta/{id}/meta", f"/pfs/{id}/out/nothing"])
    with pytest.raises(InvalidError) as refused:
        worked.pfs.root("work.meta@master")
    assert refused.value.code == "meta-repo"
