import functools
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.cli import progress
from tests.cli.overtaking import overtaken
from tests.cli.pachctl import Pachctl


@pytest.fixture
def data(pachctl: Pachctl) -> Pachctl:
    """An empty repo."""
    pachctl("create", "repo", "data")
    return pachctl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files in it and below it."""
    files = tmp_path / "folder"
    (files / "deep" / "deeper").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "deep/c.txt", "deep/deeper/d.txt"):
        (files / name).write_text(name)
    return files


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """Where a web server shows the folder."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def paths(pachctl: Pachctl, reference: str = "data@master:/**") -> list[str]:
    """The files that a pattern matches."""
    return [file["path"] for file in pachctl.json("glob", "file", reference) if file["type"] == "file"]


def test_standard_input_goes_to_a_path(data: Pachctl) -> None:
    assert data("put", "file", "data@master:/greeting", "-f", "-", stdin=b"hello\n").out == ""
    assert data("get", "file", "data@master:/greeting").data == b"hello\n"


def test_standard_input_is_read_when_no_source_is_named(data: Pachctl) -> None:
    data("put", "file", "data@master:/greeting", stdin=b"hello")
    assert data("get", "file", "data@master:/greeting").data == b"hello"
    assert data("get", "file", "data@master:/greeting", "-o", "-").data == b"hello"


def test_standard_input_needs_a_path(data: Pachctl) -> None:
    assert data.fail("put", "file", "data@master", "-f", "-", stdin=b"x") == "path-missing"


def test_put_replaces_and_appends_when_told(data: Pachctl) -> None:
    data.put("data@master:/a", "1")
    data.put("data@master:/a", "2")
    assert data("get", "file", "data@master:/a").data == b"2"
    data("put", "file", "data@master:/a", "-a", "-f", "-", stdin=b"3")
    assert data("get", "file", "data@master:/a").data == b"23"


def test_one_file_keeps_its_name_or_gets_another(data: Pachctl, folder: Path) -> None:
    file = str(folder / "a.txt")
    data("put", "file", "data@master", "-f", file)
    data("put", "file", "data@master:/other", "-f", file)
    data("put", "file", "data@master:/in/", "-f", file)
    assert paths(data) == ["/a.txt", "/in/a.txt", "/other"]


def test_several_files_are_one_commit(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master:/x", "-f", str(folder / "a.txt"), "-f", str(folder / "b.txt"), "-m", "two")
    assert paths(data) == ["/x/a.txt", "/x/b.txt"]
    assert [commit["description"] for commit in data.json("list", "commit", "data")] == ["two"]


def test_what_is_in_a_folder_is_put(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    data("put", "file", "data@dev:/top", "-r", "-f", str(folder))
    assert paths(data) == ["/a.txt", "/b.txt", "/deep/c.txt", "/deep/deeper/d.txt"]
    assert paths(data, "data@dev:/**") == ["/top/a.txt", "/top/b.txt", "/top/deep/c.txt", "/top/deep/deeper/d.txt"]


def test_folder_without_r_is_refused(data: Pachctl, folder: Path) -> None:
    assert data.fail("put", "file", "data@master", "-f", str(folder)) == "source-is-folder"
    assert data.json("list", "commit", "data") == []


def test_missing_source_is_refused(data: Pachctl, folder: Path) -> None:
    assert data.fail("put", "file", "data@master", "-f", str(folder / "none")) == "source-not-found"


def test_url_is_fetched(data: Pachctl, address: str) -> None:
    data("put", "file", "data@master", "-f", f"{address}/deep/c.txt")
    assert data("get", "file", "data@master:/c.txt").data == b"deep/c.txt"
    assert data.fail("put", "file", "data@master", "-f", f"{address}/none") == "source-unreadable"


def test_list_names_the_sources(data: Pachctl, folder: Path, address: str) -> None:
    sources = f"{folder / 'a.txt'}\n\n{address}/b.txt\n".encode()
    data("put", "file", "data@master", "-i", "-", stdin=sources)
    assert paths(data) == ["/a.txt", "/b.txt"]
    assert data.fail("put", "file", "data@master", "-i", "-", stdin=b"\n") == "sources-missing"


def test_path_with_dots_is_refused(data: Pachctl) -> None:
    assert data.fail("put", "file", "data@master:/../a", "-f", "-", stdin=b"1") == "path-invalid"


def test_put_where_nothing_can_be_put_is_refused(worked: Pachctl) -> None:
    commit = worked("inspect", "commit", "books@master", "-o", "json").document["id"]
    put = ("-f", "-")
    assert worked.fail("put", "file", f"books@{commit}:/a", *put) == "commit-finished"
    assert worked.fail("put", "file", "count@master:/a", *put) == "output-branch"
    assert worked.fail("put", "file", "nothing@master:/a", *put) == "repo-not-found"
    assert worked.fail("put", "file", "books:/a", *put) == "reference-invalid"


def test_put_prints_its_commit_as_json(data: Pachctl) -> None:
    commit = data.put("data@master:/a", "1")
    assert [found["id"] for found in data.json("list", "commit", "data")] == [commit]


def test_commit_that_is_printed_is_the_one_that_was_written(data: Pachctl) -> None:
    with overtaken("data@master") as given:
        printed = [data.put("data@master:/a", "1"), data("delete", "file", "data@master:/a", "-o", "json").document["id"]]
    assert printed == [commit.id for commit in given]
    assert data("inspect", "commit", "data@master", "-o", "json").document["id"] not in printed


def test_copy_that_is_printed_is_the_one_that_was_made(data: Pachctl) -> None:
    data("create", "project", "other")
    data("create", "repo", "other/copies")
    data.put("data@master:/a", "1")
    with overtaken("other/copies@master"):
        assert data("copy", "file", "data@master:/a", "other/copies@master:/b", "-o", "json").document["size_bytes"] == 1
    assert data.fail("inspect", "file", "other/copies@master:/b") == "file-not-found"


def test_listing_shows_children_with_their_sizes(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    listed = data("list", "file", "data@master").out
    assert [line.split() for line in listed.splitlines()] == [["SIZE", "NAME"], ["5B", "/a.txt"], ["5B", "/b.txt"], ["27B", "/deep/"]]
    assert [(file["path"], file["type"], file["size_bytes"]) for file in data.json("list", "file", "data@master:/deep")] == [
        ("/deep/c.txt", "file", 10),
        ("/deep/deeper", "dir", 17),
    ]


def test_listing_takes_a_pattern(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    assert [file["path"] for file in data.json("list", "file", "data@master:/*.txt")] == ["/a.txt", "/b.txt"]


def test_pattern_finds_files_and_directories(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    assert [file["path"] for file in data.json("glob", "file", "data@master:/*")] == ["/a.txt", "/b.txt", "/deep"]
    assert "/deep/" in data("glob", "file", "data@master:/d*").out
    assert data.fail("glob", "file", "data@master:/[a") == "glob-invalid"
    assert data.fail("glob", "file", "data@master") == "path-missing"


def test_file_is_inspected(data: Pachctl) -> None:
    data.put("data@master:/a", "1")
    data.put("data@master:/b", "1")
    first, second = (data("inspect", "file", f"data@master:/{name}", "-o", "json").document for name in "ab")
    assert first["hash"] == second["hash"]
    assert "Path: /a" in data("inspect", "file", "data@master:/a").out
    assert data.fail("inspect", "file", "data@master:/c") == "file-not-found"


def test_file_of_an_older_version_is_read(data: Pachctl) -> None:
    data.put("data@master:/a", "1")
    data.put("data@master:/a", "2")
    assert data("get", "file", "data@master^:/a").data == b"1"
    assert data("get", "file", "data@master.1:/a").data == b"1"


def test_get_writes_a_file(data: Pachctl, tmp_path: Path) -> None:
    data.put("data@master:/a", "0123456789")
    data("get", "file", "data@master:/a", "-o", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "0123456789"
    data("get", "file", "data@master:/a", "-o", str(tmp_path))
    assert (tmp_path / "a").read_text() == "0123456789"
    assert data("get", "file", "data@master:/a", "--offset", "7").data == b"789"


def test_get_into_a_folder_by_a_pattern_writes_under_the_name_that_was_found(data: Pachctl, tmp_path: Path) -> None:
    data.put("data@master:/in/a.png", "1")
    data("get", "file", "data@master:/**.png", "-o", str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_get_writes_into_a_pipe_and_leaves_it_there(data: Pachctl, tmp_path: Path) -> None:
    data.put("data@master:/a", "0123456789")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    data("get", "file", "data@master:/a", "-o", str(pipe))
    reader.join()
    assert read == ["0123456789"]
    assert pipe.is_fifo()


def test_get_through_a_link_replaces_what_it_points_to(data: Pachctl, tmp_path: Path) -> None:
    data.put("data@master:/a", "new")
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    data("get", "file", "data@master:/a", "-o", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "real"]


def test_get_into_a_missing_folder_is_refused(data: Pachctl, tmp_path: Path) -> None:
    data.put("data@master:/a", "1")
    assert data.fail("get", "file", "data@master:/a", "-o", str(tmp_path / "none" / "a")) == "storage-failed"
    assert list(tmp_path.iterdir()) == []


def test_get_of_a_directory_names_the_way(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    answer = data.run("get", "file", "data@master:/deep")
    assert (answer.status, answer.code) == (1, "not-a-file")
    assert "-r" in answer.err
    assert data.fail("get", "file", "data@master") == "path-missing"


def test_directory_is_written_under_its_paths(data: Pachctl, folder: Path, tmp_path: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    data("get", "file", "-r", "data@master:/deep", "-o", str(tmp_path / "out"))
    found = {file.relative_to(tmp_path / "out").as_posix(): file.read_text() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert found == {"deep/c.txt": "deep/c.txt", "deep/deeper/d.txt": "deep/deeper/d.txt"}


def test_tar_archive_holds_what_a_pattern_matches(data: Pachctl, folder: Path) -> None:
    large = bytes(range(256)) * 20_000
    (folder / "large.txt").write_bytes(large)
    data("put", "file", "data@master", "-r", "-f", str(folder))
    with tarfile.open(fileobj=io.BytesIO(data("get", "file", "-r", "data@master:/{*.txt,deep}").data)) as archive:
        assert archive.getnames() == ["a.txt", "b.txt", "deep/c.txt", "deep/deeper/d.txt", "large.txt"]
        stored = archive.extractfile("large.txt")
        assert stored is not None
        assert stored.read() == large


def test_offset_is_for_one_file(data: Pachctl) -> None:
    assert "--offset" in data.misuse("get", "file", "-r", "data@master:/", "--offset", "3")


def test_copy_moves_no_content_between_repos(data: Pachctl, folder: Path) -> None:
    data("create", "project", "other")
    data("create", "repo", "other/copies")
    data("put", "file", "data@master", "-r", "-f", str(folder))
    assert data("copy", "file", "data@master:/deep", "copies@master:/d", "--dest-project", "other").out == ""
    assert paths(data, "other/copies@master:/**") == ["/d/c.txt", "/d/deeper/d.txt"]
    assert data("copy", "file", "data@master:/a.txt", "data@master:/a2", "-o", "json").document["path"] == "/a2"
    assert data.fail("copy", "file", "data@master:/none", "data@master:/a3") == "file-not-found"
    assert data.fail("copy", "file", "data@master", "data@master:/a3") == "path-missing"


def test_deleted_file_is_gone(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    assert data("delete", "file", "data@master:/a.txt").out == ""
    data("delete", "file", "data@master:/never-there")
    assert paths(data) == ["/b.txt", "/deep/c.txt", "/deep/deeper/d.txt"]


def test_directory_is_deleted_with_r_only(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    assert data.fail("delete", "file", "data@master:/deep") == "not-a-file"
    data("delete", "file", "-r", "data@master:/deep")
    assert paths(data) == ["/a.txt", "/b.txt"]
    data("delete", "file", "-r", "data@master:/")
    assert paths(data) == []
    assert data.fail("delete", "file", "data@master") == "path-missing"


def test_output_that_is_being_written_is_refused(worked: Pachctl) -> None:
    worked.put("books@master:/new", "words")
    assert worked.fail("list", "file", "count@master") == "commit-open"


def test_directory_is_deleted_by_its_slash(data: Pachctl, folder: Path) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    data.put("data@master:/deepest", "x")
    data("delete", "file", "data@master:/deep/")
    assert paths(data) == ["/a.txt", "/b.txt", "/deepest"]
    data("delete", "file", "data@master:/a.txt/")
    assert paths(data) == ["/a.txt", "/b.txt", "/deepest"]
    data("delete", "file", "data@master:/")
    assert paths(data) == []


def test_commit_that_is_not_there_is_named_without_the_path(data: Pachctl) -> None:
    data.put("data@master:/a", "x")
    assert "commit 'data@master^1' does not exist" in data.run("get", "file", "data@master^:/a").err


@pytest.mark.parametrize("name", ["all.tar", "all.tar.gz", "all.tgz"])
def test_directory_is_written_as_an_archive_that_can_be_put_again(data: Pachctl, folder: Path, tmp_path: Path, name: str) -> None:
    data("put", "file", "data@master", "-r", "-f", str(folder))
    data("get", "file", "-r", "data@master:/deep", "-o", str(tmp_path / name))
    with tarfile.open(tmp_path / name) as archive:
        assert archive.getnames() == ["deep/c.txt", "deep/deeper/d.txt"]
    data("put", "file", "data@copy:/p", "--untar", "-f", str(tmp_path / name))
    assert data("get", "file", "data@copy:/p/deep/c.txt").out == "deep/c.txt"
    data("put", "file", "data@other", "-f", str(tmp_path / name))
    assert paths(data, "data@other:/**") == [f"/{name}"]


def test_get_goes_on_with_what_a_file_has(data: Pachctl, tmp_path: Path) -> None:
    data.put("data@master:/a", "0123456789")
    target = tmp_path / "a"
    data("get", "file", "data@master:/a", "--retry", "-o", str(target))
    assert target.read_text() == "0123456789"
    target.write_text("01x")
    data("get", "file", "data@master:/a", "--retry", "-o", str(target))
    assert target.read_text() == "01x3456789"
    target.write_text("longer than it")
    assert data.fail("get", "file", "data@master:/a", "--retry", "-o", str(target)) == "target-longer"
    data.misuse("get", "file", "data@master:/a", "--retry")
    data.misuse("get", "file", "data@master:/a", "--retry", "--offset", "2", "-o", str(target))


def test_file_is_split_into_parts_whose_numbers_go_on(data: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "cars.csv").write_text('name,text\na,"x\ny"\nb,z\n')
    split = ("put", "file", "data@master", "-f", str(tmp_path / "cars.csv"), "--split", "csv", "--header-records", "1")
    data(*split)
    assert paths(data) == ["/cars.csv/0000000000000000", "/cars.csv/0000000000000001"]
    assert data("get", "file", "data@master:/cars.csv/0000000000000000").out == 'name,text\na,"x\ny"\n'
    data(*split, "-a", "--target-file-bytes", "100")
    assert paths(data)[2:] == ["/cars.csv/0000000000000002"]
    data(*split, "--target-file-datums", "2")
    assert paths(data) == ["/cars.csv/0000000000000000"]


def test_numbers_go_on_in_an_open_commit(data: Pachctl) -> None:
    data("start", "commit", "data@master")
    for text in (b"1\n2\n", b"3\n"):
        data("put", "file", "data@master:/lines", "-a", "--split", "line", stdin=text)
    data("finish", "commit", "data@master")
    assert paths(data) == [f"/lines/{number:016x}" for number in range(3)]
    assert data("get", "file", "data@master:/lines/0000000000000002").out == "3\n"


def test_what_belongs_to_split_needs_it(data: Pachctl) -> None:
    assert "belong to --split" in data.misuse("put", "file", "data@master:/a", "--header-records", "1")
    data.misuse("put", "file", "data@master:/a", "--split", "xml")
    data.misuse("put", "file", "data@master:/a", "-p", "1001")


def test_list_may_have_comments_and_many_urls(data: Pachctl, address: str) -> None:
    lines = f"# the folder\n{address}/a.txt\n\n{address}/deep/c.txt\n".encode()
    data("put", "file", "data@master:/p", "-i", "-", "-p", "2", stdin=lines)
    assert paths(data) == ["/p/a.txt", "/p/c.txt"]


def test_put_tells_how_many_files_it_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(sys, "stderr", drawn)
    shown = progress.PutProgress()
    shown.expect(4)
    shown.done(2048, 1)
    shown._draw()
    assert drawn.getvalue().startswith("put file:  25% 1 of 4 files, 2KiB, ")


def test_path_of_two_thousand_directories_is_written_to_a_folder(data: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = "/x" * 1500
    data.put(f"data@master:{path}", "deep")
    data("get", "file", "-r", "data@master:/", "-o", "out")
    assert Path(f"out{path}").read_text() == "deep"
    subprocess.run(["rm", "-r", "out"], check=True)


def test_archive_of_bzip2_that_is_none_is_refused(data: Pachctl, tmp_path: Path) -> None:
    archive = tmp_path / "garbage.tar.bz2"
    archive.write_bytes(b"BZh9" + b"x" * 1000)
    assert data.fail("put", "file", "data@master", "--untar", "-f", str(archive)) == "archive-invalid"
