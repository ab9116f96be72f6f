"""What differs between two versions of a path, or between two paths, and how the contents differ."""

import difflib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.pfs import commits, reading, references
from pachyderm_dagster.pfs.ancestry import find_readable
from pachyderm_dagster.pfs.client import EMPTY, Pfs
from pachyderm_dagster.pfs.differences import FileDiff, FileOp, diff_trees
from pachyderm_dagster.pfs.entries import DIRECTORY, FileInfo, file_entries, file_infos
from pachyderm_dagster.pfs.paths import clean_path
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.storage.trees import TreeRoot

LARGEST_TEXT = 4 * 1024 * 1024
"""Bytes above which contents are not compared line by line: nobody reads that."""


@dataclass(frozen=True, slots=True)
class Side:
    """A path in a version."""

    label: str
    root: TreeRoot
    path: str


def side(pfs: Pfs, reference: str) -> Side:
    """What `REPO@REF[:PATH]` names. Errors as `Pfs.root`, and `path-invalid`."""
    return Side(reference.partition(":")[0], pfs.root(reference), clean_path(pfs.parse(reference).path or "/"))


def parent_side(pfs: Pfs, new: str) -> Side:
    """The same path in what the commit that `new` names was made upon: its parent, but for failed ones; nothing when there is none."""
    path = clean_path(pfs.parse(new).path or "/")
    with pfs.database.read() as txn:
        commit = commits.get_commit(txn, references.find_commit(txn, pfs.parse(new)))
        parent = None if commit.parent is None else references.find_commit(txn, Reference(commit.repo, commit.parent))
        readable = find_readable(txn, parent)
        if readable is None:
            return Side("nothing", EMPTY, path)
        base = commits.get_commit(txn, readable.id)
        commits.check_content(base)
    return Side(str(base), EMPTY if base.tree is None else TreeRoot.decode(base.tree), path)


def differences(pfs: Pfs, old: Side, new: Side, *, shallow: bool) -> list[FileDiff]:
    """The files and directories that differ; of two different paths the files only.

    Raises:
        NotFoundError: `file-not-found`, when neither side has the path.
    """
    if old.path == new.path:
        return diff_trees(pfs.trees, old.root, new.root, new.path, label=f"{new.label} or {old.label}", shallow=shallow)
    before, after = _files(pfs, old), _files(pfs, new)
    found = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if shallow and "/" in name:
            continue
        if one is None or other is None:
            found.append(FileDiff(FileOp.ADDED if one is None else FileOp.DELETED, other, one))
        elif one.hash != other.hash:
            found.append(FileDiff(FileOp.CHANGED, other, one))
    return found


def content_lines(pfs: Pfs, old: Side, new: Side, difference: FileDiff, program: str | None) -> Iterator[str]:
    """How the contents of one file differ, as `diff -u` shows it, or as `program` does; nothing for directories.

    Raises:
        ExecutionError: `diff-command-failed`, when the program cannot be started or fails.
    """
    shown = difference.new or difference.old
    assert shown is not None
    if shown.type == DIRECTORY:
        return
    sides = ((old, difference.old), (new, difference.new))
    if program is not None:
        yield from _run(program, shown.path, [_content(pfs, at, file) for at, file in sides])
        return
    names = [f"{at.label}:{file.path}" if file is not None else "/dev/null" for at, file in sides]
    if any(file is not None and file.size_bytes > LARGEST_TEXT for _, file in sides):
        yield f"{' and '.join(names)} differ"
        return
    try:
        before, after = (_content(pfs, at, file).decode().splitlines() for at, file in sides)
    except UnicodeDecodeError:
        yield f"{' and '.join(names)} differ"
        return
    yield from difflib.unified_diff(before, after, names[0], names[1], lineterm="")


def _files(pfs: Pfs, at: Side) -> dict[str, FileInfo]:
    """The files of a side by their path below it; one file alone has the path ''."""
    rows = reading.rows_below(pfs.trees, at.root, at.path, label=at.label)
    return {file.path.removeprefix(at.path).removeprefix("/"): file for file in file_infos(file_entries(rows))}


def _content(pfs: Pfs, at: Side, file: FileInfo | None) -> bytes:
    return b"" if file is None else pfs.reader.read(reading.get_content(pfs.trees, at.root, file.path, label=at.label))


def _run(program: str, path: str, contents: Sequence[bytes]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, content in zip(("old", "new"), contents, strict=True):
            file = Path(folder, name, path.rpartition("/")[2])
            file.parent.mkdir()
            file.write_bytes(content)
            files.append(str(file))
        # A shell, so that the command may have options; diff programs answer 1 when there is a difference.
        command = ["sh", "-c", f'{program} "$1" "$2"', program, *files]
        answer = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, errors="replace")
    if answer.returncode > 1:
        raise ExecutionError(
            "diff-command-failed", f"'{program}' ended with exit status {answer.returncode}; it is called with two files, the old and the new one"
        )
    yield from answer.stdout.splitlines()
