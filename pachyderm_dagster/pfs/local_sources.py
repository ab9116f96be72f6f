"""Finds the files of a folder of this machine."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.storage.chunks import Readable

# Where a folder entry lies, its name below the folder that was asked for, and the links to folders that led there.
_Found = tuple[os.DirEntry[str], str, tuple[str, ...]]


def files_in(folder: str, *, leave_out: Callable[[str], bool] = lambda _name: False) -> Iterator[tuple[str, str]]:
    """Every file below a folder as (location, name below the folder), in the order of a tree. Links are followed.

    Args:
        leave_out: says by its name below the folder whether something is left out; that of a folder, with all that is in it, ends with a slash.

    Raises:
        InvalidError: `source-invalid` for what is no file (a socket, a device, a pipe), a link to nowhere and one that leads back to where it lies;
            `source-unreadable`.
    """
    waiting = _entries(folder, "", (os.path.realpath(folder),))
    while waiting:
        entry, name, links = waiting.pop()
        try:
            is_file, is_folder = entry.is_file(), entry.is_dir()
        except OSError as error:
            raise _unreadable(entry.path, error) from error
        if leave_out(f"{name}/" if is_folder else name):
            continue
        if is_file:
            yield entry.path, name
        elif is_folder:
            waiting += _entries(entry.path, f"{name}/", _links_through(entry, links))
        elif entry.is_symlink() and not os.path.exists(entry.path):
            raise InvalidError("source-invalid", f"{_shown(entry.path)} is a link to {_shown(os.readlink(entry.path))}, which does not exist; remove the link")
        else:
            raise not_a_file(entry.path, status(entry.path))


def status(location: str) -> os.stat_result:
    """What the system says of a file, behind links.

    Raises:
        NotFoundError: `source-not-found`.
        InvalidError: `source-unreadable`.
    """
    with _translated(location):
        return os.stat(location)


@contextmanager
def open_local(location: str) -> Iterator[Readable]:
    """A file to read from. Raises as `status` does."""
    with _translated(location):
        file = open(location, "rb")  # noqa: SIM115 - the error is that of opening, not of what is done with the file
    with file:
        yield file


def not_a_file(location: str, found: os.stat_result) -> InvalidError:
    """The error for something that holds no bytes to keep."""
    kinds = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe", stat.S_IFBLK: "a block device", stat.S_IFCHR: "a character device"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "no file")
    return InvalidError("source-invalid", f"{_shown(location)} is {kind}, which cannot be put; leave it out, or write its bytes to standard input (-f -)")


def _entries(folder: str, prefix: str, links: tuple[str, ...]) -> list[_Found]:
    """What is in a folder, the last first."""
    with _translated(folder), os.scandir(folder) as entries:
        return [(entry, prefix + entry.name, links) for entry in sorted(entries, key=attrgetter("name"), reverse=True)]


def _links_through(folder: os.DirEntry[str], links: tuple[str, ...]) -> tuple[str, ...]:
    """The links that lead into a folder, with the folder if it is one itself."""
    if not folder.is_symlink():
        return links
    goal = os.path.realpath(folder.path)
    if goal in links:
        raise InvalidError("source-invalid", f"{_shown(folder.path)} is a link to {_shown(goal)}, in which it lies; remove the link")
    return (*links, goal)


@contextmanager
def _translated(location: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError("source-not-found", f"{_shown(location)} does not exist on this machine; check the path") from error
    except (OSError, ValueError) as error:
        raise _unreadable(location, error) from error


def _unreadable(location: str, error: OSError | ValueError) -> InvalidError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InvalidError("source-unreadable", f"{_shown(location)} cannot be read: {reason}")


def _shown(location: str) -> str:
    """A name that can be printed, whatever its bytes."""
    return repr(os.fsencode(location).decode(errors="backslashreplace"))
