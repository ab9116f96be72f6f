"""Kills a process that opens a home, before each of its calls in turn: one that is not there yet, or one that an earlier release left.

Run as a program, as `rounds` is.
"""

import argparse
import itertools
import os
import shutil
import signal
import sqlite3
import sys
import tarfile
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from pachyderm_dagster.workspace import open_workspace
from tests.crash.killing import Killer, count_calls
from tests.crash.operations import prepare
from tests.crash.rounds import differences, fsck, get_ready, in_child, observe, opened, run_child

Rows = dict[str, list[str]]
Columns = dict[str, list[str]]


def kill_openings(home: Path, restore: Callable[[Path], object], check: Callable[[Path], None], *, every: int) -> int:
    """Opens what `restore` makes, killed at every call or some, and has what is left opened and checked; how many kills there were."""
    os.environ["PACHYDERM_HOME"] = str(home)
    for at in itertools.count(1, every):
        shutil.rmtree(home, ignore_errors=True)
        restore(home)
        child = os.fork()
        if child == 0:
            run_child(partial(open_killed, at))
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return (at - 1) // every
        assert os.WTERMSIG(status) == signal.SIGKILL
        try:
            in_child(check, home)
        except AssertionError as error:
            raise AssertionError(f"killed at call {at}:\n{error}") from None
    raise AssertionError("it ends when it is not killed")


def open_killed(at: int) -> None:
    killer = Killer()
    count_calls(killer)
    killer.arm(at)
    open_workspace(os.environ).close()


def check_new(home: Path) -> None:
    """It can be used as if nothing had been."""
    with opened(home) as workspace:
        world = prepare(workspace)
        assert not differences(world, observe(workspace))
    assert not fsck("--deep")


def check_old(home: Path, columns: Columns, before: Rows) -> None:
    """All rows and files are there, and the copy is whole or not there."""
    with opened(home) as workspace:
        for name, data in (("a", b"alpha\n"), ("b", b"beta\n"), ("c", b"gamma\n")):
            for branch in ("data@master", "copy@master"):
                assert b"".join(workspace.pfs.get_file(f"{branch}:/{name}.txt")) == data
        assert b"".join(workspace.pfs.get_file("data@work:/o.txt")) == b"open\n"
    assert rows_of(home / "metadata.db", columns) == before
    assert rows_of(home / "metadata.db.0001", columns) == before
    assert not list(home.glob("*.partial"))
    fsck("--fix")
    assert not fsck("--deep")


def columns_of(path: Path) -> Columns:
    """The tables that hold what users made."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if not name.startswith(("sqlite", "alembic"))]
        return {table: [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')] for table in tables if table != "lease"}


def rows_of(path: Path, columns: Columns) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        chosen = {table: ", ".join(f'"{name}"' for name in names) for table, names in columns.items()}
        return {table: sorted(map(repr, connection.execute(f'SELECT {names} FROM "{table}"'))) for table, names in chosen.items()}


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Kills a process that opens a home, at each of its calls.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--archive", type=Path, help="A home of an earlier release; without it, a new one is made.")
    parser.add_argument("--every", type=int, default=1, help="Only at one in so many calls.")
    asked = parser.parse_args(words)
    get_ready()
    home = asked.folder / "home"
    if asked.archive is None:
        kills = kill_openings(home, lambda _: None, check_new, every=asked.every)
    else:
        pattern = asked.folder / "pattern"
        with tarfile.open(asked.archive) as archive:
            archive.extractall(pattern, filter="data")
        columns = columns_of(pattern / "metadata.db")
        before = rows_of(pattern / "metadata.db", columns)
        kills = kill_openings(home, lambda place: shutil.copytree(pattern, place), lambda place: check_old(place, columns, before), every=asked.every)
    sys.stdout.write(f"{kills}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
