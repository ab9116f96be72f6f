"""What `put file -f` reads and where it goes."""

import hashlib
import http.server
import io
import os
import secrets
import socket
import tarfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import obstore
import pyarrow as pa
import pytest
from obstore.store import from_url

from pachyderm_dagster.errors import ConflictError, InvalidError, NotFoundError, PachydermError, UnreachableError
from pachyderm_dagster.pfs.filesets import FileSet
from pachyderm_dagster.pfs.merging import merge
from pachyderm_dagster.pfs.object_sources import RemoteObject, downloads_below, list_objects, without_folder_marks
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pfs.putting import Manner, put_sources
from pachyderm_dagster.pfs.sources import Source, SourceKind, plan_sources, read_source_list
from pachyderm_dagster.pfs.splitting import Split, SplitKind
from pachyderm_dagster.pfs.streams import WholeReads
from pachyderm_dagster.pfs.transfers import Transfers
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import contents_of
from pachyderm_dagster.storage.trees import FILE_ROWS, Trees
from tests.storage.conftest import S3_SETTINGS, S3_URL

PATIENT = Transfers(parallelism=4, tries=3, pause_seconds=0)


def put(
    locations: list[str],
    target: str | None = None,
    *,
    recursive: bool = False,
    append: bool = False,
    unpack: bool = False,
    split: Split | None = None,
    stdin: bytes = b"",
) -> dict[str, bytes]:
    """The files that a put into an empty commit leaves."""
    store = open_store("memory://")
    trees, reader = Trees(store, FILE_ROWS), ContentReader(store)
    with ContentWriter(store) as writer:
        files = FileSet(writer)
        planned = plan_sources(locations, target, recursive=recursive, unpack=unpack, append=append)
        manner = Manner(append=append, unpack=unpack, split=split, transfers=PATIENT)
        count = put_sources(files, store, planned, stdin=io.BytesIO(stdin), manner=manner)
        root = merge(trees, reader, writer, trees.empty, files.layers())
    rows = trees.table(root)
    found = {path_of(key): reader.read(content) for key, content in zip(rows.column("key").to_pylist(), contents_of(rows), strict=True)}
    assert count >= len(found)
    return found


def refused(locations: list[str], target: str | None = None, *, recursive: bool = False, unpack: bool = False) -> PachydermError:
    with pytest.raises(PachydermError) as caught:
        put(locations, target, recursive=recursive, unpack=unpack)
    return caught.value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: two files, and a folder with two more."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"a.txt": "1", "b.txt": "2", "data/x.csv": "3", "data/deep/y.csv": "4"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("locations", "target", "recursive", "files"),
    [
        (["a.txt"], None, False, {"/a.txt": b"1"}),
        (["data/x.csv"], None, False, {"/x.csv": b"3"}),
        (["a.txt"], "/", False, {"/a.txt": b"1"}),
        (["a.txt"], "/dir/", False, {"/dir/a.txt": b"1"}),
        (["a.txt"], "p/q", False, {"/p/q": b"1"}),
        (["a.txt"], "p", True, {"/p": b"1"}),
        (["data"], None, True, {"/x.csv": b"3", "/deep/y.csv": b"4"}),
        (["data/"], "/", True, {"/x.csv": b"3", "/deep/y.csv": b"4"}),
        (["data"], "p", True, {"/p/x.csv": b"3", "/p/deep/y.csv": b"4"}),
        (["data"], "p/", True, {"/p/x.csv": b"3", "/p/deep/y.csv": b"4"}),
        (["a.txt", "data/x.csv"], "p", False, {"/p/a.txt": b"1", "/p/x.csv": b"3"}),
        (["a.txt", "b.txt"], None, False, {"/a.txt": b"1", "/b.txt": b"2"}),
        (["a.txt", "data"], "p", True, {"/p/a.txt": b"1", "/p/data/x.csv": b"3", "/p/data/deep/y.csv": b"4"}),
        ([], "p", False, {"/p": b"in"}),
        (["-"], "dir/p", False, {"/dir/p": b"in"}),
    ],
)
def test_where_a_source_goes(folder: Path, locations: list[str], target: str | None, recursive: bool, files: Mapping[str, bytes]) -> None:
    assert put(locations, target, recursive=recursive, stdin=b"in") == files


def test_a_file_goes_by_its_whole_path_if_asked(folder: Path) -> None:
    assert [source.target for source in plan_sources(["data/x.csv"], None, full_path=True)] == ["/data/x.csv"]
    assert [source.target for source in plan_sources(["./data/x.csv"], "p/", full_path=True)] == ["/p/data/x.csv"]
    assert [source.target for source in plan_sources(["data/x.csv", "a.txt"], "p", full_path=True)] == ["/p/data/x.csv", "/p/a.txt"]
    assert [source.target for source in plan_sources([str(folder / "a.txt")], None, full_path=True)] == [str(folder / "a.txt")]
    assert [source.target for source in plan_sources(["data"], None, full_path=True, recursive=True)] == ["/data"]


def test_urls_go_by_the_last_part_of_their_path() -> None:
    locations = ["https://host/d/a%20b.csv?version=1", "s3://bucket/d/x.csv", "GS://bucket/y"]
    assert plan_sources(locations, None) == [
        Source(SourceKind.HTTP, locations[0], "/a b.csv"),
        Source(SourceKind.OBJECT, locations[1], "/x.csv"),
        Source(SourceKind.OBJECT, locations[2], "/y"),
    ]
    assert plan_sources(["s3://bucket/d/"], None, recursive=True) == [Source(SourceKind.PREFIX, "s3://bucket/d/", "/")]


@pytest.mark.parametrize(
    ("locations", "target", "recursive", "code", "says"),
    [
        ([], None, False, "path-missing", "standard input has no name"),
        (["-"], "dir/", False, "path-missing", "standard input has no name"),
        (["a.txt", "-"], "dir", False, "path-missing", "standard input has no name"),
        (["https://host/"], None, False, "path-missing", "https://host/ has no name"),
        (["-"], "p", True, "source-invalid", "leave -r out"),
        (["https://host/x"], None, True, "source-invalid", "leave -r out"),
        (["ftp://host/x"], None, False, "source-invalid", "ftp://"),
        (["data"], None, False, "source-is-folder", "-r"),
        (["missing"], None, False, "source-not-found", "'missing'"),
        (["a.txt/x"], None, False, "source-not-found", "'a.txt/x'"),
        (["a.txt"], "/p/../q", False, "path-invalid", "'..'"),
        (["../x.txt"], None, False, "source-not-found", "'../x.txt'"),
        (["bad(1).txt"], None, False, "path-invalid", "'('"),
    ],
)
def test_what_cannot_be_put_is_refused(folder: Path, locations: list[str], target: str | None, recursive: bool, code: str, says: str) -> None:
    (folder / "bad(1).txt").write_text("")
    error = refused(locations, target, recursive=recursive)
    assert error.code == code
    assert says in error.message


def test_a_folder_keeps_links_to_files_and_folders(folder: Path) -> None:
    (folder / "data/link.csv").symlink_to(folder / "a.txt")
    other = folder / "other"
    other.mkdir()
    (other / "z").write_text("5")
    (folder / "data/linked").symlink_to(other)
    assert put(["data"], recursive=True) == {"/x.csv": b"3", "/deep/y.csv": b"4", "/link.csv": b"1", "/linked/z": b"5"}


@pytest.mark.parametrize("goal", ["..", ".", "../data/deep"])
def test_a_link_into_itself_is_refused_by_name(folder: Path, goal: str) -> None:
    (folder / "data/deep/loop").symlink_to(goal)
    error = refused(["data"], recursive=True)
    assert error.code == "source-invalid"
    assert "loop' is a link to" in error.message


def test_a_link_of_links_that_go_round_is_refused_by_name(folder: Path) -> None:
    (folder / "data/one").symlink_to("two")
    (folder / "data/two").symlink_to("one")
    error = refused(["data"], recursive=True)
    assert error.code == "source-unreadable"
    assert "data/" in error.message


def test_a_link_to_nowhere_is_refused_by_name(folder: Path) -> None:
    (folder / "data/broken").symlink_to("nowhere")
    error = refused(["data"], recursive=True)
    assert error.code == "source-invalid"
    assert "'data/broken' is a link to 'nowhere', which does not exist" in error.message


def test_special_files_are_refused_by_name(folder: Path) -> None:
    os.mkfifo(folder / "data/pipe")
    error = refused(["data"], recursive=True)
    assert (error.code, "'data/pipe' is a pipe" in error.message) == ("source-invalid", True)
    (folder / "data/pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("data/socket")
        error = refused(["data"], recursive=True)
        assert (error.code, "'data/socket' is a socket" in error.message) == ("source-invalid", True)
        assert refused(["data/socket"]).code == "source-invalid"
    assert "character device" in refused(["/dev/null"]).message


def test_a_pipe_named_itself_is_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    writer = threading.Thread(target=lambda: (folder / "pipe").write_bytes(b"from a pipe"))
    writer.start()
    found = put(["a.txt", "pipe", "b.txt"])
    writer.join()
    assert found == {"/a.txt": b"1", "/pipe": b"from a pipe", "/b.txt": b"2"}


def test_a_name_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / "data" / os.fsdecode(b"caf\xe9.txt")).write_text("")
    error = refused(["data"], recursive=True)
    assert error.code == "path-invalid"
    assert "not valid UTF-8" in error.message
    error.message.encode()


def test_names_that_differ_in_the_form_of_accents_are_refused(folder: Path) -> None:
    (folder / "data/caf\u00e9").write_text("1")
    (folder / "data/cafe\u0301").write_text("2")
    error = refused(["data"], recursive=True)
    assert error.code == "path-invalid"
    assert "'caf\\xe9'" in error.message
    assert "'cafe\\u0301'" in error.message


def test_an_empty_folder_has_no_files(folder: Path) -> None:
    (folder / "empty/below").mkdir(parents=True)
    assert put(["empty"], recursive=True) == {}


def test_a_folder_of_many_files_is_put(tmp_path: Path) -> None:
    expected = {}
    for number in range(3000):
        path = tmp_path / f"{number % 7}" / f"{number}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(hashlib.blake2b(str(number).encode()).digest())
        expected[f"/{number % 7}/{number}.bin"] = path.read_bytes()
    assert put([str(tmp_path)], recursive=True) == expected


def test_sources_of_one_path_are_appended_in_order(folder: Path) -> None:
    (folder / "data/a.txt").write_text("later")
    assert put(["a.txt", "b.txt", "a.txt", "data/a.txt"], append=True) == {"/a.txt": b"11later", "/b.txt": b"2"}
    assert refused(["a.txt", "data/a.txt"]).message == "'a.txt' and 'data/a.txt' both go to '/a.txt'; put them one by one, or append them with -a"


@pytest.mark.parametrize("location", ["list", "-"])
def test_a_list_names_the_sources(folder: Path, location: str) -> None:
    lines = b"a.txt\n\n# the rest\n  data/x.csv \r\n-\nhttps://host/x\n" + "größe\n".encode() + b"caf\xe9"
    (folder / "list").write_bytes(lines)
    assert read_source_list(location, io.BytesIO(lines)) == ["a.txt", "data/x.csv", "-", "https://host/x", "größe", os.fsdecode(b"caf\xe9")]


def test_a_list_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotFoundError) as caught:
        read_source_list("/none/list", io.BytesIO())
    assert caught.value.code == "source-not-found"


BODY = hashlib.shake_128(b"body").digest(200_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """`/ok`, `/moved` to it, `/short` (always ends early), `/list`; all else is missing.

    `/cut/KIND` ends after 60,000 bytes, again and again. What it does when it is asked again is in its kind: `tag` and `date` go on where they were,
    `plain` knows no ranges, `other` is another body then, `shorter` has less, `busy` answers 503 every second time.
    """

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Range"]))
        match self.path.split("/")[1:]:
            case ["ok"]:
                self.answer(200, b"body" * 1000)
            case ["list"]:
                self.answer(200, b"one\ntwo\n")
            case ["packed" | "packed.tar.gz"]:
                assert self.headers["Accept-Encoding"] == "identity"
                self.answer(200, b"\x1f\x8b", Content_Encoding="gzip")
            case ["secret"]:
                allowed = self.headers["Authorization"] == "Basic YW5uOnAgdw=="
                self.answer(200 if allowed else 401, b"for ann")
            case ["lead"]:
                self.answer(302, b"", Location="/secret")
            case ["moved"]:
                self.answer(302, b"", Location="/ok")
            case ["short"]:
                self.answer(200, b"x", length=10)
            case ["cut", kind]:
                self.cut(kind)
            case ["file", name]:
                self.answer(200, name.encode())
            case _:
                self.answer(404, b"no")

    def cut(self, kind: str) -> None:
        again = self.headers["Range"] is not None
        sent = 60_000
        match kind:
            case "busy" if len(self.asked) % 2:
                self.answer(503, b"later")
            case "plain":
                times = self.asked.count((self.path, None))
                self.answer(200, BODY[: times * sent], length=len(BODY))
            case "other" if again:
                self.answer(200, BODY[::-1], ETag='"2"')
            case "shorter" if again:
                self.answer(416, b"")
            case _ if again:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                assert self.headers["If-Range"] == ("Sun, 01 Nov 2026 00:00:00 GMT" if kind == "date" else '"1"')
                range_ = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
                self.answer(206, BODY[start : start + sent], length=len(BODY) - start, Content_Range=range_)
            case "date":
                self.answer(200, BODY[:sent], length=len(BODY), ETag='W/"1"', Last_Modified="Sun, 01 Nov 2026 00:00:00 GMT")
            case _:
                self.answer(200, BODY[:sent], length=len(BODY), ETag='"1"')

    def answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_address[1]}"
        http_server.shutdown()
        thread.join()


def test_a_url_is_read(server: str) -> None:
    assert put([f"{server}/ok"]) == {"/ok": b"body" * 1000}
    assert put([f"{server}/moved"], "x") == {"/x": b"body" * 1000}
    assert read_source_list(f"{server}/list", io.BytesIO()) == ["one", "two"]


def test_user_and_password_of_a_url_are_sent_and_not_shown(server: str) -> None:
    assert put([f"{server}/secret".replace("://", "://ann:p%20w@")]) == {"/secret": b"for ann"}
    for wrong in ("/secret", "/missing"):
        error = refused([f"{server}{wrong}".replace("://", "://bob:secret@")])
        assert "bob" not in error.message
        assert f"{server}{wrong} answered 40" in error.message


def test_user_and_password_are_not_sent_on(server: str) -> None:
    assert "answered 401" in refused([f"{server}/lead".replace("://", "://ann:p%20w@")]).message


def test_a_body_that_comes_encoded_is_refused_unless_its_name_says_so(server: str) -> None:
    assert "comes encoded with gzip" in refused([f"{server}/packed"]).message
    assert put([f"{server}/packed.tar.gz"]) == {"/packed.tar.gz": b"\x1f\x8b"}


@pytest.mark.parametrize("url", ["http://[::1", "http://host:70000/x", "http://host:port/x", "http://host:0/x", "http:///x", "s3://[::1"])
def test_a_url_that_no_server_could_be_asked_for_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidError, match="source-unreadable"):
        plan_sources([url], "/x")


def test_a_slash_in_the_last_part_of_a_url_makes_no_name() -> None:
    with pytest.raises(InvalidError, match="path-invalid"):
        plan_sources(["http://host/a%2Fb"], None)
    assert plan_sources(["http://host/a%2Fb"], "/b")[0].target == "/b"


def test_two_sources_of_one_name_are_refused_unless_they_append(folder: Path) -> None:
    urls = ["http://ann:secret@one/x.csv", "http://two/x.csv"]
    with pytest.raises(InvalidError, match=r"'http://one/x.csv' and 'http://two/x.csv' both go to '/x.csv'"):
        plan_sources(urls, None)
    assert [source.target for source in plan_sources(urls, None, append=True)] == ["/x.csv", "/x.csv"]
    same = str(folder / "a.txt")
    assert len(plan_sources([same, same], None)) == 2


def test_all_names_that_cannot_be_paths_are_told_at_once(tmp_path: Path) -> None:
    for name in ("file (1).txt", "a@b.txt", "C++.txt", "good.txt"):
        (tmp_path / name).write_text("x")
    error = refused([str(tmp_path)], recursive=True)
    assert error.code == "path-invalid"
    assert "3 names cannot be paths: 'C++.txt', 'a@b.txt', 'file (1).txt'; of the first: " in error.message
    assert "3 names" in refused([str(file) for file in sorted(tmp_path.iterdir())]).message
    assert "rename it, or put it alone under another name" in refused([str(tmp_path / "a@b.txt")]).message
    for number in range(20):
        (tmp_path / f"{number:02}+").write_text("x")
    assert "'09+' and 13 more; of the first" in refused([str(tmp_path)], recursive=True).message


def test_a_url_that_answers_with_an_error_is_refused(server: str) -> None:
    error = refused([f"{server}/none"])
    assert isinstance(error, InvalidError)
    assert error.code == "source-unreadable"
    assert "answered 404" in error.message


def test_a_url_that_ends_early_or_does_not_answer_is_refused(server: str) -> None:
    error = refused([f"{server}/short"])
    assert isinstance(error, UnreachableError)
    assert "9 bytes early" in error.message
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = refused([f"http://127.0.0.1:{unused.getsockname()[1]}/x"])
    assert isinstance(error, UnreachableError)
    assert error.code == "source-unreachable"
    assert refused(["http://host:port/x"]).code == "source-unreadable"


@pytest.mark.parametrize("kind", ["tag", "date", "plain", "busy"])
def test_a_download_that_breaks_goes_on_where_it_was(server: str, kind: str) -> None:
    Handler.asked.clear()
    assert put([f"{server}/cut/{kind}"]) == {f"/{kind}": BODY}
    ranges = [range_ for _, range_ in Handler.asked if range_]
    assert ranges[:1] == ([] if kind == "plain" else ["bytes=60000-"])


@pytest.mark.parametrize("kind", ["other", "shorter"])
def test_a_body_that_became_another_one_is_refused(server: str, kind: str) -> None:
    Handler.asked.clear()
    error = refused([f"{server}/cut/{kind}"])
    assert isinstance(error, ConflictError)
    assert error.code == "source-changed"
    assert "60,000 bytes" in error.message


def test_many_urls_are_read_in_order_whatever_breaks(server: str) -> None:
    Handler.asked.clear()
    names = [f"file/{number}" for number in range(30)] + ["cut/tag", "ok"]
    expected = {f"/p/{number}": str(number).encode() for number in range(30)} | {"/p/tag": BODY, "/p/ok": b"body" * 1000}
    assert put([f"{server}/{name}" for name in names], "p") == expected
    assert refused([f"{server}/{name}" for name in ["ok", "cut/tag", "none", *names]], "p").code == "source-unreadable"


def test_a_large_body_is_not_held_before_its_turn(server: str) -> None:
    transfers = Transfers(parallelism=1000)
    assert transfers.head_bytes * transfers.parallelism <= 256 * 1024 * 1024


def test_objects_are_read_one_or_all_below_a_prefix(folder: Path) -> None:
    (folder / "data/large").write_bytes(bytes(5 * 1024 * 1024))
    url = folder.as_uri()
    assert put([f"{url}/data/x.csv"]) == {"/x.csv": b"3"}
    assert put([f"{url}/data/"], "p", recursive=True) == {"/p/x.csv": b"3", "/p/deep/y.csv": b"4", "/p/large": bytes(5 * 1024 * 1024)}


def test_an_object_that_is_written_meanwhile_is_refused(folder: Path) -> None:
    (folder / "data/large").write_bytes(bytes(20 * 1024 * 1024))
    objects = list_objects(f"{folder.as_uri()}/data")
    downloads = list(downloads_below(f"{folder.as_uri()}/data", objects, PATIENT))
    large = downloads[[one.name for one in objects].index("large")]
    assert len(large.read(1000)) == 1000
    (folder / "data/large").write_bytes(b"1" * 1024 * 1024)
    with pytest.raises(ConflictError, match="source-changed"):
        WholeReads(large).read(20 * 1024 * 1024)


def test_objects_that_are_not_there_are_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert refused([f"{folder.as_uri()}/none"]).code == "source-not-found"
    assert refused([f"{folder.as_uri()}/data"]).code == "source-not-found"
    assert refused([f"{folder.as_uri()}/empty"], recursive=True).code == "source-not-found"
    assert refused([f"{folder.as_uri()}/none"], recursive=True).code == "source-unreachable"


def test_the_mark_of_a_folder_is_no_file() -> None:
    marked = [RemoteObject("a", 0), RemoteObject("a/b", 0), RemoteObject("a/b/x", 1), RemoteObject("empty", 0), RemoteObject("a.x", 0)]
    assert [one.name for one in without_folder_marks(marked)] == ["a/b/x", "empty", "a.x"]


def archive(files: Mapping[str, bytes], mode: str = "w:", kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type, entry.linkname = len(data), kind, "x" if kind == tarfile.SYMTYPE else ""
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


PACKED = {"./a.txt": b"1", "deep/größe.bin": bytes(3_000_000), "/top": b""}
UNPACKED = {"/a.txt": b"1", "/deep/größe.bin": bytes(3_000_000), "/top": b""}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.tar", archive(PACKED)),
        ("x.tar.gz", archive(PACKED, "w:gz")),
        ("x.tgz", archive(PACKED, "w:gz")),
        ("x.tar.bz2", archive(PACKED, "w:bz2")),
        ("x.tar.xz", archive(PACKED, "w:xz")),
        ("x.tar.zst", pa.compress(archive(PACKED), "zstd", asbytes=True)),
        ("misnamed.tar.gz", archive(PACKED)),
    ],
)
def test_an_archive_is_unpacked(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    assert put([name], unpack=True) == UNPACKED
    assert put([name], "p/q", unpack=True) == {f"/p/q{path}": content for path, content in UNPACKED.items()}
    assert put(["-"], unpack=True, stdin=data) == UNPACKED
    assert put([(folder / name).as_uri()], unpack=True) == UNPACKED
    assert put([name]) == {f"/{name}": data}


def test_archives_in_a_folder_are_unpacked_where_they_lie(folder: Path) -> None:
    (folder / "data/deep/x.tar").write_bytes(archive({"one": b"1", "two/three": b"3"}))
    unpacked = {"/p/x.csv": b"3", "/p/deep/y.csv": b"4", "/p/deep/one": b"1", "/p/deep/two/three": b"3"}
    assert put(["data"], "p", recursive=True, unpack=True) == unpacked
    assert put([f"{folder.as_uri()}/data"], "p", recursive=True, unpack=True) == unpacked
    assert put(["a.txt", "data/deep/x.tar"], "p", unpack=True) == {"/p/a.txt": b"1", "/p/one": b"1", "/p/two/three": b"3"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (archive({"a/../../b": b""}), "'..'"),
        (archive({"a*": b""}), "'*'"),
        (archive({"link": b""}, kind=tarfile.SYMTYPE), "'link' is a symbolic link"),
        (archive({"device": b""}, kind=tarfile.CHRTYPE), "'device' is a character device"),
        (archive({"a": bytes(100_000)})[:5000], "ends early"),
        (archive({"a": bytes(100_000)}, "w:gz")[:100], "ends early"),
        (b"no archive at all" * 100, "no tar archive"),
    ],
    # An archive holds the time at which it was made, and two processes that collect the tests must give them the same names.
    ids=["parent", "star", "link", "device", "cut", "cut-gz", "none"],
)
def test_an_archive_with_what_cannot_be_put_is_refused(folder: Path, data: bytes, says: str) -> None:
    (folder / "x.tar").write_bytes(data)
    error = refused(["x.tar"], unpack=True)
    assert error.code == "archive-invalid"
    assert error.message.startswith("x.tar")
    assert says in error.message


def test_each_source_is_split_into_a_directory_of_its_own(folder: Path) -> None:
    (folder / "data/x.csv").write_text("a\n1\n2\n")
    split = Split(SplitKind.LINE, header_records=1)
    assert put(["data"], recursive=True, split=split) == {"/x.csv/0000000000000000": b"a\n1\n", "/x.csv/0000000000000001": b"a\n2\n"}
    assert put(["-"], "p", split=Split(SplitKind.LINE), stdin=b"a\nb") == {"/p/0000000000000000": b"a\n", "/p/0000000000000001": b"b"}


@pytest.mark.skipif(S3_URL is None, reason="TEST_STORAGE_S3_URL names no bucket")
def test_objects_of_s3_are_read_one_or_all_below_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in S3_SETTINGS.items():
        monkeypatch.setenv(name, value)
    url = f"{S3_URL}/{secrets.token_hex(8)}"
    large = hashlib.shake_128(b"large").digest(21_000_000)
    contents = {f"few/{number:03}": str(number).encode() for number in range(120)} | {"few/deep/large": large, "few/empty": b""}
    bucket = from_url(url, client_options={"allow_http": True})
    for name, data in contents.items():
        obstore.put(bucket, name, data)
    assert put([f"{url}/few"], "p", recursive=True) == {f"/p/{name.removeprefix('few/')}": data for name, data in contents.items()}
    assert put([f"{url}/few/deep/large"]) == {"/large": large}
    assert refused([f"{url}/few/none"]).code == "source-not-found"
    assert refused([f"{url}/none"], recursive=True).code == "source-not-found"
