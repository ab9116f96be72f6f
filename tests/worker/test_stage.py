import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pachyderm_dagster.errors import ExecutionError, StorageError
from pachyderm_dagster.storage.content import Content, ContentReader, ContentWriter
from pachyderm_dagster.storage.folder_store import FolderStore
from pachyderm_dagster.worker.folders import FolderPool
from pachyderm_dagster.worker.protocol import DatumTask, InputFile
from pachyderm_dagster.worker.stage import StagedDatum, build_environment, stage, staged_time_ns

ROOT = Path(__file__).parents[2]

STAGE_ON_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from tests.worker.test_stage import InputFile, Stage

small = Path(sys.argv[1], "small")
small.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=True)
print("mounted", flush=True)
place = Stage(Path(sys.argv[1]), small)
problem = place.stage(InputFile("in", "/f", False, place.write({"/f": bytes(1_000_000)}))).problem
print(type(problem).__name__, problem.code)
"""


class Stage:
    """A store and a place to stage from it."""

    def __init__(self, folder: Path, disk: Path | None = None) -> None:
        self.store_folder = folder / "store"
        self.store = FolderStore(self.store_folder)
        self.pool = FolderPool(str((disk or folder) / "datums"))

    def write(self, files: Mapping[str, bytes]) -> tuple[tuple[str, Content], ...]:
        with ContentWriter(self.store) as writer:
            return tuple((path, writer.write(data)) for path, data in files.items())

    def stage(self, *inputs: InputFile, environment: dict[str, str] | None = None) -> StagedDatum:
        return stage(DatumTask("ab" * 32, 0, inputs, environment or {}), self.pool, ContentReader(self.store), "/pfs")


@pytest.fixture
def place(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_file_lies_at_its_repo_path_below_its_input(place: Stage) -> None:
    staged = place.stage(InputFile("data", "/a/b.txt", False, place.write({"/a/b.txt": b"hello"})))
    assert staged.problem is None
    assert Path(staged.folder, "data/a/b.txt").read_bytes() == b"hello"
    assert os.listdir(f"{staged.folder}/out") == []
    assert staged.size_bytes == 5


def test_directory_brings_its_subtree_and_large_files(place: Stage) -> None:
    large = os.urandom(9 << 20)
    files = {"/d/one": b"1", "/d/e/two": b"2", "/d/empty": b"", "/d/large": large}
    staged = place.stage(InputFile("in", "/d", True, place.write(files)))
    assert {path: Path(staged.folder + "/in" + path).read_bytes() for path in files} == files


def test_empty_directory_of_input_exists(place: Stage) -> None:
    staged = place.stage(InputFile("in", "/", True, ()), InputFile("deep", "/x/y", True, ()))
    assert os.path.isdir(f"{staged.folder}/in")
    assert os.path.isdir(f"{staged.folder}/deep/x/y")


def test_files_without_their_content_are_empty_and_known(place: Stage) -> None:
    ((path, content),) = files = place.write({"/a/b.txt": b"hello"})
    staged = place.stage(InputFile("data", path, False, files, empty=True), InputFile("whole", path, False, files))
    assert staged.problem is None
    assert Path(staged.folder, "data/a/b.txt").read_bytes() == b""
    assert Path(staged.folder, "whole/a/b.txt").read_bytes() == b"hello"
    assert (staged.originals.contents["/data/a/b.txt"], set(staged.originals.empty)) == (content, {"/data/a/b.txt"})
    assert staged.size_bytes == 5


def test_file_that_is_wanted_with_and_without_its_content_under_one_name_is_refused(place: Stage) -> None:
    files = place.write({"/a": b"hello"})
    problem = place.stage(InputFile("data", "/a", False, files, empty=True), InputFile("data", "/a", False, files)).problem
    assert isinstance(problem, ExecutionError)
    assert problem.code == "input-conflict"


def test_staged_files_have_the_time_of_their_content_within_one_second(place: Stage) -> None:
    files = place.write({"/f": b"x", "/g": b"y", "/same": b"x"})
    staged = place.stage(InputFile("in", "/", True, files))
    times = [os.stat(f"{staged.folder}/in{path}").st_mtime_ns for path in ("/f", "/g", "/same")]
    assert times == [staged_time_ns(content) for _, content in files]
    assert times[0] == times[2] != times[1]
    assert {time // 10**9 for time in times} == {946_684_800}


def test_environment_names_the_path_of_each_input(place: Stage) -> None:
    task = DatumTask("ab" * 32, 0, (InputFile("data", "/a/b", False, ()), InputFile("all", "/", True, ())), {"data_COMMIT": "c1", "TZ": "UTC"})
    environment = build_environment({"PATH": "/bin", "TZ": "CET"}, task, "/pfs")
    assert environment == {"PATH": "/bin", "TZ": "UTC", "data_COMMIT": "c1", "data": "/pfs/data/a/b", "all": "/pfs/all", "PFS_ROOT": "/pfs"}


def test_env_file_gives_a_shell_the_same_values(place: Stage) -> None:
    awkward = 'it\'s $HOME "quoted"\nsecond line'
    staged = place.stage(InputFile("data", "/f", False, place.write({"/f": b""})), environment={"AWKWARD": awkward})
    script = f'. {staged.folder}/.env; python3 -c \'import json, sys; print(json.dumps(sys.argv[1:]))\' "$AWKWARD" "$data" "$PFS_ROOT"'
    said = subprocess.run(["sh", "-c", script], check=True, capture_output=True).stdout
    assert json.loads(said) == [awkward, "/pfs/data/f", "/pfs"]


def test_full_disk_is_no_failure_of_the_datum(tmp_path: Path) -> None:
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", STAGE_ON_A_SMALL_DISK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout.startswith("mounted"):
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip().splitlines()[-1:]}")
    assert done.stdout.splitlines() == ["mounted", "StorageError storage-full"], done.stderr


def test_corrupt_object_is_no_failure_of_the_datum(place: Stage) -> None:
    files = place.write({"/f": b"some bytes"})
    for path in place.store_folder.glob("objects/*/*"):
        path.chmod(0o600)
        path.write_bytes(b"other bytes" + path.read_bytes()[11:])
    problem = place.stage(InputFile("in", "/f", False, files)).problem
    assert isinstance(problem, StorageError)
    assert problem.code == "object-corrupt"


def test_name_that_the_disk_refuses_is_the_problem_of_the_datum(place: Stage) -> None:
    path = "/" + "x" * 300
    problem = place.stage(InputFile("in", path, False, place.write({path: b""}))).problem
    assert isinstance(problem, ExecutionError)
    assert problem.code == "stage-failed"
    assert "File name too long" in problem.message
