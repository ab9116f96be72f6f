"""The source folder of a pipeline on a worker: written once, the same for all datums, and read-only where the system allows."""

import contextlib
import os
from collections.abc import Iterable, Iterator

from pachyderm_dagster.errors import ExecutionError, PachydermError
from pachyderm_dagster.storage.content import Content, ContentReader
from pachyderm_dagster.storage.system_errors import is_full, storage_error
from pachyderm_dagster.worker import linux
from pachyderm_dagster.worker.sandbox import Sandbox

SOURCE = "source"
"""Its name below `/pfs`, where each datum finds a link to it."""
_MOUNT = "/pfs-source"
# A repo keeps contents alone; a script that was executable must still be.
_FILE_MODE, _FOLDER_MODE = 0o555, 0o755
_KEPT_FLAGS = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC


def place_source(files: Iterable[tuple[str, Content]], sandbox: Sandbox, reader: ContentReader) -> str:
    """Writes the files, given by path below the folder, and returns where user code finds it.

    Raises:
        ExecutionError: `stage-failed`.
        PachydermError: the store does not give them.
    """
    folder = os.path.join(os.path.dirname(sandbox.folder), SOURCE)
    write_source(files, folder, reader)
    if sandbox.problem is not None:
        return folder
    with _stage_errors(folder):
        return _mount(folder)


def write_source(files: Iterable[tuple[str, Content]], folder: str, reader: ContentReader) -> None:
    """Makes the folder, with the files. Errors as `place_source`."""
    with _stage_errors(folder):
        _write(files, folder, reader)


@contextlib.contextmanager
def _stage_errors(folder: str) -> Iterator[None]:
    try:
        yield
    except PachydermError:
        raise  # of the store, and an OSError too
    except OSError as error:
        place = str(error.filename or folder)
        if is_full(error):
            raise storage_error("write", place, error) from error
        raise ExecutionError("stage-failed", f"the source folder cannot be written to {place}: {error.strerror}; check that disk") from error


def _write(files: Iterable[tuple[str, Content]], folder: str, reader: ContentReader) -> None:
    _make_folder(folder)
    made = {folder}
    for path, content in files:
        parent = os.path.dirname(folder + path)
        above = parent
        missing = []
        while above not in made:
            missing.append(above)
            above = os.path.dirname(above)
        for each in reversed(missing):
            _make_folder(each)
        made.update(missing)
        with open(folder + path, "xb") as file:
            file.writelines(reader.stream(content))
            os.fchmod(file.fileno(), _FILE_MODE)


def _make_folder(path: str) -> None:
    os.mkdir(path)
    os.chmod(path, _FOLDER_MODE)


def _mount(folder: str) -> str:
    """Makes the folder appear, read-only, at one place whatever the worker."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(_MOUNT)
    linux.mount(folder, _MOUNT, flags=linux.MS_BIND)
    # What the disk forbids cannot be allowed again in a user namespace, so it is repeated. The numbers of statvfs(3) are those of mount(2).
    kept = os.statvfs(folder).f_flag & _KEPT_FLAGS
    linux.mount(folder, _MOUNT, flags=linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | kept)
    return _MOUNT
