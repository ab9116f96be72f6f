"""Folders that user code may have left in any state: moved and removed all the same."""

import contextlib
import os

_ALL_OF_OWNER = 0o700


def move_entries(source: str, target: str) -> None:
    """Renames every entry of one folder into another of the same file system."""
    for name in os.listdir(source):
        origin = f"{source}/{name}"
        try:
            os.rename(origin, f"{target}/{name}")
        except PermissionError:
            # A directory takes part in its own move, by `..`: it must be writable.
            os.chmod(origin, _ALL_OF_OWNER)
            os.rename(origin, f"{target}/{name}")


def remove_folder(folder: str) -> None:
    """Removes a folder and all below it, also where user code took away its own rights. Links are removed, never followed."""
    try:
        entries = list(os.scandir(folder))
    except PermissionError:
        os.chmod(folder, _ALL_OF_OWNER)
        entries = list(os.scandir(folder))
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove_folder(entry.path)
            continue
        try:
            os.unlink(entry.path)
        except PermissionError:
            os.chmod(folder, _ALL_OF_OWNER)
            os.unlink(entry.path)
    os.rmdir(folder)


def clear_folder(folder: str) -> None:
    """Removes all below a folder."""
    with contextlib.suppress(FileNotFoundError):
        remove_folder(folder)
    os.mkdir(folder)
