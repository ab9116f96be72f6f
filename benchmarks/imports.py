"""Whole commands on many small files: import against tar, git, restic, borg and DVC, through S3 against the folder, and back to a folder against `tar xf`.

Aims: 100,000 × 1 KiB at most 2.5 of `tar cf` + sync, 0.25 of git, through S3 1.5 of the folder; inside the process 1.5 of tar; read back 1.3 of `tar xf`;
1,000,000 × 200 B at most 2.5 of tar, 10 times the 100,000, 512 MiB.

The S3 figure needs TEST_STORAGE_S3_URL and the usual AWS_* variables (`tests/services/run` says how a server is had).
"""

import contextlib
import filecmp
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measuring import PACHCTL, Taken, command, find_peer, in_turns, line, make_files, places, work
from pachyderm_dagster.cli.main import main as pachctl

FILES, FILE_BYTES = 100_000, 1024
MANY_FILES, MANY_FILE_BYTES = 1_000_000, 200
homes = itertools.count()


def main() -> None:
    """Prints the figures, on disk and on tmpfs."""
    for folder in places():
        source = folder / "source"
        make_files(source, FILES, FILE_BYTES)
        small = measure_import(folder, source)
        measure_peers(folder, source, small)
        measure_s3(folder, source)
        measure_read_back(folder, source)
        shutil.rmtree(source)
        measure_many(folder, small)


def measure_import(folder: Path, source: Path) -> Taken:
    """The put of a folder beside tar of the same folder, as a command and inside this process."""
    found = in_turns({"tar": lambda: tar(folder, source), "put": lambda: put(folder, source), "inside": lambda: put_inside(folder, source)})
    beside = f"tar {found['tar'].seconds:.2f} s"
    ratio = found["put"].seconds / found["tar"].seconds
    line(f"import {FILES:,} x {FILE_BYTES} B, whole command / tar cf + sync", ratio, 2.5, detail=f"{told(found['put'])}, {beside}")
    line("the same inside the process", found["inside"].seconds / found["tar"].seconds, 1.5, detail=f"{found['inside'].seconds:.2f} s")
    return found["put"]


def measure_peers(folder: Path, source: Path, ours: Taken) -> None:
    """Other programs that keep versions, once each."""
    for name, importing in (("git", git), ("restic", restic), ("borg", borg), ("dvc", dvc)):
        if find_peer(name) is None:
            continue
        work_folder = folder / name
        shutil.copytree(source, work_folder / "source")
        os.sync()
        taken = importing(work_folder)
        shutil.rmtree(work_folder)
        line(f"the same / {name}", ours.seconds / taken.seconds, 0.25 if name == "git" else None, detail=f"{name} {told(taken)}")


def measure_s3(folder: Path, source: Path) -> None:
    """The same put into a bucket."""
    url = os.environ.get("TEST_STORAGE_S3_URL")
    if url is None:
        line("through S3: no server (TEST_STORAGE_S3_URL is not set)", None)
        return

    def into_bucket() -> Taken:
        number = next(homes)
        return put(folder, source, storage=f"{url}/benchmark-{os.getpid()}-{number}")

    found = in_turns({"folder": lambda: put(folder, source), "s3": into_bucket}, rounds=2)
    line("the same through S3 / into the folder", found["s3"].seconds / found["folder"].seconds, 1.5, detail=told(found["s3"]))


def measure_read_back(folder: Path, source: Path) -> None:
    """A commit written to a folder beside `tar xf`; what is written is compared once."""
    home = make_home(folder)
    command(*PACHCTL, "put", "file", "data@master", "-r", "-f", source, folder=folder, environment={"PACHYDERM_HOME": str(home)})
    archive, target = folder / "source.tar", folder / "target"
    command("tar", "cf", archive, "-C", source, ".", folder=folder)

    def read() -> Taken:
        with fresh(target):
            return command(*PACHCTL, "get", "file", "data@master:/", "-r", "-o", target, folder=folder, environment={"PACHYDERM_HOME": str(home)})

    def untar() -> Taken:
        with fresh(target):
            target.mkdir()
            return command("tar", "xf", archive, "-C", target, folder=folder)

    found = in_turns({"tar": untar, "read": read})
    command(*PACHCTL, "get", "file", "data@master:/", "-r", "-o", target, folder=folder, environment={"PACHYDERM_HOME": str(home)})
    for place in sorted(os.listdir(source)):
        _, different, missing = filecmp.cmpfiles(source / place, target / place, os.listdir(source / place), shallow=False)
        if different or missing:
            raise SystemExit(f"{place}: {len(different)} files differ, {len(missing)} are missing")
    shutil.rmtree(target)
    ratio = found["read"].seconds / found["tar"].seconds
    line(f"read {FILES:,} files back to a folder / tar xf", ratio, 1.3, detail=f"{told(found['read'])}, tar {found['tar'].seconds:.2f} s")
    shutil.rmtree(home)
    archive.unlink()


def measure_many(folder: Path, small: Taken) -> None:
    """A million files."""
    source = folder / "many"
    make_files(source, MANY_FILES, MANY_FILE_BYTES)
    found = in_turns({"tar": lambda: tar(folder, source), "put": lambda: put(folder, source)}, rounds=1)
    beside = f"tar {found['tar'].seconds:.2f} s"
    ratio = found["put"].seconds / found["tar"].seconds
    line(f"import {MANY_FILES:,} x {MANY_FILE_BYTES} B, whole command / tar cf + sync", ratio, 2.5, detail=f"{told(found['put'])}, {beside}")
    line(f"the same / import of {FILES:,}", found["put"].seconds / small.seconds, 10)
    line("its peak memory", found["put"].peak_mib, 512, unit="MiB")
    shutil.rmtree(source)


def tar(folder: Path, source: Path) -> Taken:
    """`tar cf`, durable."""
    archive = folder / "all.tar"
    taken = command("sh", "-c", f"tar cf {archive} {source.name} && sync {archive}", folder=source.parent)
    archive.unlink()
    return taken


def put(folder: Path, source: Path, *, storage: str | None = None) -> Taken:
    """`pachctl put file` into a new repo."""
    home = make_home(folder, storage=storage)
    taken = command(*PACHCTL, "put", "file", "data@master", "-r", "-f", source, folder=folder, environment=environment_of(home, storage))
    shutil.rmtree(home)
    return taken


def put_inside(folder: Path, source: Path) -> Taken:
    """The same without the start of a process."""
    home = make_home(folder)
    os.environ["PACHYDERM_HOME"] = str(home)
    taken = work(lambda: pachctl(["put", "file", "data@master", "-r", "-f", str(source), "--no-progress"]) and sys.exit("put file failed"))
    shutil.rmtree(home)
    return taken


def git(folder: Path) -> Taken:
    """`git add` and `git commit`."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "gc.auto=0")
    command("git", "init", "--quiet", folder=folder)
    return together(lambda: command("git", "add", "source", folder=folder), lambda: command("git", *identity, "commit", "--quiet", "-m", "a", folder=folder))


def restic(folder: Path) -> Taken:
    """`restic backup` into a repository without a cache."""
    environment = {"RESTIC_REPOSITORY": str(folder / "repository"), "RESTIC_PASSWORD": "password"}
    command("restic", "init", folder=folder, environment=environment)
    return command("restic", "--no-cache", "backup", "source", folder=folder, environment=environment)


def borg(folder: Path) -> Taken:
    """`borg create` without encryption and compression."""
    environment = {"BORG_BASE_DIR": str(folder / "base")}
    command("borg", "init", "-e", "none", "repository", folder=folder, environment=environment)
    return command("borg", "create", "-C", "none", "repository::a", "source", folder=folder, environment=environment)


def dvc(folder: Path) -> Taken:
    """`dvc add` of the folder."""
    program = find_peer("dvc")
    assert program is not None
    command(program, "init", "--no-scm", "--quiet", folder=folder)
    return command(program, "add", "--quiet", "source", folder=folder)


def together(*parts: Callable[[], Taken]) -> Taken:
    """Several commands as one."""
    taken = [part() for part in parts]
    return Taken(sum(part.seconds for part in taken), max(part.peak_mib for part in taken))


def make_home(folder: Path, *, storage: str | None = None) -> Path:
    """A new home with the repo `data`."""
    home = folder / f"home-{next(homes)}"
    command(*PACHCTL, "create", "repo", "data", folder=folder, environment=environment_of(home, storage))
    return home


def environment_of(home: Path, storage: str | None) -> dict[str, str]:
    """What names a home to a command."""
    return {"PACHYDERM_HOME": str(home), **({"PACHYDERM_STORAGE_URL": storage} if storage else {})}


@contextlib.contextmanager
def fresh(target: Path) -> Iterator[None]:
    """Removes what is written in the block, after its time was taken."""
    try:
        yield
    finally:
        shutil.rmtree(target)


def told(taken: Taken) -> str:
    """Seconds and peak memory, to print."""
    return f"{taken.seconds:.2f} s, peak {taken.peak_mib:.0f} MiB"


if __name__ == "__main__":
    main()
