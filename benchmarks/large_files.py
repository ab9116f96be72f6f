"""One large file: imported against `cp` + sync and borg, again with a byte inserted in its middle, and read back.

Aims: 2 GiB at most 2.0 of `cp` + sync and 0.5 of borg; the inserted byte stores at most 4 MiB more.

Usage: python benchmarks/large_files.py [MIB]   (2048 unless told)
"""

import itertools
import os
import random
import shutil
import sys
from pathlib import Path

from benchmarks.measuring import PACHCTL, Taken, command, find_peer, in_turns, line, places

MIB = 1024 * 1024
homes = itertools.count()


def main() -> None:
    """Prints the figures, on disk and on tmpfs."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
    for folder in places():
        source = folder / "large"
        make_large(source, size)
        ours = measure_import(folder, source, size)
        measure_borg(folder, source, ours)
        measure_inserted(folder, source)


def measure_import(folder: Path, source: Path, size: int) -> Taken:
    """The put of the file beside a copy of it."""
    copy = folder / "copy"

    def copied() -> Taken:
        taken = command("sh", "-c", f"cp {source} {copy} && sync {copy}", folder=folder)
        copy.unlink()
        return taken

    def put() -> Taken:
        home = folder / f"home-{next(homes)}"
        taken = put_into(home, source)
        shutil.rmtree(home)
        return taken

    found = in_turns({"cp": copied, "put": put}, rounds=3)
    detail = f"{found['put'].seconds:.2f} s, peak {found['put'].peak_mib:.0f} MiB, cp {found['cp'].seconds:.2f} s"
    line(f"import one file of {size:,} MiB, whole command / cp + sync", found["put"].seconds / found["cp"].seconds, 2.0, detail=detail)
    return found["put"]


def measure_borg(folder: Path, source: Path, ours: Taken) -> None:
    """The same with borg, once."""
    if find_peer("borg") is None:
        return
    environment = {"BORG_BASE_DIR": str(folder / "base")}
    command("borg", "init", "-e", "none", folder / "borg", folder=folder, environment=environment)
    taken = command("borg", "create", "-C", "none", f"{folder / 'borg'}::a", source, folder=folder, environment=environment)
    shutil.rmtree(folder / "borg")
    line("the same / borg", ours.seconds / taken.seconds, 0.5, detail=f"borg {taken.seconds:.2f} s, peak {taken.peak_mib:.0f} MiB")


def measure_inserted(folder: Path, source: Path) -> None:
    """The file with one byte more in its middle, into the repo that holds it; and back."""
    home = folder / f"home-{next(homes)}"
    put_into(home, source)
    before = stored_bytes(home)
    inserted = folder / "inserted"
    with open(source, "rb") as read, open(inserted, "wb") as write:
        # In pieces: the peak memory of a command is never less than what this process had when it started it.
        for _ in range(source.stat().st_size // 2 // MIB):
            write.write(read.read(MIB))
        write.write(b"!")
        shutil.copyfileobj(read, write, MIB)
    taken = put_into(home, inserted, target="data@master:/large")
    line("one byte inserted in its middle stores", (stored_bytes(home) - before) / MIB, 4, unit="MiB", detail=f"{taken.seconds:.2f} s")
    back = folder / "back"

    def read_back() -> Taken:
        taken = command(*PACHCTL, "get", "file", "data@master:/large", "-o", back, folder=folder, environment={"PACHYDERM_HOME": str(home)})
        command("cmp", inserted, back, folder=folder)
        back.unlink()
        return taken

    def copied() -> Taken:
        taken = command("cp", inserted, back, folder=folder)
        back.unlink()
        return taken

    found = in_turns({"cp": copied, "get": read_back}, rounds=2)
    line("read it back / cp", found["get"].seconds / found["cp"].seconds, detail=f"{found['get'].seconds:.2f} s, peak {found['get'].peak_mib:.0f} MiB")


def put_into(home: Path, source: Path, *, target: str = "data@master") -> Taken:
    """`pachctl put file`; makes the repo when the home is new."""
    environment = {"PACHYDERM_HOME": str(home)}
    if not home.exists():
        command(*PACHCTL, "create", "repo", "data", folder=home.parent, environment=environment)
    return command(*PACHCTL, "put", "file", target, "-f", source, folder=home.parent, environment=environment)


def make_large(path: Path, size: int) -> None:
    """A file of so many MiB that nothing can compress."""
    source = random.Random(3)
    with open(path, "wb") as file:
        for _ in range(size):
            file.write(source.randbytes(MIB))


def stored_bytes(home: Path) -> int:
    """What the objects of a home take."""
    return sum(os.stat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(home / "objects") for name in names)


if __name__ == "__main__":
    main()
