"""`pfs://` as a file system."""

import multiprocessing
import pickle
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pachyderm_dagster import connect
from pachyderm_dagster.client.client import Client
from pachyderm_dagster.client.filesystem import PfsFileSystem
from pachyderm_dagster.errors import InvalidError, StateError

FILES = {"/a.csv": b"x,y\n1,2\n", "/b/c.csv": b"3", "/b/d.txt": b"4444", "/b/e/f.csv": b"5"}


@pytest.fixture
def head(client: Client) -> str:
    """The id of a commit with FILES."""
    with client.modify_file("images@master") as changes:
        for path, data in FILES.items():
            changes.put_file(path, data)
    return changes.commit.id


def count(client: Client) -> int:
    return len(client.list_commit("images@master"))


def test_url_is_opened_by_its_protocol(client: Client, head: str) -> None:
    with fsspec.open("pfs://images@master/a.csv", "rb", home=str(client.home)) as file:
        assert file.read() == b"x,y\n1,2\n"
    with fsspec.open("pfs://images@master/new.txt", "w", home=str(client.home)) as file:
        file.write("größe")
    assert client.get_file("images@master:/new.txt") == "größe".encode()


def test_directories_are_listed(fs: PfsFileSystem, head: str) -> None:
    assert fs.ls("pfs://images@master", detail=False) == ["images@master/a.csv", "images@master/b"]
    assert fs.ls("images@master/b", detail=False) == ["images@master/b/c.csv", "images@master/b/d.txt", "images@master/b/e"]
    assert fs.ls("images@master/a.csv", detail=False) == ["images@master/a.csv"]
    (entry,) = fs.ls("images@master/a.csv")
    assert (entry["size"], entry["type"], entry["commit"]) == (8, "file", head)


def test_names_begin_as_they_were_asked_for(fs: PfsFileSystem, head: str) -> None:
    assert fs.ls("default/images@master/b/e", detail=False) == ["default/images@master/b/e/f.csv"]
    assert fs.find("default/images@master/b/e") == ["default/images@master/b/e/f.csv"]


def test_top_lists_branches_and_other_projects(fs: PfsFileSystem, client: Client, head: str) -> None:
    client.create_project("lab")
    client.create_repo("lab/notes")
    client.put_file("lab/notes@draft:/a", b"1")
    assert fs.ls("", detail=False) == ["images@master", "lab"]
    assert fs.ls("pfs://lab", detail=False) == ["lab/notes@draft"]
    assert fs.cat("lab/notes@draft/a") == b"1"
    assert (fs.isdir("lab"), fs.isdir("nowhere")) == (True, False)
    with pytest.raises(FileNotFoundError):
        fs.ls("nowhere")


def test_everything_below_is_found(fs: PfsFileSystem, head: str) -> None:
    assert fs.find("images@master") == [f"images@master{path}" for path in FILES]
    assert fs.find("images@master/b", withdirs=True) == ["images@master/b", *(f"images@master/b/{name}" for name in ("c.csv", "d.txt", "e", "e/f.csv"))]
    assert fs.find("images@master", maxdepth=1) == ["images@master/a.csv"]
    assert fs.find("images@master/nothing") == []
    assert fs.find("images@master/b/e", detail=True)["images@master/b/e/f.csv"]["size"] == 1


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("images@master/*.csv", ["/a.csv"]),
        ("images@master/**/*.csv", ["/a.csv", "/b/c.csv", "/b/e/f.csv"]),
        ("pfs://images@master/b/?.[ct]*", ["/b/c.csv", "/b/d.txt"]),
        ("images@master/nothing*", []),
    ],
)
def test_patterns_are_those_of_fsspec(fs: PfsFileSystem, head: str, pattern: str, found: list[str]) -> None:
    assert fs.glob(pattern) == [f"images@master{path}" for path in found]


@pytest.mark.parametrize("path", ["images@master/nothing", "images@nothing/a", "nothing@master/a", f"images@{'0' * 32}/a"])
def test_what_is_missing_is_not_there(fs: PfsFileSystem, head: str, path: str) -> None:
    assert not fs.exists(path)
    assert not fs.isfile(path)
    for call in (fs.info, fs.cat_file, fs.open, fs.ls, fs.rm):
        with pytest.raises(FileNotFoundError):
            call(path)


def test_directory_is_no_file(fs: PfsFileSystem, head: str) -> None:
    for call in (fs.cat_file, fs.open, fs.rm):
        with pytest.raises(IsADirectoryError):
            call("images@master/b")


def test_moving_branch_is_read_anew(fs: PfsFileSystem, client: Client, head: str) -> None:
    pinned = fs.pin("images@master/b")
    assert pinned == f"images@{head}/b"
    assert fs.pin("pfs://default/images@master") == f"default/images@{head}"
    assert len(fs.ls("images@master/b")) == 3
    client.put_file("images@master:/b/z", b"new")
    client.put_file("images@master:/b/c.csv", b"33")
    assert len(fs.ls("images@master/b")) == 4
    assert (fs.cat("images@master/b/c.csv"), fs.size("images@master/b/c.csv")) == (b"33", 2)
    assert len(fs.ls(pinned)) == 3
    assert fs.cat(f"{pinned}/c.csv") == b"3"
    assert fs.cat("images@master^2/b/c.csv") == b"3"


def test_times_and_checksums_are_told(fs: PfsFileSystem, client: Client, head: str) -> None:
    assert fs.modified("images@master/a.csv") == fs.created("images@master/a.csv") == client.inspect_commit("images@master").finished
    before = fs.checksum("images@master/a.csv")
    client.put_file("images@master:/z", b"")
    assert fs.checksum("images@master/a.csv") == before
    assert fs.ukey("images@master/a.csv") == client.inspect_file("images@master:/a.csv").hash


@pytest.mark.parametrize(("start", "end", "part"), [(None, None, b"4444"), (1, 3, b"44"), (-1, None, b"4"), (None, -3, b"4"), (3, 1, b""), (0, 99, b"4444")])
def test_part_of_a_file_is_read(fs: PfsFileSystem, head: str, start: int | None, end: int | None, part: bytes) -> None:
    assert fs.cat_file("images@master/b/d.txt", start, end) == part


def test_many_files_are_read_at_once(fs: PfsFileSystem, head: str) -> None:
    assert fs.cat(["images@master/a.csv", "images@master/b/c.csv"]) == {"images@master/a.csv": b"x,y\n1,2\n", "images@master/b/c.csv": b"3"}
    assert fs.cat("images@master/b", recursive=True) == {f"images@master{path}": data for path, data in FILES.items() if path.startswith("/b")}
    assert fs.cat("images@master/b/*") == {"images@master/b/c.csv": b"3", "images@master/b/d.txt": b"4444"}
    ranges = fs.cat_ranges(["images@master/a.csv", "images@master/a.csv", "images@master/none"], [0, -4, 0], [3, None, 1])
    assert ranges[:2] == [b"x,y", b"1,2\n"]
    assert isinstance(ranges[2], FileNotFoundError)


def test_each_file_is_a_commit_of_its_own(fs: PfsFileSystem, client: Client, head: str) -> None:
    with fs.open("images@master/new", "wb") as file:
        file.write(b"1")
    fs.pipe_file("images@master/new", b"2")
    with fs.open("images@master/new", "ab") as file:
        file.write(b"3")
    with fs.open("images@master/new", "a") as file:
        file.write("é")
    assert fs.cat("images@master/new") == "23é".encode()
    assert count(client) == 5


def test_one_call_is_one_commit(fs: PfsFileSystem, client: Client, head: str, tmp_path: Path) -> None:
    (tmp_path / "local" / "sub").mkdir(parents=True)
    (tmp_path / "local" / "1").write_bytes(b"one")
    (tmp_path / "local" / "sub" / "2").write_bytes(b"two")
    fs.put(str(tmp_path / "local"), "images@master/up", recursive=True)
    assert count(client) == 2
    fs.copy("images@master/up", "images@master/copied", recursive=True)
    assert count(client) == 3
    fs.mv("images@master/copied", "images@master/moved", recursive=True)
    assert count(client) == 4
    fs.rm("images@master/b", recursive=True)
    fs.pipe({"images@master/p/1": b"1", "images@master/p/2": b"2"})
    assert count(client) == 6
    found = {name.removeprefix("images@master"): data for name, data in fs.cat("images@master", recursive=True).items()}
    assert found == {
        "/a.csv": b"x,y\n1,2\n",
        "/moved/1": b"one",
        "/moved/sub/2": b"two",
        "/p/1": b"1",
        "/p/2": b"2",
        "/up/1": b"one",
        "/up/sub/2": b"two",
    }


def test_files_are_downloaded(fs: PfsFileSystem, head: str, tmp_path: Path) -> None:
    fs.get("images@master/b", str(tmp_path / "down"), recursive=True)
    assert (tmp_path / "down" / "e" / "f.csv").read_bytes() == b"5"
    assert (tmp_path / "down" / "d.txt").read_bytes() == b"4444"


def test_files_go_to_another_repo_by_reference(fs: PfsFileSystem, client: Client, head: str) -> None:
    client.create_repo("others")
    fs.cp_file("images@master/a.csv", "others@dev/a.csv")
    fs.mv("images@master/b/d.txt", "others@dev/d.txt")
    assert fs.find("others@dev") == ["others@dev/a.csv", "others@dev/d.txt"]
    assert not fs.exists("images@master/b/d.txt")


def test_transaction_is_one_commit(fs: PfsFileSystem, client: Client, head: str) -> None:
    with fs.transaction:
        fs.pipe_file("images@master/1", b"1")
        with fs.open("images@master/2", "wb") as file:
            file.write(b"2")
        fs.rm("images@master/a.csv")
        fs.cp_file("images@master/b/c.csv", "images@master/3")
        assert count(client) == 1
    assert count(client) == 2
    assert fs.find("images@master", maxdepth=1) == ["images@master/1", "images@master/2", "images@master/3"]
    fs.pipe_file("images@master/4", b"4")
    assert count(client) == 3


def test_transaction_that_raises_changes_nothing(fs: PfsFileSystem, client: Client, head: str) -> None:
    with pytest.raises(RuntimeError), fs.transaction:
        fs.pipe_file("images@master/1", b"1")
        raise RuntimeError
    assert count(client) == 1
    fs.pipe_file("images@master/2", b"2")
    assert not fs.exists("images@master/1")


def test_refused_transaction_changes_nothing_and_is_over(fs: PfsFileSystem, client: Client, head: str) -> None:
    with pytest.raises(InvalidError, match="path-conflict"), fs.transaction:
        fs.pipe_file("images@master/1", b"1")
        fs.pipe_file("images@master/a.csv/2", b"2")
    assert client.inspect_branch("images@master").head == head
    fs.pipe_file("images@master/3", b"3")
    assert fs.cat("images@master/3") == b"3"
    assert not fs.exists("images@master/1")


def test_transaction_is_started_and_ended_by_hand(fs: PfsFileSystem, client: Client, head: str) -> None:
    fs.start_transaction()
    fs.pipe_file("images@master/1", b"1")
    fs.pipe_file("images@master/2", b"2")
    assert count(client) == 1
    fs.end_transaction()
    assert count(client) == 2
    fs.pipe_file("images@master/3", b"3")
    assert count(client) == 3


def test_commit_takes_what_is_written_meanwhile(fs: PfsFileSystem, client: Client, head: str) -> None:
    with fs.commit("images@master", description="import") as commit:
        fs.pipe_file("images@master/1", b"1")
        with fs.open("images@master/2", "w") as file:
            file.write("2")
        assert client.inspect_commit("images@master").finished is None
    assert client.inspect_commit("images@master").id == commit.id
    assert (fs.cat("images@master/1"), fs.cat("images@master/2")) == (b"1", b"2")
    assert count(client) == 2


def test_commit_that_raises_is_dropped(fs: PfsFileSystem, client: Client, head: str) -> None:
    with pytest.raises(RuntimeError), fs.commit("images@master"):
        fs.pipe_file("images@master/1", b"1")
        raise RuntimeError
    assert client.inspect_branch("images@master").head == head


def test_failed_call_changes_nothing(fs: PfsFileSystem, client: Client, head: str) -> None:
    with pytest.raises(FileNotFoundError):
        fs.rm(["images@master/a.csv", "images@master/none"])
    with pytest.raises(FileExistsError):
        fs.pipe_file("images@master/a.csv", b"", mode="create")
    with pytest.raises(FileExistsError):
        fs.open("images@master/a.csv", "xb")
    with pytest.raises(RuntimeError), fs.open("images@master/a.csv", "w") as file:
        file.write("half")
        raise RuntimeError
    assert client.inspect_branch("images@master").head == head


def test_finished_commits_are_not_written(fs: PfsFileSystem, head: str) -> None:
    with pytest.raises(StateError, match="commit-finished"):
        fs.pipe_file(f"images@{head}/a", b"")
    with pytest.raises(InvalidError, match="reference-invalid"):
        fs.pipe_file("images/a", b"")


def test_directories_need_not_be_made(fs: PfsFileSystem, client: Client, head: str) -> None:
    assert not fs.exists("images@master/new")
    fs.touch("images@master/new/dir/file")
    fs.touch("images@master/a.csv", truncate=False)
    assert (fs.size("images@master/new/dir/file"), fs.size("images@master/a.csv")) == (0, 8)
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("images@master/new")
    fs.rm("images@master/new", recursive=True)
    assert not fs.exists("images@master/new")


def test_directory_that_was_made_is_seen_until_it_is_removed(fs: PfsFileSystem, client: Client, head: str) -> None:
    fs.makedirs("images@master/new/dir", exist_ok=True)
    assert (fs.isdir("images@master/new/dir"), fs.ls("images@master/new/dir")) == (True, [])
    assert client.inspect_branch("images@master").head == head
    with pytest.raises(FileExistsError):
        fs.makedirs("images@master/new/dir")
    fs.touch("images@master/new/dir/file")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("images@master/new/dir")
    fs.rm("images@master/new", recursive=True)
    assert not fs.exists("images@master/new/dir")
    fs.mkdir("images@master/other")
    fs.rmdir("images@master/other")
    assert not fs.exists("images@master/other")
    with pytest.raises(ValueError, match="reference-invalid"):
        fs.mkdir("images/other")


def test_pickled_file_system_opens_the_same_home(fs: PfsFileSystem, head: str) -> None:
    copy = pickle.loads(pickle.dumps(fs))
    assert (copy.home, copy.project, copy.cat("images@master/b/c.csv")) == (fs.home, fs.project, b"3")
    copy.client.close()


def read_in_child(fs: PfsFileSystem, answers: "multiprocessing.SimpleQueue[bytes]") -> None:
    answers.put(fs.cat_file("images@master/b/d.txt"))
    fs.pipe_file("images@master/from child", b"hello")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_use_it(fs: PfsFileSystem, head: str, method: str) -> None:
    assert fs.exists("images@master/a.csv")
    context: Any = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    child = context.Process(target=read_in_child, args=(fs, answers))
    child.start()
    assert answers.get() == b"4444"
    child.join()
    assert child.exitcode == 0
    assert fs.cat("images@master/from child") == b"hello"


def test_threads_share_it(fs: PfsFileSystem, client: Client, head: str) -> None:
    wrong: list[bytes] = []

    def work(name: int) -> None:
        for path, data in FILES.items():
            found = fs.cat_file(f"images@{head}{path}")
            if found != data:
                wrong.append(found)
        fs.pipe_file(f"images@master/{name}", b"x")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(fs.glob("images@master/?")) == 7  # and /b


def test_home_may_come_from_the_environment(client: Client, head: str) -> None:
    opened = PfsFileSystem(skip_instance_cache=True)
    assert opened.cat("images@master/b/c.csv") == b"3"
    assert opened.fsid == f"pfs-{client.home}"
    opened.client.close()


def test_project_may_be_another(client: Client) -> None:
    with connect(client.home, project="lab") as lab:
        client.create_project("lab")
        lab.create_repo("notes")
    opened = PfsFileSystem(str(client.home), project="lab", skip_instance_cache=True)
    opened.pipe_file("notes@master/a", b"1")
    assert client.get_file("lab/notes@master:/a") == b"1"
    assert opened.ls("", detail=False) == ["notes@master", "default"]
    opened.client.close()
