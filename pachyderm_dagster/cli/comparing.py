"""How the contents of a file differ between two versions."""

import difflib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.pfs import reading
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.comparing import Side
from pachyderm_dagster.pfs.differences import FileDiff
from pachyderm_dagster.pfs.entries import DIRECTORY, FileInfo

LARGEST_TEXT = 4 * 1024 * 1024
"""Bytes above which contents are not compared line by line: nobody reads that."""


def content_lines(pfs: Pfs, old: Side, new: Side, difference: FileDiff, program: str | None, *, shallow: bool = False) -> Iterator[str]:
    """How the contents of one file differ, as `diff -u` shows it, or as `program` does; of directories only that, and only when a shallow
    comparison does not look into them.

    Raises:
        ExecutionError: `diff-command-failed`, when the program cannot be started or fails.
    """
    shown = difference.new or difference.old
    assert shown is not None
    if shown.type == DIRECTORY:
        if shallow and shown.path != new.path:
            names = [f"{at.label}:{shown.path}/" for at, file in ((old, difference.old), (new, difference.new)) if file is not None]
            yield f"{' and '.join(names)} differ" if len(names) > 1 else f"only {names[0]} exists"
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
    if answer.returncode not in (0, 1):
        how = f"with exit status {answer.returncode}" if answer.returncode > 0 else f"by signal {-answer.returncode}"
        raise ExecutionError("diff-command-failed", f"'{program}' ended {how}; it is called with two files, the old and the new one")
    yield from answer.stdout.splitlines()
