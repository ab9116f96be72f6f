"""Finds what user code left in `/pfs/out`: which files go into the output, under which path, and which of them are files of an input, stored already."""

import contextlib
import functools
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from pachyderm_dagster.errors import ExecutionError, InvalidError
from pachyderm_dagster.pfs.paths import MAX_PATH_BYTES, clean_file_path, cut
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.worker.stage import OUT, Originals, staged_time_ns


class OutputFile(msgspec.Struct, frozen=True):
    """One file of the output.

    Args:
        path: in the output repo, `/a/b`.
        source: the file on disk to store, or the content that is stored already.
    """

    path: str
    source: str | Content


@dataclass(frozen=True)
class _Walk:
    root: str
    originals: Originals
    within: Collection[str] = ()
    found: dict[str, OutputFile] = field(default_factory=dict)

    @functools.cached_property
    def names(self) -> Mapping[tuple[int, int], str]:
        """The paths of the files of inputs by device and inode, those that are there still."""
        found = {}
        for name in self.originals.contents:
            with contextlib.suppress(OSError):
                status = os.lstat(self.root + name)
                found[status.st_dev, status.st_ino] = name
        return found


class _Directory(NamedTuple):
    """A directory of the output: where it is, the path that it has there, and the directories that it lies in, through links too."""

    folder: str
    path: str
    above: tuple[str, ...]


def collect(root: str, originals: Originals, *, within: Collection[str] = ()) -> list[OutputFile]:
    """The files below `out` in the folder `root`, by path, as user code left them.

    Links are followed; a link to an unchanged file of an input becomes its content, also if user code could not see that. What is neither file nor directory,
    and empty directories, are left out.

    Args:
        root: the folder that user code sees as `/pfs`; no link.
        originals: the staged files.
        within: the folders that links may lead to; anywhere when it is empty.

    Raises:
        ExecutionError: something there cannot be output: `output-missing`, `output-path-invalid`, `output-link-invalid`, `output-unreadable`.
    """
    walk = _Walk(root, originals, within)
    out = f"{root}/{OUT}"
    if os.path.islink(out) or not os.path.isdir(out):
        raise ExecutionError("output-missing", f"{out} is no directory any more; user code may fill it, not replace it")
    waiting = [_Directory(out, "", ())]
    while waiting:
        waiting.extend(_visit_directory(walk, waiting.pop()))
    return [walk.found[path] for path in sorted(walk.found)]


def _visit_directory(walk: _Walk, directory: _Directory) -> Iterator[_Directory]:
    """Takes the files in a directory; gives those that lie in it."""
    if directory.folder in directory.above:
        raise ExecutionError("output-link-invalid", f"{_shown(walk, directory.path)} is a link to a directory that it lies in; a tree cannot contain itself")
    if len(os.fsencode(directory.path)) > MAX_PATH_BYTES:
        raise ExecutionError("output-path-invalid", f"{_shown(walk, directory.path)} cannot be output: its path has more than {MAX_PATH_BYTES:,} bytes")
    above = (*directory.above, directory.folder)
    for entry in _entries(directory.folder):
        path = f"{directory.path}/{entry.name}"
        if entry.is_symlink():
            target = _resolve(walk, entry, path)
            mode = os.lstat(target).st_mode
            is_directory, is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
        else:
            target, is_directory, is_file = entry.path, entry.is_dir(), entry.is_file()
        if is_directory:
            yield _Directory(target, path, above)
        elif is_file or _is_original_pipe(walk, target):
            _take_file(walk, target, path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except PermissionError:
        allow_owner(folder, stat.S_IRWXU)
        return list(os.scandir(folder))


def allow_owner(path: str, mode: int, *, dir_fd: int | None = None) -> None:
    """Gives back to the owner what user code took away; a path without a first slash begins in the folder `dir_fd`.

    Raises:
        ExecutionError: `output-unreadable`.
    """
    try:
        os.chmod(path, mode, dir_fd=dir_fd)
    except OSError as error:
        raise ExecutionError("output-unreadable", f"{path} cannot be read: {error.strerror}") from error


def _resolve(walk: _Walk, entry: os.DirEntry[str], path: str) -> str:
    try:
        target = os.path.realpath(entry.path, strict=True)
    except OSError as error:
        target = os.readlink(entry.path)
        if not _is_allowed(walk, target):
            raise _link_out(walk, path, target) from error
        raise ExecutionError("output-link-invalid", f"{_shown(walk, path)} is a link to {target!r}, which cannot be followed: {error.strerror}") from error
    if not _is_allowed(walk, target):
        raise _link_out(walk, path, os.readlink(entry.path))
    return target


def _is_allowed(walk: _Walk, target: str) -> bool:
    return not walk.within or not target.startswith("/") or any(target == folder or target.startswith(f"{folder}/") for folder in walk.within)


def _link_out(walk: _Walk, path: str, target: str) -> ExecutionError:
    problem = f"{_shown(walk, path)} is a link to {target!r}; in a pod only links within {walk.root} can be output"
    return ExecutionError("output-link-invalid", f"{problem}: copy the file to {walk.root}/{OUT}")


def _take_file(walk: _Walk, file: str, path: str) -> None:
    try:
        clean = clean_file_path(path)
    except InvalidError as error:
        raise ExecutionError("output-path-invalid", f"{_shown(walk, path)} cannot be output: {error.message}") from error
    if clean in walk.found:
        raise ExecutionError("output-path-invalid", f"{_shown(walk, path)} has the name of another file in a different Unicode form (NFC, NFD); rename one")
    walk.found[clean] = OutputFile(clean, _find_original(walk, file) or file)


def _find_original(walk: _Walk, file: str) -> Content | None:
    name = _original_name(walk, file)
    if name is None:
        return None
    content, status = walk.originals.contents[name], os.stat(file)
    if stat.S_ISFIFO(status.st_mode):
        return content
    # Input files are copies that user code may write to, or put in the place of one another.
    staged_size = 0 if name in walk.originals.empty else content.size
    return content if status.st_mtime_ns == staged_time_ns(content) and status.st_size == staged_size else None


def _original_name(walk: _Walk, file: str) -> str | None:
    """The path of the file of an input that this is, or has a hard link to where its own content is not that of the input."""
    name = file[len(walk.root) :]
    if name in walk.originals.contents and file.startswith(f"{walk.root}/"):
        return name
    if not walk.originals.has_substitutes:
        return None
    status = os.lstat(file)
    return walk.names.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None


def _is_original_pipe(walk: _Walk, file: str) -> bool:
    """Whether it is a lazy file of an input; other pipes are no output."""
    return _original_name(walk, file) is not None


def _shown(walk: _Walk, path: str) -> str:
    # A name may be no UTF-8, and hold anything but `/` and NUL; the message is one line of UTF-8.
    text = os.fsencode(f"{walk.root}/{OUT}{path}").decode(errors="backslashreplace")
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut(text))
