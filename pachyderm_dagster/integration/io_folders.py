"""Directories of commits, as values of Python are kept in them, and copies of them on this machine."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from pachyderm_dagster.client.client import commit_reference
from pachyderm_dagster.client.filesystem import PfsFileSystem
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.entries import find_entry
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.paths import ROOT, path_of
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.export import export_files
from pachyderm_dagster.storage.rows import contents_of


@dataclass(slots=True)
class Checkouts:
    """Folders of this machine that hold directories of commits: until `close`, or as long as the process lives."""

    _folder: str | None = None
    _made: dict[tuple[str, str], Path] = field(default_factory=dict)

    def get(self, folder: "StoredFolder") -> Path:
        """The local copy of a directory; of one directory always the same, so nobody should change it."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="pachyderm-dagster-")
            atexit.register(_remove, self._folder, os.getpid())
        key = str(folder.commit), folder.path
        if key not in self._made:
            target = Path(self._folder, str(len(self._made)))
            target.mkdir()
            folder.export(target)
            self._made[key] = target
        return self._made[key]

    def close(self) -> None:
        """Removes them."""
        if self._folder is not None:
            _remove(self._folder, os.getpid())
        self._folder, self._made = None, {}


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # not in a forked child
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class StoredFolder:
    """A directory of a commit, `/` for all of it, with the files below it.

    Args:
        home: where the commit is, for readers that open it themselves.
    """

    pfs: Pfs
    home: str
    commit: Commit
    path: str
    contents: Mapping[str, Content]
    """By their paths within the directory, `a/b.csv`."""
    rows: pa.Table

    @staticmethod
    def open(pfs: Pfs, home: str, commit: Commit, path: str) -> "StoredFolder":
        """Raises NotFoundError `file-not-found`, when the commit has no such directory; StateError `commit-forgotten`."""
        rows = pfs.files(commit_reference(commit)).rows_below(path)
        start = 1 if path == ROOT else len(path) + 1
        names = [path_of(key)[start:] for key in rows.column("key").to_pylist()]
        return StoredFolder(pfs, home, commit, path, dict(zip(names, contents_of(rows), strict=True)), rows)

    @property
    def size_bytes(self) -> int:
        """The sum of the files."""
        return sum(content.size for content in self.contents.values())

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return self.pfs.reader.read(self.contents[name])

    def read_all(self) -> dict[str, bytes]:
        """The bytes of every file, by its path within the directory."""
        return dict(zip(self.contents, self.pfs.reader.read_many(list(self.contents.values())), strict=True))

    def export(self, target: Path) -> None:
        """Writes the files below a folder of this machine."""
        export_files(self.pfs.store, self.rows, [str(target / name) for name in self.contents])

    def urls(self, names: Sequence[str]) -> list[str]:
        """What files are called in the file system `pfs`."""
        inside = "" if self.path == ROOT else self.path
        return [f"{self.commit.repo.project}/{self.commit.repo.name}@{self.commit.id}{inside}/{name}" for name in names]

    def __str__(self) -> str:
        return f"{self.commit}:{self.path}"


@dataclass(frozen=True, slots=True)
class ReadFolder:
    """A directory of a commit as it is read as one value."""

    stored: StoredFolder
    checkouts: Checkouts

    @property
    def names(self) -> Sequence[str]:
        return list(self.stored.contents)

    def read(self, name: str) -> bytes:
        return self.stored.read(name)

    def read_all(self) -> dict[str, bytes]:
        return self.stored.read_all()

    def local(self) -> Path:
        return self.checkouts.get(self.stored)

    def dataset(self, names: Sequence[str], format: str) -> ds.Dataset:
        return ds.dataset(self.stored.urls(names), format=format, filesystem=PfsFileSystem(self.stored.home))

    def __str__(self) -> str:
        return str(self.stored)


def find_hash(pfs: Pfs, commit: Commit, folder: str) -> str | None:
    """The hash of what a directory of a commit holds; None when there is no such directory. The root is always there."""
    found = find_entry(pfs.trees, pfs.root(commit_reference(commit)), folder)
    return None if found is None else found.hash
