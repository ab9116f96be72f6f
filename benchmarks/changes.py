"""What a change costs inside the process: one file, a hundred files, many commits in a row, differences.

Aims, on 1,000,000 files: one changed file at most 20 ms, 3 fsyncs, 256 KiB written, and 1.5 times the same on 10,000; 100 files spread over it 150 ms;
of 1,000 one-file commits the last 100 at most 1.2 times the first 100; differences of neighbours 10 ms for one file, 90 ms for 100.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from benchmarks.measuring import line, milliseconds, own_peak_mib, places
from pachyderm_dagster.storage.content import EMPTY_CONTENT
from pachyderm_dagster.storage.rows import FILE_ROWS, content_array
from pachyderm_dagster.storage.trees import Trees
from pachyderm_dagster.workspace import Workspace, open_workspace

SMALL, LARGE = 10_000, 1_000_000
ROUNDS = 21
IN_A_ROW = 1000
ONE_COMMIT = "one-commit"
"""The argument with which this script makes one commit and ends, for `strace` to count its fsyncs."""


def main() -> None:
    """Prints the figures, on disk and on tmpfs."""
    if sys.argv[1:2] == [ONE_COMMIT]:
        commit_for_strace(sys.argv[2])
        return
    for folder in places():
        workspace = open_workspace({"PACHYDERM_HOME": str(folder / "home")})
        for size in (SMALL, LARGE):
            fill(workspace, size)
        measure_one(workspace)
        measure_hundred(workspace)
        measure_differences(workspace)
        measure_row(workspace)
        workspace.close()
        count_fsyncs(folder)
        line("peak memory of all that", own_peak_mib(), unit="MiB")


def measure_one(workspace: Workspace) -> None:
    """One changed file on both sizes, in turns."""
    times: dict[int, list[float]] = {SMALL: [], LARGE: []}
    for number in range(ROUNDS):
        for size, found in times.items():
            found += milliseconds(lambda _, size=size, number=number: change(workspace, size, [number * 61_357]), 1)  # type: ignore[misc]
    small, large = (statistics.median(times[size][1:]) for size in (SMALL, LARGE))
    line(f"commit one changed file on {LARGE:,}", large, 20, unit="ms", detail=f"on {SMALL:,}: {small:.1f} ms")
    line("the same / on 10,000", large / small, 1.5)
    before = written_bytes()
    change(workspace, LARGE, [77])
    line("its writes", (written_bytes() - before) / 1024, 256, unit="KiB")


def measure_hundred(workspace: Workspace) -> None:
    """A hundred files spread over the whole repo."""
    times = milliseconds(lambda number: change(workspace, LARGE, [number + at * (LARGE // 100) for at in range(100)]), 7)
    line(f"commit 100 files spread over {LARGE:,}", statistics.median(times), 150, unit="ms")


def measure_differences(workspace: Workspace) -> None:
    """Neighbouring commits compared, with nothing cached."""
    reference = f"files-{LARGE}@master"
    for changed, aim in ((1, 10), (100, 90)):
        change(workspace, LARGE, [3 + at * (LARGE // 100) for at in range(changed)])
        new, old = workspace.pfs.root(reference), workspace.pfs.root(f"{reference}^")
        times = milliseconds(lambda _, old=old, new=new: Trees(workspace.store, FILE_ROWS).diff(old, new), 7)  # type: ignore[misc]
        line(f"diff of neighbours on {LARGE:,}, {changed} changed", statistics.median(times), aim, unit="ms")


def measure_row(workspace: Workspace) -> None:
    """Commits that follow one another: what the first ones cost, and the last ones. Each changes one of 10,000 files, so that only the history grows."""
    times = milliseconds(lambda number: change(workspace, SMALL, [number * 7]), IN_A_ROW)
    first, last = statistics.median(times[:100]), statistics.median(times[-100:])
    line(f"{IN_A_ROW:,} one-file commits in a row: last 100 / first 100", last / first, 1.2, detail=f"{first:.1f} ms, {last:.1f} ms")


def count_fsyncs(folder: Path) -> None:
    """The fsyncs of one commit, as the kernel sees them."""
    if shutil.which("strace") is None:
        line("fsyncs of a commit: strace is not installed", None)
        return
    trace = folder / "trace"
    calls = "trace=fsync,fdatasync,syncfs,sync,write"
    words = ["strace", "-f", "-qq", "-e", calls, "-o", str(trace), sys.executable, __file__, ONE_COMMIT, str(folder / "home")]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    # Between the marks that `commit_for_strace` writes.
    text = trace.read_text()
    inside = text[text.index("commit begins") : text.index("commit ends")]
    line("fsyncs of that commit", len(re.findall(r"(?:fsync|fdatasync|syncfs|sync)\(", inside)), 3)


def commit_for_strace(home: str) -> None:
    """A one-file commit between two marks on standard output."""
    workspace = open_workspace({"PACHYDERM_HOME": home})
    change(workspace, LARGE, [100])
    os.write(1, b"commit begins\n")
    change(workspace, LARGE, [200])
    os.write(1, b"commit ends\n")
    workspace.close()


def fill(workspace: Workspace, size: int) -> None:
    """Commits so many files; what is in them does not matter here."""
    workspace.pfs.create_repo(f"files-{size}")
    paths = pa.array([path_of(number) for number in range(size)])
    columns = content_array([EMPTY_CONTENT] * size).flatten()
    with workspace.pfs.modify_file(f"files-{size}@master") as files:
        files.put_rows(pa.table([paths, *columns], ["path", "size", "hash", "refs"]))


def change(workspace: Workspace, size: int, numbers: list[int]) -> None:
    """Commits new content for some of the files."""
    with workspace.pfs.modify_file(f"files-{size}@master") as files:
        for number in numbers:
            files.put_bytes(path_of(number % size), os.urandom(200))


def path_of(number: int) -> str:
    """The path of the file with this number."""
    return f"/dir{number % 100}/file{number:07}"


def written_bytes() -> int:
    """What this process has written by system calls so far."""
    found = re.search(r"wchar: (\d+)", Path("/proc/self/io").read_text())
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    main()
