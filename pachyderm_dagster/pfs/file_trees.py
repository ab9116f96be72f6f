"""The files of one version, however they are kept: in a tree of files, or made from what else a commit holds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs import reading
from pachyderm_dagster.pfs.entries import FileInfo
from pachyderm_dagster.pfs.model import RepoName, RepoType
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.packs import PackWriter
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_NEVER = 1 << 62


class FileTree(Protocol):
    """Reads files by path or pattern. Every method raises what the function of its name in `reading` raises; tables of entries have ENTRIES's columns."""

    def inspect(self, path: str) -> FileInfo:
        """One file or directory."""
        ...

    def list(self, path: str) -> Iterator[pa.Table]:
        """Entries of what is directly in a directory, by name, some at a time; of a file the file itself."""
        ...

    def glob(self, pattern: str) -> pa.Table:
        """Entries of what a pattern matches, in key order."""
        ...

    def walk(self, path: str) -> pa.Table:
        """Entries of a directory and everything below it, in key order; of a file the file itself."""
        ...

    def find_content(self, path: str) -> Content:
        """Where the content of one file lies, named by its path or by a pattern that matches it alone."""
        ...

    def find_contents(self, paths: Iterable[str]) -> dict[str, Content]:
        """The same of several, by their cleaned paths."""
        ...

    def rows_below(self, path: str) -> pa.Table:
        """The file rows of a file, of everything below a directory, or of all that a pattern matches, in key order."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """A tree of files. `label` names the version in messages, as the caller knows it."""

    trees: Trees
    root: TreeRoot
    label: str

    def inspect(self, path: str) -> FileInfo:
        return reading.inspect_file(self.trees, self.root, path, label=self.label)

    def list(self, path: str) -> Iterator[pa.Table]:
        return reading.list_entries(self.trees, self.root, path, label=self.label)

    def glob(self, pattern: str) -> pa.Table:
        return reading.glob_files(self.trees, self.root, pattern)

    def walk(self, path: str) -> pa.Table:
        return reading.walk(self.trees, self.root, path, label=self.label)

    def find_content(self, path: str) -> Content:
        return reading.get_content(self.trees, self.root, path, label=self.label)

    def find_contents(self, paths: Iterable[str]) -> dict[str, Content]:
        return reading.get_contents(self.trees, self.root, paths, label=self.label)

    def rows_below(self, path: str) -> pa.Table:
        return reading.rows_below(self.trees, self.root, path, label=self.label)


def check_keeps_files(repo: RepoName) -> None:
    """Does nothing when the commits of a repo hold trees of files.

    Raises:
        InvalidError: `meta-repo`.
    """
    if repo.type is RepoType.META:
        ways = "`list`, `glob`, `inspect`, `get` and `copy file` read them, one commit at a time"
        raise InvalidError("meta-repo", f"'{repo}' holds what was noted of datums, whose files are made when they are read; {ways}")


def in_memory(trees: Trees, rows: pa.Table, label: str) -> StoredFiles:
    """A tree of these file rows that is stored nowhere; what its files hold is where the rows say."""
    packs = PackWriter(trees.store, _NEVER)
    root = trees.build(rows, packs)
    return StoredFiles(trees.pending(packs), root, label)
