"""Folders for the files of datums, in whatever state user code left them: moved, emptied, used again."""

import contextlib
import os
import secrets
import stat
from collections import deque
from collections.abc import Collection

_ALL_OF_OWNER = stat.S_IRWXU


class FolderPool:
    """Gives out folders that hold empty directories, and takes them back in any state.

    To make and remove directories costs more than all else that moving a small datum needs, so those that the next datum needs too are kept.
    One thread may take while another gives back.

    Args:
        parent: where the folders are made; it must not exist.

    Attributes:
        parent: the same.
    """

    def __init__(self, parent: str) -> None:
        os.mkdir(parent)
        self.parent = parent
        self._mode = os.stat(parent).st_mode
        self._made = 0
        self._out: set[str] = set()
        self._free: deque[tuple[str, set[str]]] = deque()

    @property
    def are_all_back(self) -> bool:
        """Whether no folder is out."""
        return not self._out

    def take(self, names: Collection[str]) -> str:
        """A folder that holds an empty directory of each of these names and nothing else."""
        try:
            folder, existing = self._free.popleft()
        except IndexError:
            self._made += 1
            folder, existing = f"{self.parent}/{self._made}", set()
            os.mkdir(folder)
        for name in existing.difference(names):
            os.rmdir(f"{folder}/{name}")
        for name in set(names) - existing:
            os.mkdir(f"{folder}/{name}")
        self._out.add(folder)
        return folder

    def give_back(self, folder: str) -> None:
        """Empties a folder; one in which something resists is left as it is."""
        kept = set()
        with contextlib.suppress(OSError):
            for entry in _entries(folder):
                # Only a directory as it was given out may go to the next datum.
                if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mode == self._mode:
                    empty_folder(entry.path)
                    kept.add(entry.name)
                else:
                    remove_entry(entry.path)
            self._free.append((folder, kept))
        self._out.discard(folder)


def move_entries(source: str, target: str) -> None:
    """Renames every entry of one folder into another of the same file system."""
    for name in os.listdir(source):
        _move(f"{source}/{name}", f"{target}/{name}")


def empty_folder(folder: str) -> None:
    """Removes all below a folder, also where user code took away its own rights. Links are removed, never followed."""
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        for entry in _entries(current):
            # The directory says what each is: a look at every file would take as long as its removal.
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
            elif current == folder:
                waiting.append(entry.path)
            else:
                # Up to the top first: however deep it lies, its path stays short.
                waiting.append(f"{folder}/{secrets.token_hex(8)}")
                _move(entry.path, waiting[-1])
        if current != folder:
            os.rmdir(current)


def remove_entry(path: str) -> None:
    """Removes a file, a link, or a directory with all below it."""
    if stat.S_ISDIR(os.lstat(path).st_mode):
        empty_folder(path)
        os.rmdir(path)
    else:
        os.unlink(path)


def _move(origin: str, target: str) -> None:
    try:
        os.rename(origin, target)
    except PermissionError:
        # A directory takes part in its own move, by `..`: it must be writable.
        os.chmod(origin, _ALL_OF_OWNER)
        os.rename(origin, target)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    if os.lstat(folder).st_mode & _ALL_OF_OWNER != _ALL_OF_OWNER:
        os.chmod(folder, _ALL_OF_OWNER)
    return list(os.scandir(folder))
