"""Puts the files of a datum where user code will find them: private copies, ahead of time, beside `/pfs`, so that they need only be renamed into it."""

import os
import shlex
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pachyderm_dagster.errors import ExecutionError, PachydermError
from pachyderm_dagster.storage.content import EMPTY_CONTENT, Content, ContentReader
from pachyderm_dagster.storage.file_filling import fill_files
from pachyderm_dagster.storage.system_errors import is_full, storage_error
from pachyderm_dagster.worker.folders import FolderPool, empty_folder
from pachyderm_dagster.worker.lazy_files import LazyFiles
from pachyderm_dagster.worker.protocol import DatumTask, InputFile

OUT = "out"
ENV_FILE = ".env"
_STAGED_TIME_NS = 946_684_800 * 10**9  # 2000-01-01T00:00Z
_STREAMED_BYTES = 4 << 20
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Originals:
    """The staged files of the inputs, by their path below `/pfs`, `/<input>/a/b`.

    Attributes:
        contents: of each in the store.
        empty: those that user code finds without their content.
        has_substitutes: whether there are such files, or pipes.
    """

    contents: Mapping[str, Content]
    empty: Collection[str] = ()
    has_substitutes: bool = False


@dataclass(frozen=True, slots=True)
class StagedDatum:
    """A datum whose files are on disk.

    Attributes:
        task: what it was staged from.
        folder: holds what `/pfs` is to hold: a directory for each input, an empty one for the output, the `.env` file.
        originals: the files of inputs.
        lazy: those of them that are pipes.
        seconds: it took.
        problem: why it could not be staged; None if it was. An ExecutionError is the datum's own, any other lies with the store or the disk.
    """

    task: DatumTask
    folder: str
    originals: Originals
    lazy: LazyFiles
    seconds: float
    problem: PachydermError | None

    @property
    def size_bytes(self) -> int:
        """Of all input files that have their content, of pipes what was read of them."""
        lazy = {file.name for file in self.task.inputs if file.lazy}
        whole = (file for file in self.task.inputs if file.name not in lazy and not file.empty)
        return self.lazy.read_bytes + sum(content.size for file in whole for _, content in file.files)


def staged_time_ns(content: Content) -> int:
    """When a staged file was modified, in nanoseconds since 1970: within one second for all, so that archives of inputs are equal from run to run, and
    within that another for each content, so that it shows whether user code wrote to a file, or put another one in its place.
    """
    return _STAGED_TIME_NS + int.from_bytes(content.hash[:4]) % 10**9


def stage(task: DatumTask, pool: FolderPool, reader: ContentReader, pfs_root: str) -> StagedDatum:
    """Takes a folder and makes it what user code is to find in `pfs_root`. What cannot be read or written is a problem that is told, not an exception."""
    started = time.monotonic()
    originals = Originals({})
    problem: PachydermError | None = None
    folder = pool.take(_directories(task))
    lazy = LazyFiles(f"{folder}.lazy", reader)
    try:
        originals = _fill(task, folder, reader, pfs_root, lazy)
    except PachydermError as error:
        problem = error
    return StagedDatum(task, folder, originals, lazy, time.monotonic() - started, problem)


def stage_again(task: DatumTask, folder: str, reader: ContentReader, pfs_root: str, lazy: LazyFiles) -> None:
    """Makes `folder`, in which user code may have done anything, what `stage` made it.

    Raises:
        ExecutionError: `stage-failed`, as the problem of a `StagedDatum`, and so for the other errors of the package.
    """
    empty_folder(folder)
    for name in _directories(task):
        os.mkdir(f"{folder}/{name}")
    _fill(task, folder, reader, pfs_root, lazy)


def build_environment(common: Mapping[str, str], task: DatumTask, pfs_root: str) -> dict[str, str]:
    """The variables of user code: those of all datums, those of this one, and for each input the path of its file."""
    paths = {file.name: _path_below(f"{pfs_root}/{file.name}", file) for file in task.inputs}
    return {**common, **task.environment, **paths, "PFS_ROOT": pfs_root}


def _directories(task: DatumTask) -> set[str]:
    return {OUT, *(file.name for file in task.inputs)}


def _fill(task: DatumTask, folder: str, reader: ContentReader, pfs_root: str, lazy: LazyFiles) -> Originals:
    """Puts the files of a datum into a folder that holds its empty directories."""
    try:
        made = {f"/{name}" for name in _directories(task)}
        files = _make_directories([file for file in task.inputs if not file.lazy], folder, made)
        _write_files(files, folder, reader)
        pipes = _make_directories([file for file in task.inputs if file.lazy], folder, made)
        for path, content in pipes.contents.items():
            lazy.add(folder, path, content)
        _write_env_file(f"{folder}/{ENV_FILE}", task, pfs_root)
    except PachydermError:
        raise
    except OSError as error:
        place = str(error.filename or folder)
        if is_full(error):
            raise storage_error("write", place, error) from error
        raise ExecutionError("stage-failed", f"{place} cannot be written: {error.strerror}; check that disk") from error
    return Originals({**files.contents, **pipes.contents}, files.empty, has_substitutes=bool(files.empty or pipes.contents))


def _write_env_file(path: str, task: DatumTask, pfs_root: str) -> None:
    """Writes what is particular to this datum as lines that a shell can read."""
    variables = build_environment({}, task, pfs_root)
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()))


def _make_directories(inputs: Sequence[InputFile], folder: str, made: set[str]) -> Originals:
    """Makes what is not in `made`; the files that go there, by their path below `folder`."""
    contents: dict[str, Content] = {}
    empty: set[str] = set()
    for file in inputs:
        base = "/" + file.name
        if file.is_dir:
            _make_directory(folder, _path_below(base, file), made)
        for path, content in file.files:
            target = base + path
            _make_directory(folder, target.rpartition("/")[0], made)
            if target in contents and file.empty != (target in empty):
                raise _input_conflict(file.name, path, "with and without its content")
            if contents.setdefault(target, content).hash != content.hash:
                raise _input_conflict(file.name, path, "with different content")
            if file.empty:
                empty.add(target)
    for target in contents.keys() & made:
        _, name, path = target.split("/", 2)
        raise _input_conflict(name, f"/{path}", "as a file and as a directory")
    return Originals(contents, empty)


def _input_conflict(name: str, path: str, how: str) -> ExecutionError:
    return ExecutionError("input-conflict", f"two inputs that share the name {name!r} have {path!r} {how}; give one of them another 'name' in the pipeline")


def _make_directory(folder: str, path: str, made: set[str]) -> None:
    missing = []
    while path not in made:
        missing.append(path)
        path = path.rpartition("/")[0]
    for path in reversed(missing):
        os.mkdir(folder + path)
        made.add(path)


def _write_files(files: Originals, folder: str, reader: ContentReader) -> None:
    written = {**files.contents, **dict.fromkeys(files.empty, EMPTY_CONTENT)}
    small = {path: content for path, content in written.items() if content.size <= _STREAMED_BYTES}
    for path, data in zip(small, reader.read_many(list(small.values())), strict=True):
        _write_file(folder + path, data, staged_time_ns(files.contents[path]))
    large = [path for path in written if path not in small]
    descriptors = fill_files(reader, ((written[path], os.open(folder + path, _WRITE_FLAGS, 0o666)) for path in large))
    for path, descriptor in zip(large, descriptors, strict=True):
        _finish_file(descriptor, staged_time_ns(written[path]))


def _write_file(path: str, data: bytes, time_ns: int) -> None:
    descriptor = os.open(path, _WRITE_FLAGS, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    except BaseException:
        os.close(descriptor)
        raise
    _finish_file(descriptor, time_ns)


def _finish_file(descriptor: int, time_ns: int) -> None:
    try:
        os.utime(descriptor, ns=(time_ns, time_ns))
    finally:
        os.close(descriptor)


def _path_below(base: str, file: InputFile) -> str:
    return base if file.path == "/" else base + file.path
