"""Whole commits: a folder of 100,000 files put by the command against `tar cf` + sync, and one changed file on 100,000 and on 1,000,000 files.

Aims: the command at most 2.5 of tar; one file under 20 ms inside the process, and the same for both sizes within 1.5.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from pachyderm_dagster.storage.content import EMPTY_CONTENT
from pachyderm_dagster.storage.rows import content_array
from pachyderm_dagster.workspace import Workspace, open_workspace

FOLDERS, FILES, FILE_BYTES = 100, 1000, 1024
SIZES = (100_000, 1_000_000)
IMPORTS, CHANGES = 3, 15
PACHCTL = (sys.executable, "-c", "import sys; from pachyderm_dagster.cli.main import main; sys.exit(main())")


def main() -> None:
    """Prints seconds and ratios, on disk and where there is one on tmpfs."""
    for place in (None, "/dev/shm"):
        if place is None or Path(place).is_dir():
            with tempfile.TemporaryDirectory(dir=place) as folder:
                print(f"on {place or 'disk'}:")
                imports(Path(folder))
                changes(Path(folder))


def imports(folder: Path) -> None:
    """The put of a folder beside tar of the same folder, in turns."""
    source = folder / "source"
    for number in range(FOLDERS):
        (source / f"{number:02}").mkdir(parents=True)
        for file in range(FILES):
            (source / f"{number:02}" / f"{file:04}").write_bytes(os.urandom(FILE_BYTES))
    pairs = []
    for number in range(IMPORTS):
        environment = {**os.environ, "PACHYDERM_HOME": str(folder / f"home-{number}")}
        subprocess.run((*PACHCTL, "create", "repo", "data"), env=environment, check=True)
        tar = seconds(lambda: run(["sh", "-c", "tar cf all.tar source && sync all.tar"], folder))
        (folder / "all.tar").unlink()
        pairs.append((tar, seconds(lambda env=environment: run([*PACHCTL, "put", "file", "data@master", "-r", "-f", "source"], folder, env))))  # type: ignore[misc]
    tar, put = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(put / tar for tar, put in pairs)
    print(f"  import of {FOLDERS * FILES} files: tar + sync {tar:.2f} s, pachctl put file {put:.2f} s: {ratio:.2f} (aim 2.5)")


def changes(folder: Path) -> None:
    """One changed file a commit, on a small and a large repo in turns."""
    workspace = open_workspace({"PACHYDERM_HOME": str(folder / "changes")})
    for size in SIZES:
        workspace.pfs.create_repo(f"files-{size}")
        fill(workspace, size)
        change(workspace, size, 0)
    times: dict[int, list[float]] = {size: [] for size in SIZES}
    for number in range(1, CHANGES + 1):
        for size in SIZES:
            times[size].append(seconds(lambda size=size, number=number: change(workspace, size, number)))  # type: ignore[misc]
    workspace.close()
    small, large = (statistics.median(times[size]) * 1000 for size in SIZES)
    print(f"  commit of one changed file: on {SIZES[0]} files {small:.1f} ms, on {SIZES[1]} files {large:.1f} ms (aim 20): ratio {large / small:.2f} (aim 1.5)")


def fill(workspace: Workspace, size: int) -> None:
    """Commits so many files; what is in them does not matter here."""
    paths = pa.array([f"/{number % 100:02}/{number:07}" for number in range(size)])
    columns = content_array([EMPTY_CONTENT] * size).flatten()
    with workspace.pfs.modify_file(f"files-{size}@master") as files:
        files.put_rows(pa.table([paths, *columns], ["path", "size", "hash", "refs"]))


def change(workspace: Workspace, size: int, number: int) -> None:
    """Commits new content for one of the files."""
    at = number * 61_357 % size
    with workspace.pfs.modify_file(f"files-{size}@master") as files:
        files.put_bytes(f"/{at % 100:02}/{at:07}", b"changed %d" % number)


def run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Runs a command without its output."""
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
