"""What looking costs: listing 100,000 files against git, a pattern and one file among 1,000,000 inside the process.

Aims: `list file -o json` at most `git ls-files -s` + 0.3 s; a pattern in one folder of a million files 10 ms; one of a million files 3 ms.
"""

import shutil
import statistics
from pathlib import Path

from benchmarks.changes import LARGE, fill
from benchmarks.measuring import PACHCTL, command, find_peer, in_turns, line, make_files, milliseconds, places
from pachyderm_dagster.workspace import open_workspace

FILES = 100_000


def main() -> None:
    """Prints the figures, on disk and on tmpfs."""
    for folder in places():
        measure_listing(folder)
        measure_million(folder)


def measure_listing(folder: Path) -> None:
    """The whole listing as JSON, whole commands."""
    if find_peer("git") is None:
        return
    source = folder / "source"
    make_files(source, FILES, 100)
    command("git", "init", "--quiet", folder=source)
    command("git", "add", ".", folder=source)
    home = {"PACHYDERM_HOME": str(folder / "home")}
    command(*PACHCTL, "create", "repo", "data", folder=folder, environment=home)
    shutil.move(source / ".git", folder / "git")
    command(*PACHCTL, "put", "file", "data@master", "-r", "-f", source, folder=folder, environment=home)
    contestants = {
        "git": lambda: command("git", f"--git-dir={folder}/git", "ls-files", "-s", folder=source),
        "ours": lambda: command(*PACHCTL, "glob", "file", "data@master:/*/*", "-o", "json", folder=folder, environment=home),
    }
    found = in_turns(contestants, rounds=5)
    git, ours = found["git"].seconds, found["ours"].seconds
    detail = f"{ours:.2f} s, peak {found['ours'].peak_mib:.0f} MiB, git {git:.2f} s"
    line(f"list {FILES:,} files as JSON / git ls-files -s + 0.3 s", ours / (git + 0.3), 1.0, detail=detail)


def measure_million(folder: Path) -> None:
    """One folder by a pattern and one file, with nothing cached but what the look before needed."""
    workspace = open_workspace({"PACHYDERM_HOME": str(folder / "million")})
    fill(workspace, LARGE)
    reference = f"files-{LARGE}@master"
    found = len(workspace.pfs.glob_file(reference, "/dir7/*"))
    assert found == LARGE // 100, found
    globs = milliseconds(lambda number: workspace.pfs.glob_file(reference, f"/dir{number}/*"), 21)
    line(f"glob /dir7/* on {LARGE:,}", statistics.median(globs[1:]), 10, unit="ms", detail=f"{found:,} files")
    looks = milliseconds(lambda number: workspace.pfs.inspect_file(f"{reference}:/dir{number * 7 % 100}/file{number * 7 % 100 + 4100:07}"), 101)
    line(f"inspect one file on {LARGE:,}", statistics.median(looks[1:]), 3, unit="ms")
    workspace.close()


if __name__ == "__main__":
    main()
